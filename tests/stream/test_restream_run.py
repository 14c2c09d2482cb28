"""A whole run that is served to other machines: streams and wall alike ask for the password."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.stream.sources.video_parts import need_gst

need_gst()

from stream.app import watch  # noqa: E402
from stream.config import AppConfig  # noqa: E402
from stream.config_restream import RestreamConfig  # noqa: E402
from stream.config_web import TlsConfig  # noqa: E402
from stream.errors import OutputError, UnmaskError, UsageError  # noqa: E402
from tests.stream.gst.test_restream_guard import PASSWORD, USER, asked, pem, played  # noqa: E402, F401 - a fixture
from tests.stream.test_app import parts  # noqa: E402
from tests.stream.test_live_streams import watching  # noqa: E402
from tests.stream.wall.test_wall import wall_config  # noqa: E402


def served(folder: Path, pem: tuple[Path, Path]) -> RestreamConfig:  # noqa: F811
    (folder / "password").write_text(PASSWORD)
    tls = TlsConfig(certificate=pem[0], key=pem[1])
    return RestreamConfig(
        enabled=True, host="0.0.0.0", port=0, user=USER, password_file=folder / "password", tls=tls
    )  # port 0: each output has a server of its own


def test_streams_and_wall_ask_for_the_password(
    tmp_path: Path,
    pem: tuple[Path, Path],  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = wall_config(tmp_path, "test:white", save=None)
    config = AppConfig.model_validate({**dict(config), "restream": served(tmp_path, pem)})
    with watching(config) as run:
        run.plays(*run.now)
        urls = [url.replace("0.0.0.0", "127.0.0.1") for url in run.restream_urls]
        assert len(urls) == 2
        for url in urls:
            assert url.startswith("rtsps://")
            assert asked(url, "DESCRIBE").startswith("RTSP/1.0 401")
            got, complaint = played(url, f"user-id={USER}", f"user-pw={PASSWORD}")
            assert got > 0, complaint
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("spoilt", "error", "why"),
    [
        ("password", UsageError, "password_file .* cannot be read"),
        ("certificate.pem", OutputError, r"restream\.tls: .* cannot be used"),
    ],
)
def test_what_is_missing_is_one_line_before_anything_starts(
    tmp_path: Path,
    pem: tuple[Path, Path],  # noqa: F811
    spoilt: str,
    error: type[UnmaskError],
    why: str,
) -> None:
    missing = (tmp_path / "certificate.pem", pem[1]) if spoilt == "certificate.pem" else pem
    config = wall_config(tmp_path, "test:white", save=None)
    config = AppConfig.model_validate({**dict(config), "restream": served(tmp_path, missing)})
    if spoilt == "password":
        (tmp_path / "password").unlink()
    before = threading.active_count()
    with pytest.raises(error, match=why) as caught:
        watch(config, parts=parts())
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert threading.active_count() <= before
