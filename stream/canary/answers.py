"""What the clips must be called, and whether an answer is right. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.spec import ModelSpec
from stream.canary.clips import GENUINE, LABELS, SWAPPED, CanaryClip
from stream.scoring.story import TrackSummary

TOLERANCE = 0.15
"""How far a probability may lie from the recorded one: other runtimes, precisions and detectors stay well within."""

Weights = tuple[str, str]
"""SHA-256 of backbone.onnx and head.onnx."""

RECORDED: Mapping[Weights, Mapping[str, float]] = {
    (
        "05e9663e8ca474e35ca371bb756d125f738a6a10a37ac89fe3f6d5dbcd5fc39a",
        "2f9941ce313921a89f9da7be54e9f862a532bf2d7844caa972e0de1bc4c2c1cf",
    ): {GENUINE: 0.24, SWAPPED: 0.95},
}
"""Weights -> clip -> the fake probability they give it in fp32 on a CPU, measured by tests/stream/canary.

By weights, not by name: a model trained elsewhere may rightly call these clips otherwise.
"""


@dataclass(frozen=True)
class Answer:
    """What the engines said of one clip."""

    clip: str
    verdict: str | None
    """By the model's own limits; None when no window was scored."""
    fake_probability: float | None
    problem: str = ""
    """In one line; empty when the answer is right."""


@dataclass(frozen=True)
class Result:
    """One pass of both clips."""

    number: int
    why: str
    """What it was run for: ``start``, ``time``, ``runtime changed``, ``again``."""
    answers: tuple[Answer, ...]
    backend: str = ""
    failure: str = ""
    """Why there are no answers; empty when there are."""

    @property
    def problem(self) -> str:
        return self.failure or next((answer.problem for answer in self.answers if answer.problem), "")

    @property
    def is_right(self) -> bool:
        return not self.problem

    @property
    def probabilities(self) -> dict[str, float]:
        known = {answer.clip: answer.fake_probability for answer in self.answers}
        return {clip: probability for clip, probability in known.items() if probability is not None}


def recorded_for(spec: ModelSpec) -> Mapping[str, float] | None:
    """What exactly these weights are known to say; None when nobody has recorded it."""
    return RECORDED.get((spec.files.get("backbone.onnx", ""), spec.files.get("head.onnx", "")))


def answer_of(clip: CanaryClip, tracks: Sequence[TrackSummary], expected: Mapping[str, float] | None) -> Answer:
    """The judgement of the face that was scored most; a clip holds one person."""
    track = max(tracks, key=lambda track: track.windows, default=None)
    if track is None or track.fake_probability is None:
        return Answer(clip.name, None, None, f"no face of the {clip.name} clip was scored")
    wanted = (expected or {}).get(clip.name)
    problem = _problem(clip, track.verdict.value, track.fake_probability, wanted)
    return Answer(clip.name, track.verdict.value, round(track.fake_probability, 4), problem)


def _problem(clip: CanaryClip, verdict: str, probability: float, wanted: float | None) -> str:
    said = f"the {clip.name} clip is called {verdict} ({probability:.2f} fake)"
    if verdict != LABELS[clip.name]:
        return f"{said}, not {LABELS[clip.name]}"
    if wanted is not None and abs(probability - wanted) > TOLERANCE:
        return f"{said}, far from the recorded {wanted:.2f}"
    return ""
