"""A fuzzer for addresses as they are mistyped: whatever it is, no text that is made of it shows the password."""

from __future__ import annotations

import re
import traceback

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stream.config import StreamConfig, default_name, redacted
from stream.errors import UsageError
from stream.sources.uri import parse_source

SECRET = "Hunter2Zx"
PIECES = (
    *("rtsp", "rtsps", "http", "https", "file", "ftp", "webcam", "screen", "test", "csi", "RTSP", "1rtsp", "r tsp"),
    *("://", ":/", ":", "//", "/", "\\", "@", "?", "#", ";", "&", "=", "%", "%2F", "%40", "%3A", "%zz", ".", "..", "~"),
    *("[", "]", "[::1]", "localhost", "cam.local", "10.0.0.1", ":554", ":99999", "-1", "user", "root", "clip.mp4"),
    *("\t", "\n", "\r", "\0", " ", "\x7f", "\u2100", "\uff20", "\u2488com", "é", "\udcff", "${X}", "/dev/video0"),
)
soup = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=6).map("".join)


def shown(text: str) -> str:
    """All that the program may print of what somebody typed."""
    try:
        uri = parse_source(text)
    except UsageError as error:
        lines = traceback.format_exception_only(type(error), error)
        return f"{lines}{error.__cause__}" if len(str(error).splitlines()) == 1 else f"{SECRET}: more than a line"
    return f"{uri} {uri!r} {uri.redacted()} {uri.is_live}"


@settings(max_examples=1200, deadline=None)
@given(soup, soup, soup, soup)
@example("user", "", "", "cam/x")
@example("rtsp//user", "", "", "cam/x")
@example("rtsp:/user", "", "", "cam/x")
@example("1rtsp://user", "", "", "cam/x")
@example("rtsp:\\\\user", "", "", "cam/x")
@example("file:///clips/user", "", "", "cam")
@example("rtsp", "//", "/", "cam/x")
@example("rtsp", "//", ":/", "")
@example("rtsp", "//", "?", "cam")
def test_no_text_of_a_mistyped_address_shows_its_password(before: str, left: str, right: str, after: str) -> None:
    text = f"{before}:{left}{SECRET}{right}@{after}"
    assert SECRET not in shown(text)
    assert SECRET not in redacted(text)
    assert SECRET not in default_name(text)
    assert SECRET not in repr(StreamConfig(source=text))


KEYS = ("user", "username", "usr", "login", "password", "passwd", "pass", "pwd", "psw", "pw", "token", "key", "auth")


@settings(max_examples=1200, deadline=None)
@given(st.sampled_from(["rtsp://cam", "http://10.0.0.1:80", "cam:554", "rtsp:/cam"]), soup, st.data(), soup)
def test_no_text_of_an_address_shows_a_secret_in_its_path(
    front: str, left: str, data: st.DataObject, right: str
) -> None:
    key = data.draw(st.sampled_from([str, str.upper, str.title]))(data.draw(st.sampled_from(KEYS)))
    before = data.draw(st.sampled_from(["", "user=admin&", "user=admin_", "channel=1;", "live/"]))
    text = f"{front}/{before}{key}={left}{SECRET}{right}&channel=1&stream=0.sdp"
    assume(not re.search(r"[&;]\w+=", left))
    assert SECRET not in shown(text)
    assert SECRET not in redacted(text)
    assert SECRET not in default_name(text)
    assert SECRET not in repr(StreamConfig(source=text))


@pytest.mark.parametrize("password", [f";{SECRET}=", f"&{SECRET}=a", f"x;a=1&{SECRET}=b"])
def test_a_secret_in_a_path_may_look_like_another_name(password: str) -> None:
    uri = parse_source(f"rtsp://cam/user=admin&password={password}&channel=1&stream=0.sdp")
    assert str(uri) == "rtsp://cam/user=***&password=***&channel=1&stream=0.sdp"


@settings(max_examples=800, deadline=None)
@given(soup)
@example("file://[")
@example("~\udcff/clip.mp4")
@example("file://[::1/x")
def test_any_soup_is_a_source_or_one_line(text: str) -> None:
    assert "more than a line" not in shown(text)
    redacted(text)
