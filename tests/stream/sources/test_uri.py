from __future__ import annotations

import dataclasses
import traceback
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.errors import UsageError
from stream.sources.uri import PATTERNS, SourceUri, parse_source

SECRET = "Hunter2Zx"
secrets = st.text(max_size=12).map(lambda text: text + SECRET)
schemes = st.sampled_from(["rtsp", "rtsps", "http", "https", "RTSP"])


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("webcam", "webcam", "/dev/video0"),
        ("webcam:1", "webcam", "/dev/video1"),
        ("/dev/video7", "webcam", "/dev/video7"),
        ("screen", "screen", "0"),
        ("screen:1", "screen", "1"),
        ("test", "test", "ball"),
        ("test:smpte", "test", "smpte"),
        ("csi:0", "csi", "0"),
        ("csi", "csi", "0"),
        ("rtsp://cam.local/live", "rtsp", "rtsp://cam.local/live"),
        ("RTSPS://cam.local:322/live?a=1", "rtsp", "rtsps://cam.local:322/live?a=1"),
        ("rtsp://[fe80::1]:554/x", "rtsp", "rtsp://[fe80::1]:554/x"),
        ("https://host/a.mp4", "http", "https://host/a.mp4"),
        ("clip.mp4", "file", "clip.mp4"),
        ("./webcam", "file", "webcam"),
        ("a folder/clip: one.mp4", "file", "a folder/clip: one.mp4"),
        ("file:///tmp/a%20clip.mp4", "file", "/tmp/a clip.mp4"),
        ("  clip.mp4\n", "file", "clip.mp4"),
    ],
)
def test_an_address_is_understood(text: str, kind: str, location: str) -> None:
    uri = parse_source(text)
    assert (uri.kind, uri.location) == (kind, location)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("ftp://host/clip.mp4", "rtsp://"),
        ("rtsp://", "names no host"),
        ("rtsp:///path", "names no host"),
        ("rtsp://host:port/x", "host:port"),
        ("rtsp://host:99999/x", "cannot be read"),
        ("rtsp://ho st/x", "space"),
        ("http://[::1/x", "cannot be read"),
        ("webcam:front", "webcam:0"),
        ("csi:-1", "csi:0"),
        ("screen:1 ! fakesink", "screen:0"),
        ("test:ball ! fakesink", "smpte"),
        ("file://elsewhere/clip.mp4", "this machine"),
        ("", "webcam"),
        ("clip\0.mp4", "webcam"),
    ],
)
def test_a_bad_address_is_refused_with_what_to_write(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word.replace("[", r"\[")) as caught:
        parse_source(text)
    assert "\n" not in str(caught.value)


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        parse_source("gopher://host/x")
    assert all(word in str(caught.value) for word in ("gopher", "webcam", "rtsp://", "http://", "screen", "csi:0"))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_test_pattern_can_be_asked_for(pattern: str) -> None:
    assert parse_source(f"test:{pattern}").location == pattern


@pytest.mark.parametrize(
    ("text", "is_live"),
    [
        ("webcam", True),
        ("screen", True),
        ("test", True),
        ("csi:0", True),
        ("rtsp://host/x", True),
        ("https://host/live.M3U8?token=1", True),
        ("https://host/clip.mp4?list=.m3u8", False),
        ("clip.mp4", False),
    ],
)
def test_only_files_and_downloads_wait_for_their_reader(text: str, is_live: bool) -> None:
    assert parse_source(text).is_live is is_live


def test_user_and_password_are_decoded_and_leave_the_address() -> None:
    uri = parse_source("rtsp://us%40er:p%3A%2Fw@cam:554/x")
    assert (uri.user, uri.password, uri.location) == ("us@er", "p:/w", "rtsp://cam:554/x")


def test_given_credentials_win_over_those_in_the_address() -> None:
    uri = parse_source("rtsp://a:b@cam/x", user="c", password="d")
    assert (uri.user, uri.password) == ("c", "d")


def test_tcp_is_the_default_and_udp_can_be_chosen() -> None:
    assert parse_source("rtsp://cam/x").transport == "tcp"
    assert parse_source("rtsp://cam/x", transport="udp").transport == "udp"


def test_redaction_keeps_what_tells_cameras_apart() -> None:
    assert parse_source("rtsp://a:b@cam:554/door?key=1").redacted() == "rtsp://***@cam:554/door?***"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "rtsp://cam:554/user=admin&password=S&channel=1&stream=0.sdp",
            "/user=***&password=***&channel=1&stream=0.sdp",
        ),
        ("rtsp://cam:554/user=admin_password=S_channel=1_stream=0.sdp?real_stream", "/user=***?***"),
        ("rtsp://cam:554/USER=admin;Passwd=S/x;channel=1", "/USER=***;Passwd=***;channel=1"),
        ("rtsp://cam:554/user%3Dadmin%26password%3DS", "/user%3D***"),
        ("http://cam:554/live/token=S&S/1", "/live/token=***"),
        ("rtsp://cam:554/0/admin:S/main", "/0/***/main"),
        ("rtsp://cam:554/Streaming/Channels/101", "/Streaming/Channels/101"),
        ("rtsp://cam:554/cam/realmonitor;channel=1&keyframe=2", "/cam/realmonitor;channel=1&keyframe=2"),
    ],
)
def test_secrets_in_a_path_do_not_show(address: str, shown: str) -> None:
    assert parse_source(address).redacted() == f"{address.partition(':')[0]}://cam:554{shown}"


@pytest.mark.parametrize("address", ["rtsp://cam/user=admin&password=p@S&channel=1", "rtsp://admin:1/token=@S/live"])
def test_nothing_shows_where_what_is_secret_cannot_be_told(address: str) -> None:
    assert parse_source(address).redacted() == "rtsp://***"


def _texts(uri: SourceUri) -> str:
    return f"{uri} {uri!r} {uri.redacted()} {[uri]} {dataclasses.replace(uri, transport='udp')!r}"


@settings(deadline=None)
@given(schemes, secrets, secrets)
def test_no_text_of_an_address_shows_user_or_password(scheme: str, user: str, password: str) -> None:
    uri = parse_source(f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@cam.local:554/live")
    assert (uri.user, uri.password) == (user, password)
    assert SECRET not in _texts(uri)
    assert SECRET not in uri.location


@settings(deadline=None)
@given(schemes, secrets)
def test_no_text_of_an_address_shows_a_query_value(scheme: str, secret: str) -> None:
    uri = parse_source(f"{scheme}://host/path?token={quote(secret, safe='')}&b=2#frag")
    assert SECRET in uri.location
    assert SECRET not in _texts(uri)


@settings(deadline=None)
@given(schemes, st.text(st.characters(blacklist_characters="?#"), max_size=12))
def test_a_password_that_was_not_encoded_never_shows_either(scheme: str, around: str) -> None:
    text = f"{scheme}://user:{around}{SECRET}{around}@cam.local/live"
    try:
        shown = _texts(parse_source(text))
    except UsageError as error:
        shown = "".join(traceback.format_exception_only(type(error), error))
    assert SECRET not in shown


@settings(deadline=None)
@given(st.text(max_size=30))
@example("~nobody-of-that-name/a.mp4")
def test_any_text_is_a_source_or_a_usage_error_in_one_line(text: str) -> None:
    try:
        shown = parse_source(text).redacted()
    except UsageError as error:
        shown = str(error).replace("\n", "")
        unchanged = shown == str(error)
    else:
        unchanged = True
    assert shown
    assert unchanged
