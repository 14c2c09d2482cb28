"""Where the API may send this machine, and where it may not."""

from __future__ import annotations

import pytest

from stream.errors import UsageError
from stream.web.source_guard import SourceGuard, host_of, with_user_info

NAMES = {
    "camera.lan": ["192.168.1.20"],
    "camera6.lan": ["2001:db8:1::20", "192.168.1.20"],
    "inside.example": ["127.0.0.1"],
    "half-inside.example": ["192.168.1.20", "169.254.169.254"],
    "mine.lan": ["192.168.1.2"],
    "2130706433": ["127.0.0.1"],
    "0x7f.1": ["127.0.0.1"],
    "127.1": ["127.0.0.1"],
}


def resolve(host: str) -> list[str]:
    if host not in NAMES:
        raise OSError("no such name")
    return NAMES[host]


def guard(*schemes: str, hosts: tuple[str, ...] = ()) -> SourceGuard:
    return SourceGuard(schemes or ("rtsp", "rtsps", "http"), hosts, resolve, lambda: ["192.168.1.2", "fd00::2", "::1"])


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://192.168.1.20/stream1",
        "rtsp://10.0.0.5:8554/a?b=c",
        "rtsps://ann:pw@203.0.113.9/a",
        "RTSP://192.168.1.20/stream1",
        "rtsp://[fd00::20]/a",
        "rtsps://camera.lan/a",
        "http://camera.lan/a.mp4",
    ],
)
def test_cameras_pass_as_they_are(source: str) -> None:
    assert guard().checked(source) == source


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.8.8",
        "localhost",
        "inside.example",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "mine.lan",
        "192.168.1.2",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "half-inside.example",
        "169.254.1.1",
        "[fe80::1]",
        "[fe80::9%25eth0]",
        "[fd00:ec2::254]",
        "[fd00:ec2::254%1]",
        "[fd00:ec2::254%25eth0]",
        "[fd00::2]",
        "[fd00::2%1]",
        "[::1%1]",
        "100.100.100.200",
        "224.0.0.1",
        "239.1.2.3",
        "[ff02::1]",
        "255.255.255.255",
        "240.0.0.1",
        "0.1.2.3",
        "nobody.example",
        "%31%32%37.0.0.1",
    ],
)
@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http"])
def test_places_inside_are_refused(scheme: str, host: str) -> None:
    with pytest.raises(UsageError) as caught:
        guard().checked(f"{scheme}://ann:s3cr3t@{host}/a")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "webcam",
        "/dev/video0",
        "screen",
        "csi:0",
        "test",
        "clip.mp4",
        "/etc/passwd",
        "file:///etc/passwd",
        "http2://10.0.0.1/",
        "ftp://10.0.0.1/a",
        "rtspt://10.0.0.1/a",
        "gst-pipeline: videotestsrc",
        "rtsp:/10.0.0.1/a",
        "rtsp://",
        "://10.0.0.1",
        "rtsp://10.0.0.1:99999/",
        "rtsp://10.0.0.1/a b",
        "rtsp://10.0.0.1/\n! filesink",
        "rtsp://10.0.0.1\\@127.0.0.1/",
        "rtsp://${HOME}@10.0.0.1/",
        "rtsp://10.0.0.1/${PATH}",
        "",
        " rtsp://10.0.0.1/a",
    ],
)
def test_only_plain_urls_of_allowed_schemes_pass(source: str) -> None:
    with pytest.raises(UsageError):
        guard().checked(source)


def test_a_scheme_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(UsageError, match="only rtsp:// can be watched from here"):
        guard("rtsp").checked("http://10.0.0.1/a.mp4")


@pytest.mark.parametrize(
    ("source", "pinned"),
    [
        ("rtsp://camera.lan/a", "rtsp://192.168.1.20/a"),
        ("rtsp://ann:p%40w@camera.lan:8554/a?x=1", "rtsp://ann:p%40w@192.168.1.20:8554/a?x=1"),
        ("rtsp://camera6.lan:8554/a", "rtsp://[2001:db8:1::20]:8554/a"),
    ],
)
def test_a_name_without_a_certificate_is_held_to_the_address_that_was_looked_at(source: str, pinned: str) -> None:
    assert guard().checked(source) == pinned


def test_hosts_that_the_configuration_names_pass_unlooked() -> None:
    trusting = guard(hosts=("127.0.0.1", "studio.lan"))
    assert trusting.checked("rtsp://127.0.0.1:8554/demo") == "rtsp://127.0.0.1:8554/demo"
    assert trusting.checked("rtsp://STUDIO.lan/a") == "rtsp://STUDIO.lan/a"
    with pytest.raises(UsageError):
        trusting.checked("rtsp://127.0.0.2/demo")


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        (None, None, "rtsp://old:pw@10.0.0.1:8554/a"),
        ("ann", "p@ss/w:rd#${HOME}", "rtsp://ann:p%40ss%2Fw%3Ard%23%24%7BHOME%7D@10.0.0.1:8554/a"),
        ("ann@evil.example/", "", "rtsp://ann%40evil.example%2F:@10.0.0.1:8554/a"),
        ("ann", None, "rtsp://ann:pw@10.0.0.1:8554/a"),
        (None, "new", "rtsp://old:new@10.0.0.1:8554/a"),
    ],
)
def test_a_user_and_password_cannot_leave_their_place(user: str | None, password: str | None, expected: str) -> None:
    assert with_user_info("rtsp://old:pw@10.0.0.1:8554/a", user, password) == expected


def test_where_a_password_goes_is_scheme_host_and_port() -> None:
    assert host_of("rtsp://a:b@Cam.lan:1/x") == host_of("rtsp://cam.lan:1/y")
    assert host_of("rtsp://cam.lan:1/x") != host_of("rtsp://cam.lan:2/x")
    assert host_of("rtsps://cam.lan/x") != host_of("rtsp://cam.lan/x")
