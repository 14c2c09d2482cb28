"""A pass of known pictures between two rounds: what it says, what it leaves alone, who is told."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from engines.errors import InferenceError
from engines.jpeg import jpeg_from_rgb
from stream.alerts.alert import Alert, AlertKind, AlertState
from stream.canary.answers import TOLERANCE, Answer, Result, answer_of
from stream.canary.canary import REST, Canary
from stream.canary.clips import GENUINE, LABELS, PICTURES, STREAM, SWAPPED, CanaryClip
from stream.canary.keeper import CanaryKeeper, Told
from stream.errors import MissingPartError
from stream.scoring.scorer import ModelScorer
from stream.scoring.story import TrackSummary
from stream.types import FaceBox, Frame, TrackId, Verdict
from tests.fakes import FixedDetector, backbone_of, head_of, spec_of

FACE = FaceBox((60.0, 40.0, 200.0, 200.0), 0.99)
WITHIN_S = 20.0


def clip_of(name: str, light: int) -> CanaryClip:
    """Noise around a brightness: the scripted model goes by it."""
    rng = np.random.default_rng(light)
    rgb = np.clip(rng.normal(light, 30, (240, 320, 3)), 0, 255).astype(np.uint8)
    return CanaryClip(name, (jpeg_from_rgb(rgb, 90),) * PICTURES)


CLIPS = (clip_of(GENUINE, 70), clip_of(SWAPPED, 190))


def by_brightness(features: Any, mask: Any) -> Any:
    """Bright faces are fakes."""
    return np.where((features[..., 0] * mask).sum(1) / mask.sum(1) > 0, 3.0, -3.0)


def canary_of(
    on_done: Callable[[Result], None],
    *,
    head: Any = by_brightness,
    expected: Mapping[str, float] | None = None,
    faces: Callable[[Frame], Sequence[FaceBox]] = lambda _: [FACE],
    clock: Callable[[], int] = lambda: 0,
) -> Canary:
    scorer = ModelScorer(backbone_of(), head_of(head), spec_of())
    return Canary(FixedDetector(faces), scorer, expected, on_done, clock=clock)


def sung(canary: Canary, results: list[Result], number: int = 1) -> Result:
    canary.ask(number, "start", CLIPS)
    for _ in range(2 * PICTURES):
        assert len(results) < number
        canary.step()
    return results[-1]


def test_engines_that_tell_the_clips_apart_are_right() -> None:
    results: list[Result] = []
    result = sung(canary_of(results.append), results)
    assert result.is_right
    assert [answer.verdict for answer in result.answers] == ["real", "fake"]
    assert result.probabilities == pytest.approx({GENUINE: 0.047, SWAPPED: 0.953}, abs=0.01)
    assert result.backend == "scripted"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"head": lambda features, _: np.full(len(features), 3.0)}, "the genuine clip is called fake (0.95 fake), not"),
        (
            {"head": lambda features, _: np.full(len(features), -3.0)},
            "the swapped clip is called real (0.05 fake), not",
        ),
        ({"head": lambda features, _: np.zeros(len(features))}, "the genuine clip is called unsure (0.50 fake), not"),
        ({"faces": lambda _: []}, "no face of the genuine clip was scored"),
        ({"expected": {GENUINE: 0.3, SWAPPED: 0.95}}, "far from the recorded 0.30"),
    ],
)
def test_engines_that_do_not_are_wrong_and_say_why(change: dict[str, Any], problem: str) -> None:
    results: list[Result] = []
    result = sung(canary_of(results.append, **change), results)
    assert not result.is_right
    assert problem in result.problem


def test_a_model_that_fails_is_an_answer_too() -> None:
    def fail(_features: Any, _mask: Any) -> Any:
        raise InferenceError("the device is gone")

    results: list[Result] = []
    canary = canary_of(results.append, head=fail)
    canary.ask(1, "start", CLIPS)
    for _ in range(PICTURES):
        canary.step()
    assert [result.problem for result in results] == ["the model failed: the device is gone"]


def test_the_second_pass_remembers_nothing_of_the_first() -> None:
    results: list[Result] = []
    canary = canary_of(results.append)
    assert sung(canary, results, 1).probabilities == sung(canary, results, 2).probabilities


def test_a_new_pass_replaces_one_that_runs() -> None:
    results: list[Result] = []
    canary = canary_of(results.append)
    canary.ask(7, "start", CLIPS)
    for _ in range(PICTURES + 3):
        canary.step()
    canary.ask(8, "runtime changed", CLIPS)
    for _ in range(2 * PICTURES):
        canary.step()
    assert [(result.number, result.why) for result in results] == [(8, "runtime changed")]


def test_it_takes_one_picture_at_a_time_and_rests_in_between() -> None:
    now = [0]

    def clock() -> int:
        now[0] += 1_000_000
        return now[0]

    looked: list[int] = []

    def faces(frame: Frame) -> list[FaceBox]:
        looked.append(frame.pts_ns)
        return [FACE]

    canary = canary_of(lambda _: None, faces=faces, clock=clock)
    canary.step()
    assert looked == []
    canary.ask(1, "start", CLIPS)
    began = now[0]
    canary.step()
    assert looked == [0]
    took = now[0] - began
    for _ in range(REST):
        canary.step()
    assert looked == [0]
    now[0] += REST * took
    canary.step()
    assert looked == [0, 200_000_000]


def test_its_frames_bear_a_name_of_their_own() -> None:
    frame = CLIPS[0].frame(3, 0.2)
    assert (frame.stream, frame.pts_ns) == (STREAM, 600_000_000)
    assert (frame.planes.width, frame.planes.height) == (320, 240)


def summary(probability: float | None, windows: int, verdict: Verdict) -> TrackSummary:
    return TrackSummary(TrackId(1), 0, 1, windows, probability, verdict, ())


def test_the_face_that_was_scored_most_answers_for_the_clip() -> None:
    tracks = [summary(0.9, 1, Verdict.FAKE), summary(0.1, 8, Verdict.REAL), summary(None, 0, Verdict.WARMING_UP)]
    assert answer_of(CLIPS[0], tracks, None) == Answer(GENUINE, "real", 0.1)


@pytest.mark.parametrize(("off", "is_right"), [(0.0, True), (TOLERANCE - 0.01, True), (TOLERANCE + 0.01, False)])
def test_a_recorded_probability_has_its_tolerance(off: float, is_right: bool) -> None:
    answer = answer_of(CLIPS[0], [summary(0.1 + off, 8, Verdict.REAL)], {GENUINE: 0.1})
    assert (answer.problem == "") is is_right


# The keeper


class Clips:
    def __init__(self, missing: str = "", fails: float = math.inf) -> None:
        """``missing``: why the first ``fails`` attempts do."""
        self._missing, self._fails = missing, fails
        self.is_cancelled = False
        self.loads = 0

    def load(self) -> Sequence[CanaryClip]:
        self.loads += 1
        if self._missing and self.loads <= self._fails:
            raise MissingPartError(self._missing)
        return CLIPS

    def cancel(self) -> None:
        self.is_cancelled = True


class Ears:
    """Hears all that the keeper tells."""

    def __init__(self) -> None:
        self.conditions: list[tuple[bool, str]] = []
        self.shown: list[tuple[bool, Mapping[str, float]]] = []
        self.records: list[Mapping[str, Any]] = []
        self.alerts: list[Alert] = []
        self.asked: list[tuple[int, str]] = []

    def told(self) -> Told:
        return Told(
            lambda is_met, why: self.conditions.append((is_met, why)),
            lambda is_right, said: self.shown.append((is_right, said)),
            lambda kind, record: self.records.append({"kind": kind, **record}),
            self.alerts.append,
        )

    def keeper(self, clips: Clips | None = None, **changes: Any) -> CanaryKeeper:
        settings = {"every_s": 3600.0, "model": "scripted", "again_s": 0.01, **changes}
        return CanaryKeeper(clips or Clips(), self.told(), **settings)


RIGHT = (Answer(GENUINE, "real", 0.2), Answer(SWAPPED, "fake", 0.9))
WRONG = (Answer(GENUINE, "fake", 0.8, "the genuine clip is called fake (0.80 fake), not real"), RIGHT[1])


def played(ears: Ears, keeper: CanaryKeeper, script: Sequence[Sequence[Answer]], until: Callable[[], bool]) -> None:
    """Passes answered by the script, its last line for ever; until something is so."""

    def ask(number: int, why: str, _clips: Sequence[CanaryClip]) -> None:
        ears.asked.append((number, why))
        answers = script[min(len(ears.asked), len(script)) - 1]
        keeper.done(Result(number, why, tuple(answers), "onnxruntime-cpu"))

    keeper.start(ask)
    waited(until)
    keeper.close()


def waited(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not until() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert until()


def test_a_right_answer_makes_it_ready_and_wakes_nobody() -> None:
    ears = Ears()
    played(ears, ears.keeper(), [RIGHT], lambda: len(ears.records) == 1)
    assert ears.conditions[0] == (False, "the canary has not answered yet")
    assert ears.conditions[1] == (True, "told apart: genuine 0.20, swapped 0.90 fake")
    assert ears.shown == [(True, {GENUINE: 0.2, SWAPPED: 0.9})]
    assert ears.records[0]["answers"][GENUINE] == {"verdict": "real", "fake": 0.2}
    assert ears.alerts == []
    assert ears.asked == [(1, "start")]


def test_a_wrong_answer_alerts_once_and_a_right_one_resolves_it() -> None:
    ears = Ears()
    played(ears, ears.keeper(), [WRONG, WRONG, RIGHT], lambda: len(ears.records) >= 3)
    assert [met for met, _ in ears.conditions[:4]] == [False, False, False, True]
    assert [alert.state for alert in ears.alerts] == [AlertState.FIRING, AlertState.RESOLVED]
    fired, resolved = ears.alerts
    assert fired.id == resolved.id
    assert (fired.kind, fired.stream, fired.fake_probability) == (AlertKind.CANARY, "", 0.8)
    assert "the genuine clip is called fake" in fired.message
    assert ears.asked[:3] == [(1, "start"), (2, "again"), (3, "again")]


def test_no_answer_in_time_is_a_wrong_one_and_a_late_one_is_not_taken_for_the_next() -> None:
    ears = Ears()
    keeper = ears.keeper(deadline_s=0.05)
    late: list[Result] = []

    def ask(number: int, why: str, _clips: Sequence[CanaryClip]) -> None:
        late.append(Result(number, why, RIGHT))
        if number == 3:
            keeper.done(late[0])
            keeper.done(late[1])
            keeper.done(late[2])

    keeper.start(ask)
    waited(lambda: len(ears.alerts) == 2)
    keeper.close()
    assert "no answer within" in ears.conditions[1][1]
    assert ears.shown[:3] == [(False, {}), (False, {}), (True, {GENUINE: 0.2, SWAPPED: 0.9})]


def test_a_changed_runtime_brings_a_pass_at_once() -> None:
    ears = Ears()
    keeper = ears.keeper()

    def ask(number: int, why: str, _clips: Sequence[CanaryClip]) -> None:
        ears.asked.append((number, why))
        keeper.done(Result(number, why, RIGHT))

    keeper.start(ask)
    waited(lambda: len(ears.records) == 1)
    keeper.runtime_changed()
    waited(lambda: len(ears.records) == 2)
    keeper.close()
    assert ears.asked == [(1, "start"), (2, "runtime changed")]


def test_it_sings_every_so_often() -> None:
    ears = Ears()
    played(ears, ears.keeper(every_s=0.01), [RIGHT], lambda: len(ears.asked) >= 3)
    assert {why for _, why in ears.asked[1:]} == {"time"}


def test_without_clips_it_is_not_ready_and_says_why_once() -> None:
    ears, clips = Ears(), Clips("no portrait: pip install scikit-image")
    keeper = ears.keeper(clips)
    keeper.start(lambda *_: None)
    waited(lambda: clips.loads > 2)
    keeper.close()
    why = "no portrait: pip install scikit-image (canary.enabled: off does without)"
    assert ears.conditions == [(False, "the canary has not answered yet"), (False, why)]
    assert ears.shown == [(False, {})]


def test_clips_that_can_be_made_later_are_sung_then() -> None:
    ears, clips = Ears(), Clips("too slow", fails=2)
    played(ears, ears.keeper(clips), [RIGHT], lambda: len(ears.records) == 1)
    assert [is_met for is_met, _ in ears.conditions] == [False, False, True]
    assert ears.shown[-1][0]


def test_closing_does_not_wait_for_clips() -> None:
    ears = Ears()
    keeper = ears.keeper(Clips("never"), again_s=1e6)
    keeper.start(lambda *_: None)
    waited(lambda: len(ears.shown) == 1)
    keeper.close()
    assert ears.asked == []


def test_closing_does_not_wait_for_an_answer() -> None:
    ears, clips = Ears(), Clips()
    keeper, asked = ears.keeper(clips), threading.Event()
    keeper.start(lambda *_: asked.set())
    assert asked.wait(WITHIN_S)
    keeper.close()
    keeper.close()
    assert clips.is_cancelled
    assert ears.records == []


def test_the_names_of_metrics_and_clips_agree() -> None:
    from stream.metrics import CANARY_CLIPS

    assert tuple(LABELS) == CANARY_CLIPS
