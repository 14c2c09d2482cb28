"""An encoder that cannot be opened is tried again now and then, and told once."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from tests.stream.gst.drawing_parts import need_gst

need_gst()

from gi.repository import Gst  # noqa: E402

from stream.errors import MissingPartError, OutputError, UnmaskError  # noqa: E402
from stream.gst.branch import Branch  # noqa: E402
from stream.gst.encoder_on_demand import RETRY_S, EncoderOnDemand  # noqa: E402

FRAME_S = 0.04
SMALL, LARGE = (Gst.Caps.from_string(f"video/x-raw,width={width}") for width in (320, 640))
NO_MEMORY, NO_ENCODER = OutputError("no memory for an encoder"), MissingPartError("no H.264 encoder is here")


class Bench(EncoderOnDemand):
    """Opens nothing: it refuses with ``refusal``, or gives a branch that is none."""

    def __init__(self) -> None:
        super().__init__("lobby", lambda: self.time_s)
        self.time_s = 100.0
        self.refusal: UnmaskError | None = None
        self.tries = 0

    def frames(self, seconds: float, caps: Any = SMALL) -> Branch | None:
        """Frames for so long; what encoded the last one."""
        branch = None
        for _ in range(round(seconds / FRAME_S)):
            with self._lock:
                branch, _ = self._branch_for(caps)
            self.time_s += FRAME_S
        return branch

    def viewers_leave(self) -> None:
        with self._lock:
            self._taken()

    def _opened(self, _caps: Any) -> Branch:
        self.tries += 1
        if self.refusal is not None:
            raise self.refusal
        return cast(Branch, object())


@pytest.fixture
def bench(caplog: pytest.LogCaptureFixture) -> Bench:
    caplog.set_level(logging.INFO)
    return Bench()


@pytest.mark.parametrize("refusal", [NO_MEMORY, NO_ENCODER])
def test_a_refusal_is_tried_again_every_few_seconds_and_told_once(
    bench: Bench, refusal: UnmaskError, caplog: pytest.LogCaptureFixture
) -> None:
    bench.refusal = refusal
    assert bench.frames(3.5 * RETRY_S) is None
    assert (bench.tries, caplog.messages) == (4, [str(refusal)])


def test_another_reason_is_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for bench.refusal in (NO_MEMORY, NO_ENCODER, NO_ENCODER):
        bench.frames(RETRY_S)
    assert caplog.messages == [str(NO_MEMORY), str(NO_ENCODER)]


def test_what_can_be_opened_at_last_is_kept_and_a_later_refusal_is_news(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.refusal = NO_MEMORY
    bench.frames(RETRY_S)
    bench.refusal = None
    assert bench.frames(2 * RETRY_S) is not None
    assert bench.tries == 2
    bench.viewers_leave()
    bench.refusal = NO_MEMORY
    assert bench.frames(RETRY_S) is None
    assert caplog.messages == [str(NO_MEMORY)] * 2


def test_frames_of_another_size_are_tried_at_once(bench: Bench) -> None:
    bench.refusal = NO_MEMORY
    bench.frames(2 * FRAME_S)
    bench.refusal = None
    assert bench.frames(FRAME_S, LARGE) is not None
    assert bench.tries == 2


def test_viewers_who_come_back_need_not_wait(bench: Bench) -> None:
    bench.frames(FRAME_S)
    bench.viewers_leave()
    assert bench.frames(FRAME_S) is not None
