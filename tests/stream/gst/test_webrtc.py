from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest

from tests.stream.gst.drawing_parts import need_gst

need_gst()

from stream.errors import OutputError  # noqa: E402
from stream.gst import webrtc  # noqa: E402
from stream.gst.live_view import LiveView, answering_address  # noqa: E402
from stream.gst.webrtc import PeerFeed, h264_payload, has_webrtc, without_candidates  # noqa: E402
from stream.types import StreamName  # noqa: E402
from tests.stream.gst.test_live_view import LOBBY, watched  # noqa: E402
from tests.stream.sources.video_parts import Footprint, wait_until  # noqa: E402

need_webrtc = pytest.mark.skipif(not has_webrtc(), reason=webrtc.ADVICE)

CODECS = """a=rtpmap:96 VP8/90000
a=rtpmap:102 H264/90000
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:104 H264/90000
a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f
a=rtpmap:108 H264/90000
a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
"""
OFFER = f"""v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 96 102 104 108
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 192.0.2.77 54515 typ host generation 0 network-cost 999
a=ice-ufrag:W2TG
a=ice-pwd:asd88fgpdd777uzjYhagZgaa
a=ice-options:trickle
a=fingerprint:sha-256 {":".join(["1F"] * 32)}
a=setup:actpass
a=mid:0
a=recvonly
a=rtcp-mux
a=rtcp-rsize
{CODECS}""".replace("\n", "\r\n")
"""As a browser makes it, without what does not matter here."""


def without(line: str) -> str:
    return "".join(other for other in OFFER.splitlines(keepends=True) if not other.startswith(line))


@pytest.fixture
def feed() -> Iterator[PeerFeed]:
    opened = PeerFeed("lobby", "127.0.0.1")
    yield opened
    opened.close()


def test_baseline_in_packets_of_any_size_is_chosen() -> None:
    assert h264_payload(OFFER) == 108


@pytest.mark.parametrize(
    "offer", ["", "a=rtpmap:96 VP8/90000\n", "a=rtpmap:97 H264/90000\n", OFFER.split("a=rtpmap:102")[0]]
)
def test_a_viewer_without_h264_is_sent_to_mjpeg(offer: str) -> None:
    with pytest.raises(OutputError, match="MJPEG"):
        h264_payload(offer)


@need_webrtc
@pytest.mark.parametrize("before", ["", " ", "\t", " \t ", "\n", "\r"])
@pytest.mark.parametrize("within", ["", " ", "\t"])
def test_addresses_that_a_viewer_names_are_left_out_however_they_are_spelled(before: str, within: str) -> None:
    kept = without_candidates(OFFER.replace("a=candidate", f"{before}a={within}candidate"))
    assert "192.0.2.77" not in kept
    assert "candidate" not in kept
    assert {"a=mid:0", "a=setup:actpass", "a=ice-ufrag:W2TG", "a=group:BUNDLE 0"} <= set(kept.splitlines())


@need_webrtc
def test_what_is_left_of_an_offer_is_not_changed() -> None:
    assert without_candidates(OFFER) == without("a=candidate")


@need_webrtc
def test_an_answer_sends_h264_from_the_one_address_that_is_allowed(feed: PeerFeed) -> None:
    answer = feed.answer(OFFER, 20)
    addresses = re.findall(r"^a=candidate:\S+ \d (\S+) \d+ (\S+)", answer, re.MULTILINE)
    assert set(addresses) == {("UDP", "127.0.0.1")}
    assert "m=video 9 UDP/TLS/RTP/SAVPF 108" in answer
    assert "a=sendonly" in answer
    assert feed.is_watched


@need_webrtc
@pytest.mark.parametrize(
    "offer", [CODECS, OFFER.replace("m=video", "m=application"), without("a=ice-ufrag"), without("a=fingerprint")]
)
def test_an_offer_that_is_none_is_refused_and_leaves_nothing(feed: PeerFeed, offer: str) -> None:
    with pytest.raises(OutputError):
        feed.answer(offer, 5)
    assert not feed.is_watched


@need_webrtc
def test_more_viewers_than_allowed_are_sent_to_mjpeg(feed: PeerFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "MOST_PEERS", 1)
    feed.answer(OFFER, 20)
    with pytest.raises(OutputError, match="MJPEG"):
        feed.answer(OFFER, 20)


@need_webrtc
def test_a_viewer_that_never_connects_goes_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "CONNECTS_WITHIN_S", 0.3)
    feed = PeerFeed("lobby", "127.0.0.1")

    def once() -> None:
        feed.answer(OFFER, 20)
        wait_until(lambda: not feed.is_watched, "the viewer to go")

    once()
    before = Footprint()
    for _ in range(4):
        once()
    before.check()
    wait_until(lambda: "viewers-stop" not in {thread.name for thread in threading.enumerate()}, "the last thread")


@need_webrtc
def test_two_viewers_share_one_encoder_and_silence_ends_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "SILENT_S", 1.0)
    with watched(pattern="ball") as (view, camera):
        peers = view.of(LOBBY).peers
        view.answer(LOBBY, OFFER, 20)
        wait_until(lambda: peers._branch is not None, "the encoder")
        branch = peers._branch
        view.answer(LOBBY, OFFER, 20)
        assert peers._branch is branch
        wait_until(lambda: not peers.is_watched, "both to be let go")
        assert peers._branch is None
        camera.shows(3)
        drawn = camera.drawn
        camera.shows(10)
        assert camera.drawn == drawn


@need_webrtc
def test_who_may_watch_no_more_is_let_go_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "LOOK_S", 0.1)
    may_watch = threading.Event()
    may_watch.set()
    with watched(pattern="ball") as (view, camera):
        peers = view.of(LOBBY).peers
        view.answer(LOBBY, OFFER, 20, may_watch.is_set)
        view.answer(LOBBY, OFFER, 20)
        camera.shows(10)
        assert peers.peers == 2
        may_watch.clear()
        wait_until(lambda: peers.peers == 1, "the one to be let go")


@need_webrtc
def test_a_stream_that_goes_takes_its_viewers_along() -> None:
    with watched() as (view, _):
        view.answer(LOBBY, OFFER, 20)
        peers = view.of(LOBBY).peers
        view.forget(LOBBY)
        assert not peers.is_watched
        with pytest.raises(OutputError):
            peers.answer(OFFER, 20)


def test_a_machine_without_webrtc_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "ELEMENTS", (*webrtc.ELEMENTS, "nosuchelement"))
    view = LiveView()
    view.of(LOBBY)
    assert not view.has_webrtc
    with pytest.raises(OutputError, match="apt install"):
        view.answer(LOBBY, OFFER, 1)
    with pytest.raises(KeyError):
        view.answer(StreamName("nobody"), OFFER, 1)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("::1", "::1"),
        ("192.0.2.7", "192.0.2.7"),
        ("0.0.0.0", None),
        ("::", None),
        ("guard.example", None),
    ],
)
def test_video_is_sent_from_where_the_page_listens(host: str, address: str | None) -> None:
    assert answering_address(host) == address
