"""The page in a real browser: over a real watch of a real RTSP camera, and over a server that is made to misbehave."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.stream.sources.video_parts import clip, need_gst, wait_until
from tests.stream.web.browser import NARROW, PATIENCE_MS, WIDE, chromium, need_browser, visiting

need_gst()
need_browser()

import stream.web.open  # noqa: E402
from engines.catalog import LoadedModel  # noqa: E402
from stream.alerts.alert import Alert, AlertKind, AlertListener, AlertState  # noqa: E402
from stream.config import StreamConfig  # noqa: E402
from stream.config_web import WebConfig  # noqa: E402
from stream.gst import webrtc  # noqa: E402
from stream.gst.camera import CameraOptions, RtspCamera  # noqa: E402
from stream.gst.live_view import LiveView, StreamViewers  # noqa: E402
from stream.live_streams import StreamStatus  # noqa: E402
from stream.parts import Parts  # noqa: E402
from stream.scoring.scorer import ModelScorer  # noqa: E402
from stream.types import QualityReason, StreamName, StreamState, Verdict  # noqa: E402
from stream.web.services import WebServices  # noqa: E402
from stream.web.users import changed_user  # noqa: E402
from tests.fakes import backbone_of, head_of, spec_of  # noqa: E402
from tests.stream.test_app import config, parts  # noqa: E402
from tests.stream.test_live_streams import Watching  # noqa: E402
from tests.stream.web.site import alert_of, open_site, scene_of  # noqa: E402

GONE = "404"
"""A picture that was asked for while its stream was removed."""
AWAY = "503"
"""A picture that was asked for while its stream began anew with other settings; the page asks again."""
WITHOUT_WEBRTC = "delete window.RTCPeerConnection"
PICTURE = """() => {
  const shown = [...document.querySelectorAll('.screen video, .screen img')].find((one) => !one.hidden);
  const canvas = Object.assign(document.createElement('canvas'), {width: 64, height: 36});
  canvas.getContext('2d').drawImage(shown, 0, 0, 64, 36);
  return canvas.getContext('2d').getImageData(0, 0, 64, 36).data.join();
}"""
"""What is seen, as numbers."""


class Run:
    """A watch with its page, the door by which alerts reach it, and who looks at its one camera."""

    def __init__(self, watching: Watching, alerts: AlertListener, lobby: StreamViewers) -> None:
        self.watching, self.alerts, self.lobby = watching, alerts, lobby

    @property
    def url(self) -> str:
        return self.watching.page_url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One camera named lobby, with a face whose scores rise and fall."""
    given, opened = [], []

    def open_and_keep(config: WebConfig, services: WebServices) -> Any:
        given.append(services)
        opened.append(open_web(config, services))
        return opened[-1]

    open_web = stream.web.open.open_web
    with pytest.MonkeyPatch.context() as patch, RtspCamera(None, CameraOptions(pattern_wh=(320, 180))) as camera:
        patch.setattr(stream.web.open, "open_web", open_and_keep)
        patch.setattr(webrtc, "SILENT_S", 2.0)
        web = WebConfig(enabled=True, port=0, hosts_allowed=("127.0.0.1",))
        asked = config(tmp_path_factory.mktemp("run"), duration_s=600.0, web=web, scores=None).with_streams(
            [StreamConfig(name="lobby", source=camera.url)]
        )
        watching = Watching(asked, given=swinging_parts())
        assert isinstance(given[0].video, LiveView)
        yield Run(watching, opened[0].alerts, given[0].video.of(StreamName("lobby")))
        watching.end()


def swinging_parts() -> Parts:
    """Whose head says another thing at each call."""
    fixed, spec, calls = parts(), spec_of(), count()
    backbone, head = backbone_of(), head_of(lambda features, _mask: [[(next(calls) * 7 % 60) / 10 - 3]] * len(features))
    return Parts(LoadedModel(spec, backbone, head), fixed.detector, ModelScorer(backbone, head, spec))


def text_of(page: Any, selector: str) -> str:
    return str(page.locator(selector).first.inner_text())


def becomes(page: Any, expression: str, wanted: Callable[[Any], bool] = bool) -> None:
    """Wait until it is so. The page's policy allows no waiting inside it: that takes an eval."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not wanted(page.evaluate(expression)):
        assert time.monotonic() < deadline, f"waited in vain for {expression}"
        page.wait_for_timeout(50)


def changes(page: Any, expression: str) -> None:
    """Wait until it gives something else than now."""
    before = page.evaluate(expression)
    becomes(page, expression, lambda now: now != before)


@pytest.mark.parametrize(
    ("way", "script"),
    [
        pytest.param("webrtc", "", marks=pytest.mark.skipif(not webrtc.has_webrtc(), reason=webrtc.ADVICE)),
        ("mjpeg", WITHOUT_WEBRTC),
    ],
)
def test_the_video_moves_and_scores_change(browser: Any, run: Run, way: str, script: str) -> None:
    with visiting(browser, run.url, script=script) as page:
        page.wait_for_selector(f".screen[data-way={way}] :is(video, img):not([hidden])")
        page.wait_for_selector(".face .score:not(:empty)")
        page.wait_for_selector(".picture .badge:not([hidden])")
        changes(page, PICTURE)
        changes(page, "() => document.querySelector('.face .score').textContent")
        assert re.search(r"fake score.* now (\d+|[<>] \d+) %", page.get_attribute(".plot", "aria-label") or "", re.I)
        assert "frames/s" in text_of(page, ".facts")


def test_many_streams_by_mjpeg_leave_the_browser_connections(browser: Any, run: Run) -> None:
    """Two play, the others come as single pictures, until one of the two makes room."""
    others, source = ("north", "south"), run.watching.now["lobby"].source
    for name in others:
        run.watching.streams.add(StreamConfig(name=name, source=source))
    with visiting(browser, run.url, size=(1600, 2400), script=WITHOUT_WEBRTC, allowed=[GONE]) as page:
        page.wait_for_selector(".screen[data-way=stills] img:not([hidden])")
        assert page.locator(".screen[data-way=mjpeg]").count() == 2
        run.watching.streams.remove("north")
        page.wait_for_selector(".screen[data-way=stills]", state="detached")
        assert page.locator(".screen[data-way=mjpeg]").count() == 2
    run.watching.streams.remove("south")


def test_whoever_closes_the_page_is_gone_and_nothing_is_drawn(browser: Any, run: Run) -> None:
    """By WebRTC in one tab, by MJPEG in the other."""
    with visiting(browser, run.url) as page, visiting(browser, run.url, script=WITHOUT_WEBRTC) as other:
        page.wait_for_selector(".screen video:not([hidden]), .screen img:not([hidden])")
        other.wait_for_selector(".screen img:not([hidden])")
        assert run.lobby.jpegs.is_watched
        assert run.lobby.peers.is_watched == webrtc.has_webrtc()
    wait_until(lambda: not run.lobby.jpegs.is_watched and not run.lobby.peers.is_watched, "both to be gone")
    drawn = len(run.watching.observer.of("stage_took"))
    run.watching.plays("lobby")
    stages = {stage for _, stage, _ in run.watching.observer.of("stage_took")[drawn + 20 :]}
    assert "overlay" not in stages


def test_a_timeline_is_zoomed_by_dragging_and_shown_whole_again(browser: Any, run: Run) -> None:
    with visiting(browser, run.url) as page:
        page.wait_for_selector(".u-over")
        box = page.locator(".u-over").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 30, steps=4)
        page.mouse.up()
        page.click("text=Show all")
        page.wait_for_selector("text=Show all", state="hidden")


def test_a_stream_is_added_changed_and_removed(browser: Any, run: Run) -> None:
    source = run.watching.now["lobby"].source
    with visiting(browser, run.url, allowed=("422", GONE, AWAY)) as page:
        page.click("text=Add a stream")
        page.fill("[name=source]", "file:///etc/passwd")
        page.keyboard.press("Enter")
        page.wait_for_selector(".dialog .error:not([hidden])")
        assert "rtsp" in text_of(page, ".dialog .error")
        page.fill("[name=source]", source)
        page.fill("[name=name]", "yard")
        page.keyboard.press("Enter")
        page.wait_for_selector("[aria-label='Stream yard'] .state.playing")
        assert "yard" in run.watching.now
        page.click("[aria-label='Change yard']")
        page.click("text=More settings")
        page.select_option("[name=priority]", "low")
        page.click("text=Save")
        page.wait_for_selector("dialog", state="detached")
        described = run.watching.streams.described("yard")
        assert described is not None
        assert (described.priority, described.source) == ("low", source)
        page.click("[aria-label='Remove yard']")
        page.click(".dialog .danger")
        page.wait_for_selector("[aria-label='Stream yard']", state="detached")
        assert list(run.watching.now) == ["lobby"]


def test_an_alert_arrives_is_opened_and_ends(browser: Any, run: Run) -> None:
    alert = dataclasses.replace(alert_of("live-1"), stream=StreamName("lobby"), began_at=time.time())
    with visiting(browser, run.url) as page:
        page.wait_for_selector("text=No alert")
        page.wait_for_selector(".face")
        run.alerts.alert_changed(alert)
        page.wait_for_selector(".toast")
        assert alert.message in text_of(page, ".side .alert")
        assert "1 alert going on" in text_of(page, "#overall")
        assert page.title().startswith("(1)")
        page.click(".toast a")
        page.wait_for_selector(f"h1:has-text('{alert.message}')")
        run.alerts.alert_changed(dataclasses.replace(alert, state=AlertState.RESOLVED, changed_at=time.time()))
        page.wait_for_selector(".alert-heading .pill.resolved")
        assert not page.title().startswith("(")


def test_what_others_name_is_never_markup(browser: Any) -> None:
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    with open_site() as site, visiting(browser, site.url) as page:
        page.wait_for_selector("article")
        site.web.alerts.alert_changed(alert_of("evil", message=evil, rule=evil))
        page.wait_for_selector(".toast")
        assert evil in text_of(page, ".toast")
        page.click(".toast a")
        page.wait_for_selector("h1")
        assert text_of(page, "h1") == evil


def test_a_lost_connection_is_said_and_made_again(browser: Any) -> None:
    with open_site() as first, visiting(browser, first.url, allowed=["ERR_"]) as page:
        page.wait_for_selector("article")
        first.web.close()
        page.wait_for_selector("#lost:not([hidden])")
        assert "Connection to the server lost" in text_of(page, "#lost")
        assert page.locator("#overall .unknown").all_inner_texts() == [
            "Alerts: unknown",
            "Streams: unknown",
            "Readiness: unknown",
        ]
        assert page.locator("#overall .good").count() == 0
        port = int(first.url.rpartition(":")[2])
        with open_site(WebConfig(enabled=True, port=port)):
            page.wait_for_selector("#lost", state="hidden")
            page.wait_for_selector("#overall .good:has-text('Ready')")


def test_a_fake_in_view_is_said_above_even_while_no_alert_is_due(browser: Any) -> None:
    with open_site() as site, visiting(browser, site.url, size=NARROW) as page:
        page.wait_for_selector("#overall .good:has-text('No alert')")
        page.wait_for_selector("#overall .good:has-text('Ready')")
        wait_until(
            lambda: site.services.hub._boxes, "the page to listen: a live stream tells again, this test does not"
        )
        site.services.hub.publish(scene_of(0.93))
        page.wait_for_selector("#overall .bad:has-text('Fake seen')")
        assert "fake score 93 %" in text_of(page, ".picture .badge")
        site.services.hub.publish(dataclasses.replace(scene_of(pts_s=41.0), faces=()))
        page.wait_for_selector("#overall .good:has-text('No alert')")


def test_a_phone_shows_why_a_stream_does_not_play(browser: Any) -> None:
    why = "the camera cannot be reached: check its address, its power and its network cable"
    with open_site() as site:
        playing = site.streams._status

        def down(stream: StreamConfig) -> StreamStatus:
            lost = {"state": StreamState.RECONNECTING, "decoder": None, "last_error": why}
            return dataclasses.replace(playing(stream), **lost)

        site.streams._status = down  # type: ignore[method-assign]
        with visiting(browser, f"{site.url}/#/health", size=NARROW) as page:
            page.wait_for_selector("td:has-text('cannot reach it')")
            page.wait_for_selector("td:has-text('not opened')")
            box = page.locator(f"td:has-text('{why}')").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= NARROW[0]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("source", "", "Give the camera"),
        ("source", "rtsp://ann:s3cret@10.0.0.8/b", "Take user and password out of the address"),
        ("name", "front door", "The name may have letters"),
        ("sample_every", "0", "a whole number from 1 to 100"),
    ],
)
def test_the_dialog_says_in_plain_words_what_is_wrong(browser: Any, field: str, value: str, told: str) -> None:
    """And asks nothing of the server: no answer of it is among the errors."""
    with open_site() as site, visiting(browser, site.url) as page:
        page.click("text=Add a stream")
        page.fill("[name=source]", "rtsp://10.0.0.8/b")
        page.click("text=More settings")
        page.fill(f"[name={field}]", value)
        page.click(".dialog [type=submit]")
        page.wait_for_selector(".dialog .error:not([hidden])")
        assert told in text_of(page, ".dialog .error")
        assert [stream.name for stream in site.streams.list()] == ["yard"]


def test_a_page_with_users_asks_for_a_login(browser: Any, tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    changed_user(users, "ann", "viewer", password="correct horse battery")
    with (
        open_site(WebConfig(enabled=True, port=0, users=users)) as site,
        visiting(browser, site.url, allowed=["401"]) as page,
    ):
        page.fill("[name=user]", "ann")
        page.fill("[name=password]", "wrong horse")
        page.keyboard.press("Enter")
        page.wait_for_selector(".login .error:not([hidden])")
        page.fill("[name=password]", "correct horse battery")
        page.keyboard.press("Enter")
        page.wait_for_selector("article")
        assert "ann (viewer)" in text_of(page, "#who")
        assert page.locator("text=Add a stream").is_hidden()
        page.click("text=Sign out")
        page.wait_for_selector(".login")


def test_an_alerts_evidence_is_shown(browser: Any, tmp_path: Path) -> None:
    alert = evidence_of(alert_of("kept", track_id=3), tmp_path)
    with open_site(evidence=tmp_path) as site, visiting(browser, f"{site.url}/#/alerts/{alert.id}") as page:
        becomes(page, "document.querySelector('video.evidence')?.videoWidth > 0")
        becomes(page, "document.querySelector('.stills img')?.naturalWidth > 0")
        page.wait_for_selector(".timeline canvas")
        assert "unmask verify" in text_of(page, ".command")
        assert "heatmap: it is switched off" in text_of(page, ".block:has-text('Not kept')")
        assert page.locator(".hash").count() == 3


def evidence_of(alert: Alert, folder: Path) -> Alert:
    """An evidence folder as the room of evidence leaves it, of made-up pictures."""
    import cv2
    import numpy as np

    place = folder / "first"
    place.mkdir()
    clip(place / "clip.mp4")
    cv2.imwrite(str(place / "snapshot.jpg"), np.full((90, 160, 3), 90, np.uint8))
    moments = [{"at": 1000.0 + i, "faces": [{"track": 3, "fake_probability": i / 20}]} for i in range(20)]
    (place / "timeline.json").write_text(json.dumps({"moments": moments}))
    kinds = {"clip.mp4": "clip", "snapshot.jpg": "snapshot", "timeline.json": "timeline"}
    files = [{"name": name, "kind": kind, "bytes": 1, "sha256": "0" * 64} for name, kind in kinds.items()]
    missing = [{"what": "heatmap", "why": "it is switched off"}]
    values = {**dataclasses.asdict(alert), "kind": "fake", "severity": "critical", "state": "firing"}
    manifest = {"folder": "first", "alert": values, "files": files, "missing": missing}
    (place / "manifest.json").write_text(json.dumps(manifest))
    return alert


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_every_page_fits_the_window(browser: Any, run: Run, size: tuple[int, int], scheme: str) -> None:
    with visiting(browser, run.url, size=size, scheme=scheme) as page:
        for route in ("", "alerts", "health", "streams/lobby"):
            page.evaluate(f"location.hash = '#/{route}'")
            page.wait_for_selector("main h1")
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), route
            nameless = "[...document.querySelectorAll('button, a, input, select')].filter(one => !one.innerText && "
            nameless += "!one.ariaLabel && !one.labels?.length).length"
            assert page.evaluate(nameless) == 0


def test_a_dialog_is_left_by_escape_and_the_focus_comes_back(browser: Any, run: Run) -> None:
    with visiting(browser, run.url) as page:
        page.locator("text=Add a stream").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog[open]")
        assert page.evaluate("document.activeElement.name") == "source"
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        assert "Add a stream" in page.evaluate("document.activeElement.textContent")


def test_a_first_visitor_without_streams_is_told_what_to_do(browser: Any) -> None:
    with open_site() as site:
        site.streams.remove("yard")
        with visiting(browser, site.url) as page:
            page.wait_for_selector("text=No stream yet")
            assert "not proof" in text_of(page, ".explain-body")


WORDS = [
    ("percent(0.934)", "93 %"),
    ("percent(1)", "> 99 %"),
    ("percent(0.002)", "< 1 %"),
    ("percent(null)", "–"),
    ("delay(0)", None),
    ("delay(87)", "90 ms"),
    ("delay(1234)", "1.2 s"),
    ("span(59)", "59 s"),
    ("span(3700)", "1 h 1 min"),
    ("span(90000)", "1 d 1 h"),
    ("ago(100, 102)", "just now"),
    ("ago(100, 280)", "3 min ago"),
    ("bytes(512)", "512 B"),
    ("bytes(2481123)", "2.4 MiB"),
    ("plural(1, 'alert')", "1 alert"),
    ("plural(2, 'alert going on', 'alerts going on')", "2 alerts going on"),
    ("whyOf({verdict: 'unsure', reason: 'dark'})", "Because the face is too dark."),
    ("whyOf({verdict: 'unsure'}, {real_at: 0.35, fake_at: 0.65})", "Between 35 % and 65 %: could be either."),
    (
        "whyOf({verdict: 'unsure', fake_probability: 0.7}, {real_at: 0.35, fake_at: 0.65})",
        "On its way to fake: not for long enough yet.",
    ),
    (
        "whyOf({verdict: 'unsure', fake_probability: 0.2}, {real_at: 0.35, fake_at: 0.65})",
        "On its way to real: not for long enough yet.",
    ),
    ("whyOf({verdict: 'real'})", ""),
    ("scored(0.26)", "fake score 26 %"),
    ("scored(null)", ""),
    ("stateOf({state: 'reconnecting', decoder: null})", "cannot reach it, trying again…"),
    ("stateOf({state: 'reconnecting', decoder: 'avdec_h264'})", "camera lost, trying again…"),
    ("zone(0)", "UTC+0"),
    ("zone(330)", "UTC+5:30"),
    ("zone(-210)", "UTC-3:30"),
]


def test_numbers_are_said_in_words(browser: Any) -> None:
    with open_site() as site, visiting(browser, site.url) as page:
        calls = ", ".join(f"words.{call}" for call, _ in WORDS)
        told = page.evaluate(f"async () => {{ const words = await import('/static/words.js'); return [{calls}]; }}")
    assert told == [expected for _, expected in WORDS]


def test_every_word_of_ours_has_one_for_people(browser: Any) -> None:
    tables = {"VERDICTS": Verdict, "REASONS": QualityReason, "STATES": StreamState, "KINDS": AlertKind}
    with open_site() as site, visiting(browser, site.url) as page:
        for table, words in tables.items():
            known = page.evaluate(f"async () => Object.keys((await import('/static/words.js')).{table})")
            assert set(known) == {word.value for word in words}
