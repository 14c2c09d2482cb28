"""Every way a camera fails, driven through the whole application beside a healthy stream.

The cameras are real RTSP servers on loopback, in processes of their own. Pictures are black before a fault and white
after it, so that a window across the fault would show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stream.sources.video_parts import Footprint, need_gst, wait_until

need_gst()

from bench.faulty_camera import X264, FaultyCamera, Login, picture, raw  # noqa: E402
from bench.peers import Mute, Relay, refused_port, write_certificate  # noqa: E402
from stream.types import StreamState  # noqa: E402
from tests.stream.faults.rig import (  # noqa: E402
    BESIDE,
    CAMERA,
    RETRY,
    Watching,
    beside,
    camera_at,
    check_beside_went_on,
    check_comes_back,
    check_no_window_spans,
    watching,
)

AVC = (
    "x264enc key-int-max=10 tune=zerolatency speed-preset=ultrafast threads=1 ! video/x-h264,stream-format=(string)avc"
)
JPEG = picture("white", encoder="jpegenc", pay="rtpjpegpay name=pay0 pt=26")
H265 = picture(
    "white",
    encoder="x265enc key-int-max=10 tune=zerolatency speed-preset=ultrafast",
    pay="h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1",
)
B_FRAMES = "x264enc key-int-max=25 bframes=3 b-adapt=false speed-preset=ultrafast threads=1"
SOUND = "audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0 pt=0"
FRAMES = 50
"""Two seconds of a camera's pictures."""


@pytest.fixture(scope="module", autouse=True)
def _what_is_made_once() -> None:
    """Thread pools, type registries and the like stay: they are there before anybody counts."""
    with stage():
        pass


@pytest.fixture(autouse=True)
def _nothing_is_left_over(_what_is_made_once: None) -> Iterator[None]:
    before = Footprint()
    yield
    before.check()


@dataclass
class Stage:
    """A camera, and the application that watches it."""

    camera: FaultyCamera
    run: Watching

    def await_loss(self) -> None:
        wait_until(lambda: not self.run.witness.is_playing(), "the loss")
        wait_until(lambda: self.run.shows(StreamState.RECONNECTING), "the loss on the metrics")

    def await_frames(self, count: int = FRAMES) -> None:
        seen = len(self.run.witness.arrived_s[CAMERA])
        wait_until(lambda: len(self.run.witness.arrived_s[CAMERA]) >= seen + count, f"{count} frames")


@contextmanager
def stage(launch: str | None = None) -> Iterator[Stage]:
    with (
        FaultyCamera(launch or picture("black")) as camera,
        watching(camera_at(camera.url), beside()) as run,
    ):
        run.await_scores()
        yield Stage(camera, run)


def check_all(run: Watching, since_s: float) -> None:
    check_no_window_spans(run)
    check_beside_went_on(run, since_s)


def test_a_window_of_before_and_after_would_be_noticed() -> None:
    """What the rule is worth: here nothing was lost, so windows rightly hold both."""
    with stage() as on:
        on.camera.change("src", "pattern", "white")
        wait_until(lambda: on.run.model.mixed > 0, "a window of black and white")


# A camera that plays, is lost, and comes back


@dataclass(frozen=True)
class Loss:
    """What makes a playing camera go away and what brings it back."""

    fault: Callable[[Stage], None]
    mend: Callable[[Stage], None]
    reasons: frozenset[str]
    """That the metrics may give; at least one of them."""


def _kill(on: Stage) -> None:
    on.camera.kill()


def _start_again(on: Stage) -> None:
    on.camera.start_again(picture("white"))


def _freeze(on: Stage) -> None:
    on.camera.freeze()
    on.camera.change("src", "pattern", "white")  # obeyed when it thaws


def _thaw(on: Stage) -> None:
    on.camera.thaw()


def _goes_on_by_itself(_: Stage) -> None: ...


def _becomes(launch: str) -> Callable[[Stage], None]:
    return lambda on: on.camera.launch(launch)


LOSSES = {
    "killed": Loss(_kill, _start_again, frozenset({"eos", "error", "refused"})),
    "frozen": Loss(_freeze, _thaw, frozenset({"stalled", "timeout"})),
    "restarted": Loss(_becomes(picture("white")), _goes_on_by_itself, frozenset({"eos", "error"})),
    "codec change to JPEG": Loss(_becomes(JPEG), _goes_on_by_itself, frozenset({"eos", "error"})),
    "codec change to H.265": Loss(_becomes(H265), _goes_on_by_itself, frozenset({"eos", "error"})),
}


@pytest.mark.parametrize("row", LOSSES.values(), ids=list(LOSSES))
def test_a_lost_camera_is_back_in_time_with_fresh_windows(row: Loss) -> None:
    with stage() as on:
        since_s = time.monotonic()
        row.fault(on)
        on.await_loss()
        row.mend(on)
        mended_s = time.monotonic()
        check_comes_back(on.run, mended_s)
        assert on.run.shows(StreamState.PLAYING)
        counted = {reason for reason in row.reasons if on.run.reconnects(reason) > 0}
        assert counted
        assert on.run.witness.reasons_of(CAMERA) <= row.reasons
        check_all(on.run, since_s)


def test_a_camera_that_flaps_every_second_is_followed_and_settles() -> None:
    with stage() as on:
        since_s = time.monotonic()
        for _ in range(5):
            on.camera.hang_up()
            time.sleep(1.0)
        on.camera.launch(picture("white"))
        check_comes_back(on.run, time.monotonic())
        assert on.run.reconnects("eos") + on.run.reconnects("error") >= 4
        check_all(on.run, since_s)


# A camera that changes while it plays, and one that was never as expected


def test_another_size_begins_new_windows_without_a_loss() -> None:
    with stage() as on:
        since_s = time.monotonic()
        on.camera.change("caps", "caps", "video/x-raw,format=I420,width=480,height=360,framerate=25/1")
        wait_until(lambda: on.run.reconnects("caps_change") == 1, "the change on the metrics")
        on.run.await_scores(more=3)
        assert on.run.witness.reasons_of(CAMERA) == {"caps_change"}
        assert on.run.shows(StreamState.PLAYING)
        check_all(on.run, since_s)


@pytest.mark.parametrize("rate", [5, 50])
def test_another_frame_rate_goes_on_in_the_same_windows(rate: int) -> None:
    with stage() as on:
        since_s = time.monotonic()
        on.camera.change("caps", "caps", f"video/x-raw,format=I420,width=320,height=240,framerate={rate}/1")
        on.await_frames(3 * rate)
        on.run.await_scores(more=3)
        assert on.run.witness.reasons_of(CAMERA) == set()
        check_all(on.run, since_s)


@pytest.mark.parametrize("seconds", [30.0, -30.0, 3600.0])
def test_a_jump_in_the_cameras_time_is_a_cut_or_nothing_at_all(seconds: float) -> None:
    with stage() as on:
        since_s = time.monotonic()
        on.camera.shift(seconds)
        on.await_frames()
        on.run.await_scores(more=3)
        assert on.run.witness.reasons_of(CAMERA) <= {"pts_jump"}
        wait_until(lambda: on.run.shows(StreamState.PLAYING), "playing on the metrics")
        check_all(on.run, since_s)


UNUSUAL = {
    "B-frames": picture("black", encoder=B_FRAMES),
    "SPS and PPS only in the SDP": picture("black", encoder=AVC, pay="rtph264pay name=pay0 pt=96 config-interval=0"),
    "audio first": f"( {SOUND} {raw('black')} ! {X264} ! rtph264pay name=pay1 pt=96 config-interval=-1 )",
}


@pytest.mark.parametrize("launch", UNUSUAL.values(), ids=list(UNUSUAL))
def test_an_unusual_camera_plays_without_a_cut(launch: str) -> None:
    with stage(launch) as on:
        since_s = time.monotonic()
        on.await_frames()
        assert on.run.witness.reasons_of(CAMERA) == set()
        check_all(on.run, since_s)


# A bad network


def _through(element: str) -> str:
    """The camera's packets go through an element that harms them."""
    return f"( {raw('black')} ! {X264} ! h264parse ! rtph264pay name=pay pt=96 mtu=300 config-interval=-1 ! {element} )"


REJECTED = "unmask_faces_rejected_total"
BAD_NETWORKS = {
    "20 % loss": _through("netsim name=pay0 drop-probability=0.2"),
    "corrupted packets": _through("breakmydata name=pay0 probability=0.0005"),
    "reordered and doubled": _through("netsim name=pay0 duplicate-probability=0.1 delay-probability=0.1 max-delay=60"),
}


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("launch", BAD_NETWORKS.values(), ids=list(BAD_NETWORKS))
def test_a_bad_network_costs_pictures_and_nothing_else(launch: str, transport: str) -> None:
    with FaultyCamera(launch) as camera, watching(camera_at(camera.url, transport=transport), beside()) as run:
        since_s = time.monotonic()
        on = Stage(camera, run)
        on.await_frames()
        if "drop-probability" in launch:  # hardly a picture is whole, so there may be no score at all
            wait_until(lambda: run.metric(REJECTED, stream=CAMERA, reason="damaged") > 0, "a face that is not judged")
            assert run.metric("unmask_stream_frames_damaged_total", stream=CAMERA) > 0
        else:
            run.await_scores(more=2)
        check_beside_went_on(run, since_s)
        assert run.failure is None
        assert run.metric("unmask_stream_frames_damaged_total", stream=BESIDE) == 0


# A camera that is not there yet


@contextmanager
def waiting_for(url: str, reason: str, **details: str) -> Iterator[Watching]:
    """The application while the camera fails for ``reason``; checks both streams' metrics."""
    with watching(camera_at(url, **details), beside()) as run:
        since_s = time.monotonic()
        run.await_scores("beside")
        wait_until(lambda: run.reconnects(reason) >= 1, f"{reason} on the metrics")
        assert run.shows(StreamState.RECONNECTING)
        assert run.witness.reasons_of(CAMERA) == {reason}
        yield run
        check_beside_went_on(run, since_s)


def check_comes(run: Watching) -> None:
    check_comes_back(run, time.monotonic())


def test_absent_at_start_and_refused_then_there() -> None:
    with ExitStack() as closing:
        with refused_port() as port:
            run = closing.enter_context(waiting_for(f"rtsp://127.0.0.1:{port}/camera", "refused"))
        closing.enter_context(FaultyCamera(picture("black"), port=port))
        check_comes(run)


def test_the_wrong_password_is_unauthorized_and_the_right_one_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHT_PASSWORD", "right")
    with FaultyCamera(picture("black"), login=Login("guard", "wrong")) as camera:
        port = camera.port
        with waiting_for(camera.url, "unauthorized", user="guard", password_env="RIGHT_PASSWORD") as run:
            camera.close()
            with FaultyCamera(picture("black"), port=port, login=Login("guard", "right")):
                check_comes(run)


def test_a_wrong_path_is_not_found() -> None:
    with FaultyCamera(picture("black")) as camera, waiting_for(camera.url + "-elsewhere", "not_found"):
        pass


def test_a_camera_with_an_untrusted_certificate_is_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = write_certificate(tmp_path)
    if certificate is None:
        pytest.skip("openssl is missing: apt install openssl")
    with FaultyCamera(picture("black"), certificate=certificate) as camera, waiting_for(camera.url, "untrusted") as run:
        assert not run.witness.arrived_s[CAMERA]
        assert "certificate" in caplog.text


def test_a_camera_that_is_slow_to_answer_plays_all_the_same() -> None:
    with FaultyCamera(picture("black")) as camera, Relay(camera.port, answer_after_s=2.0) as relay:
        url = f"rtsp://127.0.0.1:{relay.port}/camera"
        with watching(camera_at(url), beside()) as run:
            since_s = time.monotonic()
            wait_until(run.witness.is_playing, "the camera")
            run.await_scores()
            assert run.witness.reasons_of(CAMERA) == set()
            check_all(run, since_s)


def test_a_camera_that_never_answers_is_a_timeout_and_holds_nobody_up() -> None:
    with Mute() as mute, waiting_for(f"rtsp://127.0.0.1:{mute.port}/camera", "timeout") as run:
        began_s = time.monotonic()
        run.end()
        assert time.monotonic() - began_s < 10


def failed_connects(times: int) -> None:
    """Growth is read after the first tenth, when everything that is made once is there."""
    quick = {"first_s": 0.001, "longest_s": 0.001, "stalled_after_s": RETRY.stalled_after_s}
    with refused_port() as port, watching(camera_at(f"rtsp://127.0.0.1:{port}/x"), beside(), retry=quick) as run:
        wait_until(lambda: run.reconnects("refused") >= times / 10, "the first failures")
        since_s, before, grown_from = time.monotonic(), Footprint(), resident_mb()
        wait_until(lambda: run.reconnects("refused") >= times, f"{times} failures")
        before.check()
        assert resident_mb() - grown_from < 20
        check_beside_went_on(run, since_s)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def test_a_hundred_failed_connects_leave_nothing() -> None:
    failed_connects(100)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_thousand_failed_connects_leave_nothing() -> None:
    failed_connects(1000)
