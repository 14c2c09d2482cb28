"""Did the demo's scores come out as its clip is? Pure: takes what scores.jsonl says, and the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from stream.demo.clip import Part, Truth
from stream.errors import OutputError

SETTLED_S = 10.0
"""A part's probability is the mean over this long at its end, when its windows hold nothing of the part before."""
EDGE_S = 0.5
"""Left out at a part's end: the camera's clock and the clip's differ by the time a picture travels."""


@dataclass(frozen=True)
class ScoreLine:
    """One scored window, from one line of scores.jsonl."""

    pts_s: float
    verdict: str
    fake_probability: float | None
    area: float
    """Of the face's box, in pixels."""


@dataclass(frozen=True)
class PartResult:
    """What the model said of one part."""

    part: Part
    verdict: str | None
    """The last one; None when no face was scored."""
    fake_probability: float | None
    """Mean over the settled end."""
    windows: int

    @property
    def is_right(self) -> bool:
        return self.verdict == self.part.label

    @property
    def complaint(self) -> str:
        """Why it is not right, in one line."""
        if self.verdict is None:
            return f"the {self.part.name} part was not scored at all: look at the video, and at unmask doctor"
        likely = "" if self.fake_probability is None else f" (fake probability {self.fake_probability:.2f})"
        return f"the {self.part.name} part ended {self.verdict}{likely}, not {self.part.label}"


def judge(lines: Sequence[ScoreLine], truth: Truth) -> tuple[PartResult, ...]:
    """One result per part, from the clip's first pass."""
    seen = first_pass(lines)
    return tuple(_judge_part(part, seen) for part in truth.parts)


def read_lines(path: Path) -> list[ScoreLine]:
    """Raises OutputError when the file is not there or not what ``--scores`` writes."""
    try:
        return [_line_of(text) for text in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise OutputError(f"no scores were written to {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} does not hold scores: remove it and run the demo again") from error


def first_pass(lines: Sequence[ScoreLine]) -> list[ScoreLine]:
    """The lines up to where media time falls back: the camera was lost and its clip began anew."""
    for index in range(1, len(lines)):
        if lines[index].pts_s < lines[index - 1].pts_s - 1.0:
            return list(lines[:index])
    return list(lines)


def _judge_part(part: Part, lines: Sequence[ScoreLine]) -> PartResult:
    inside = _largest_faces([line for line in lines if part.start_s <= line.pts_s < part.end_s - EDGE_S])
    if not inside:
        return PartResult(part, None, None, 0)
    settled = [line.fake_probability for line in inside if line.pts_s >= part.end_s - SETTLED_S]
    known = [probability for probability in settled if probability is not None]
    return PartResult(part, inside[-1].verdict, fmean(known) if known else None, len(inside))


def _largest_faces(lines: Sequence[ScoreLine]) -> list[ScoreLine]:
    """One line for each moment, in order of time: the clip has one person, and she is the largest face."""
    largest: dict[float, ScoreLine] = {}
    for line in lines:
        if line.pts_s not in largest or line.area > largest[line.pts_s].area:
            largest[line.pts_s] = line
    return [largest[pts_s] for pts_s in sorted(largest)]


def _line_of(text: str) -> ScoreLine:
    fields = json.loads(text)
    left, top, right, bottom = fields["box"]
    return ScoreLine(
        float(fields["pts_s"]), str(fields["verdict"]), fields["fake_probability"], (right - left) * (bottom - top)
    )
