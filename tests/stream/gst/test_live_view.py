from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from tests.stream.gst.drawing_parts import need_gst, samples

need_gst()

from stream.gst.jpegs import Pace, fitted  # noqa: E402
from stream.gst.live_view import LiveView  # noqa: E402
from stream.gst.output import OutputTargets, VideoOutput  # noqa: E402
from stream.types import Scene, StreamName  # noqa: E402
from tests.fakes import ListObserver  # noqa: E402
from tests.stream.overlay.scenes import face_of, scene_of  # noqa: E402
from tests.stream.sources.video_parts import Footprint, wait_until  # noqa: E402

LOBBY = StreamName("lobby")
SCENE = scene_of(face_of((90, 90, 190, 190)))


class FreshScenes:
    """A face that was seen just now, whenever one looks."""

    def newest(self) -> Scene:
        now_ns = time.monotonic_ns()
        return dataclasses.replace(SCENE, captured_ns=now_ns, published_ns=now_ns)


class Camera:
    """Frames at 30 a second into an output that has nothing but viewers."""

    def __init__(self, view: LiveView, *, width: int = 320, height: int = 240, pattern: str = "black") -> None:
        self.observer, self.pushed = ListObserver(), 0
        self._frames = list(samples(10, width, height, pattern=pattern))
        self._output = VideoOutput(
            LOBBY,
            OutputTargets(viewers=view.of(LOBBY)),
            FreshScenes(),
            is_live=True,
            observer=self.observer,
            on_error=lambda error: pytest.fail(str(error)),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def drawn(self) -> int:
        return len(self.observer.of("stage_took"))

    def shows(self, frames: int) -> None:
        """Wait until so many more came by."""
        goal = self.pushed + frames
        wait_until(lambda: self.pushed >= goal, f"{frames} frames")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._output.close()

    def _run(self) -> None:
        while not self._stop.wait(1 / 30):
            self._output.push(self._frames[self.pushed % 10], self.pushed // 10)
            self.pushed += 1


@contextmanager
def watched(**camera: object) -> Iterator[tuple[LiveView, Camera]]:
    view = LiveView()
    filming = Camera(view, **camera)  # type: ignore[arg-type]
    try:
        yield view, filming
    finally:
        filming.close()
        view.close()


def first(pictures: Iterator[bytes | None]) -> np.ndarray:
    """The first picture, decoded: (H, W, 3) BGR."""
    jpeg = next(picture for picture in pictures if picture is not None)
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


def encoders(view: LiveView) -> int:
    return sum(viewers.jpegs._branch is not None for viewers in view._streams.values())


def test_nothing_is_drawn_or_encoded_before_somebody_looks() -> None:
    with watched() as (view, camera):
        camera.shows(10)
        assert (camera.drawn, encoders(view)) == (0, 0)
        assert camera.observer.events == []


def test_a_viewer_sees_the_overlay() -> None:
    with watched() as (view, _), view.jpegs(LOBBY, 10) as pictures:
        picture = first(pictures).astype(int)
    assert picture.shape == (240, 320, 3)
    red_less_blue = picture[..., 2] - picture[..., 0]
    assert red_less_blue[80:200, 80:200].max() > 80
    assert np.abs(red_less_blue[120:160, 120:160]).max() < 25


def test_large_pictures_are_made_smaller_and_keep_their_shape() -> None:
    with watched(width=1920, height=1080) as (view, _), view.jpegs(LOBBY, 10) as pictures:
        assert first(pictures).shape == (720, 1280, 3)


def test_two_viewers_share_one_encoder() -> None:
    with watched(pattern="ball") as (view, _), view.jpegs(LOBBY, 30) as one, view.jpegs(LOBBY, 30) as other:
        first(one)
        branch = view.of(LOBBY).jpegs._branch
        first(other)
        assert branch is not None
        assert view.of(LOBBY).jpegs._branch is branch
        assert encoders(view) == 1


def test_when_the_last_viewer_leaves_everything_stops() -> None:
    with watched() as (view, camera):
        with view.jpegs(LOBBY, 30) as stays:
            with view.jpegs(LOBBY, 30) as pictures:
                first(pictures)
            first(stays)
            assert encoders(view) == 1
        assert encoders(view) == 0
        camera.shows(3)
        drawn = camera.drawn
        camera.shows(10)
        assert camera.drawn == drawn


def test_the_fastest_viewer_sets_how_much_is_drawn() -> None:
    with watched() as (view, camera), view.jpegs(LOBBY, 5) as pictures:
        first(pictures)
        camera.shows(60)
        assert 5 <= camera.drawn <= 20  # of 60, at a sixth of them


def test_a_slow_viewer_misses_pictures_and_holds_up_nobody() -> None:
    with watched(pattern="ball") as (view, camera), view.jpegs(LOBBY, 30) as slow, view.jpegs(LOBBY, 30) as quick:
        first(slow)
        seen = [picture for picture, _ in zip(quick, range(15), strict=False)]
        assert all(seen)
        assert view.of(LOBBY).jpegs._newest[0] >= 15
        next(slow)
        assert camera.observer.of("frame_dropped") == []


def test_a_stream_without_a_picture_says_so() -> None:
    view = LiveView()
    view.of(LOBBY)
    with view.jpegs(LOBBY, 10) as pictures:
        assert next(pictures) is None
    assert view.snapshot(LOBBY, 0.1) is None
    view.close()


def test_a_snapshot_is_one_picture_and_nothing_goes_on() -> None:
    with watched() as (view, _):
        picture = view.snapshot(LOBBY, 30)
        assert picture is not None
        assert picture.startswith(b"\xff\xd8")
        assert encoders(view) == 0
        assert view.snapshot(StreamName("nobody"), 1) is None


def test_an_unknown_stream_is_a_key_error() -> None:
    view = LiveView()
    with pytest.raises(KeyError):
        view.jpegs(StreamName("nobody"), 10)


def test_viewers_of_a_stream_that_goes_see_the_end() -> None:
    with watched() as (view, _), view.jpegs(LOBBY, 30) as pictures:
        first(pictures)
        view.forget(LOBBY)
        for _ in pictures:
            pass
        assert view.snapshot(LOBBY, 1) is None


def test_an_encoder_that_failed_is_tried_anew_for_the_next_viewer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with watched() as (view, _), monkeypatch.context() as patch, view.jpegs(LOBBY, 30) as pictures:
        patch.setattr("stream.gst.jpegs.scale_launch", lambda _: "identity error-after=1")
        assert next(pictures) is None
        assert "pictures of lobby for viewers have stopped" in caplog.text
        patch.undo()  # before somebody comes: pictures are pushed on another thread
        with view.jpegs(LOBBY, 30) as others:
            first(others)


def test_ten_viewers_leave_no_thread_and_no_descriptor() -> None:
    def once(view: LiveView) -> None:
        with view.jpegs(LOBBY, 30) as pictures:
            first(pictures)

    with watched() as (view, _):
        once(view)
        before = Footprint()
        for _ in range(10):
            once(view)
        before.check()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (640, 480)), ((1920, 1080), (1280, 720)), ((1080, 1920), (404, 720)), ((641, 3), (640, 2))],
)
def test_pictures_are_fitted_to_even_sides(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted(*size) == expected


@pytest.mark.parametrize(("source_fps", "fps", "expected"), [(30, 10, 10), (30, 30, 30), (25, 30, 25), (60, 24, 24)])
@pytest.mark.parametrize("jitter", [lambda _: 0.0, lambda index: 0.004 * (-1) ** index])
def test_a_pace_is_kept_on_the_average(
    source_fps: int, fps: int, expected: int, jitter: Callable[[int], float]
) -> None:
    pace, taken = Pace(), 0
    for index in range(10 * source_fps):
        now_s = 1000 + index / source_fps + jitter(index)
        if pace.is_due(now_s, fps):
            pace.take(now_s, fps)
            taken += 1
    assert taken == pytest.approx(10 * expected, abs=2)
