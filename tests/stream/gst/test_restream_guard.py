"""Who may watch the restream: real clients with the right password, a wrong one and none, over TLS and without."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.stream.gst.drawing_parts import need_gst

need_gst()

from stream.errors import OutputError  # noqa: E402
from stream.gst.rtsp_restream import RestreamGuard, RtspRestream  # noqa: E402
from tests.stream.gst.test_rtsp_restream import Camera, camera, watch  # noqa: E402

USER, PASSWORD = "ann", "pa:ss@wo/rd-of-ann"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key."""
    folder, issued = tmp_path_factory.mktemp("tls"), trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(folder / "certificate.pem", append=True)
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture(scope="module", params=["rtsps", "rtsp"])
def guarded(request: pytest.FixtureRequest, pem: tuple[Path, Path]) -> Iterator[Camera]:
    """Served with a password, over TLS and without."""
    tls = pem if request.param == "rtsps" else (None, None)
    with camera(guard=RestreamGuard(USER, PASSWORD, *tls)) as opened:
        yield opened


@pytest.fixture(scope="module")
def encrypted(pem: tuple[Path, Path]) -> Iterator[Camera]:
    with camera(guard=RestreamGuard(USER, PASSWORD, *pem)) as opened:
        yield opened


def played(url: str, *properties: str) -> tuple[int, str]:
    """Bytes of pictures that GStreamer's own client got, until it has some or is refused, and what it complained of."""
    source = ["rtspsrc", f"location={url}", "tls-validation-flags=0", *properties]
    line = ["gst-launch-1.0", "-q", *source, "!", "rtph264depay", "!", "identity", "eos-after=5", "!", "fdsink"]
    ended = subprocess.run(line, capture_output=True, timeout=60, check=False)
    return len(ended.stdout), ended.stderr.decode()


def asked(url: str, request: str, *headers: str, timeout_s: float = 20) -> str:
    """What the server says to one request, such as ``DESCRIBE``."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=timeout_s) as plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(plain) if parts.scheme == "rtsps" else plain
        head = "".join(f"{line}\r\n" for line in (f"{request} {url} RTSP/1.0", "CSeq: 1", *headers))
        connection.sendall(f"{head}\r\n".encode())
        return connection.recv(4096).decode(errors="replace")


def test_the_right_password_plays(guarded: Camera) -> None:
    url = str(guarded.output.url)
    got, complaint = played(url, f"user-id={USER}", f"user-pw={PASSWORD}", "protocols=tcp")
    assert got > 0, complaint


@pytest.mark.parametrize(
    "credentials",
    [(f"user-id={USER}", "user-pw=another-password"), ("user-id=bob", f"user-pw={PASSWORD}"), ()],
    ids=["wrong password", "wrong user", "none"],
)
def test_anything_else_is_refused(guarded: Camera, credentials: tuple[str, ...]) -> None:
    got, complaint = played(str(guarded.output.url), *credentials)
    assert got == 0
    assert "Unauthorized" in complaint


@pytest.mark.parametrize("request_", ["DESCRIBE", "SETUP", "PLAY", "ANNOUNCE", "RECORD"])
def test_no_request_gets_past_it(guarded: Camera, request_: str) -> None:
    said = asked(str(guarded.output.url), request_, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
    assert not re.match(r"RTSP/1.0 2", said)
    assert "sdp" not in said


def test_a_password_is_never_asked_for_in_the_clear(guarded: Camera) -> None:
    said = asked(str(guarded.output.url), "DESCRIBE")
    assert said.startswith("RTSP/1.0 401")
    assert re.findall(r"WWW-Authenticate: (\w+)", said) == ["Digest"]


def test_the_password_is_in_no_text(guarded: Camera) -> None:
    guard = RestreamGuard(USER, PASSWORD)
    assert PASSWORD not in f"{guard} {guard!r} {guarded.output.url}"
    assert USER not in f"{guard!r} {guarded.output.url}"


def test_other_programs_speak_it_too(encrypted: Camera) -> None:
    assert str(encrypted.output.url).startswith("rtsps://127.0.0.1:")
    spelled = str(encrypted.output.url).replace("://", "://ann:pa%3Ass%40wo%2Frd-of-ann@")
    assert len(watch(spelled, 3)) == 3


def test_where_there_is_tls_nothing_answers_without_it(encrypted: Camera) -> None:
    url = str(encrypted.output.url).replace("rtsps:", "rtsp:")
    said = ""
    with suppress(OSError):  # not a word, or hung up on
        said = asked(url, "OPTIONS", timeout_s=2)
    assert "RTSP" not in said


def test_those_who_never_shake_hands_keep_nobody_out(encrypted: Camera) -> None:
    url = str(encrypted.output.url)
    with ExitStack() as closing:
        for words in (b"", b"\x16\x03\x01\x02\x00\x01", b"OPTIONS * RTSP/1.0\r\n") * 6:
            silent = socket.create_connection(("127.0.0.1", int(urlsplit(url).port or 0)))
            closing.callback(silent.close)
            silent.sendall(words)
        got, complaint = played(url, f"user-id={USER}", f"user-pw={PASSWORD}", "protocols=tcp")
    assert got > 0, complaint


def test_pictures_do_not_leave_tls_by_udp(encrypted: Camera) -> None:
    url = str(encrypted.output.url)
    login = (f"user-id={USER}", f"user-pw={PASSWORD}")
    assert played(url, *login, "protocols=udp")[0] == 0
    assert played(url, *login)[0] > 0  # a client that may choose takes TCP


def test_tls_alone_lets_everybody_watch(pem: tuple[Path, Path]) -> None:
    with camera(guard=RestreamGuard(certificate=pem[0], key=pem[1])) as lobby:
        assert len(watch(lobby.output.url, 3)) == 3


@pytest.mark.parametrize("spoilt", ["missing", "not PEM", "with a passphrase"])
def test_a_key_that_cannot_be_used_is_one_line(pem: tuple[Path, Path], tmp_path: Path, spoilt: str) -> None:
    key = tmp_path / "key.pem"
    if spoilt == "not PEM":
        key.write_text("hello")
    elif spoilt == "with a passphrase":
        command = ["openssl", "pkey", "-in", str(pem[1]), "-aes256", "-passout", "pass:secret", "-out", str(key)]
        subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(OutputError, match=r"restream\.tls: .* cannot be used") as caught:
        RtspRestream("127.0.0.1", 0, "/a", guard=RestreamGuard(certificate=pem[0], key=key))
    assert "\n" not in str(caught.value)
