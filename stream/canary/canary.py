"""The clips through the live engines, a picture at a time, between two rounds of the analysis thread.

It has an analysis of its own over the same detector, backbone and head, so that no stream, board, sink or metric sees
its frames. It takes at most a fifth of the thread's time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engines.errors import InferenceError
from stream.canary.answers import Answer, Result, answer_of
from stream.canary.clips import STREAM, CanaryClip
from stream.faces.quality import QualityLimits
from stream.faces.tracker import open_tracker
from stream.observers import SilentObserver, StreamFacts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.ports import Clock, FaceDetector
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook

REST = 4
"""Rests for so many times as long as a picture took."""
LOST_AFTER_S = 1.0


@dataclass
class _Pass:
    number: int
    why: str
    clips: Sequence[CanaryClip]
    answers: list[Answer] = field(default_factory=list)
    analysis: StreamAnalysis | None = None
    index: int = 0


class Canary:
    """``ask`` from any thread; ``step`` belongs to the thread that owns the engines."""

    def __init__(
        self,
        detector: FaceDetector,
        scorer: ModelScorer,
        expected: Mapping[str, float] | None,
        on_done: Callable[[Result], None],
        *,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        """``expected``: recorded probabilities; None judges by verdict alone. ``on_done`` must return at once."""
        self._scorer, self._expected, self._on_done = scorer, expected, on_done
        self._clock = clock
        self._period_s = scorer.spec.window.period_s
        self._analyzer = Analyzer(
            detector,
            scorer,
            SilentObserver(),
            StreamFacts(),
            detect_period_s=self._period_s,
            quality=QualityLimits(),
            clock=clock,
        )
        self._asked: deque[_Pass] = deque(maxlen=1)
        self._pass: _Pass | None = None
        self._next_ns = 0

    def ask(self, number: int, why: str, clips: Sequence[CanaryClip]) -> None:
        """Begin a pass as soon as may be; one that runs is given up for it."""
        self._asked.append(_Pass(number, why, clips))

    def step(self) -> None:
        """Analyse one picture, if it is time for one."""
        if self._asked:
            self._pass = self._asked.popleft()
        if self._pass is None or (began := self._clock()) < self._next_ns:
            return
        try:
            self._look(self._pass)
        except InferenceError as error:
            self._finish(self._pass, failure=f"the model failed: {error}")
        now = self._clock()
        self._next_ns = now + REST * (now - began)

    def _look(self, current: _Pass) -> None:
        clip = current.clips[len(current.answers)]
        if current.analysis is None:
            current.analysis, current.index = self._fresh(), 0
        with clip.frame(current.index, self._period_s) as frame:
            self._analyzer.step([(current.analysis, frame)])
        current.index += 1
        if current.index == len(clip.jpegs):
            self._end_clip(current, clip, current.analysis)

    def _end_clip(self, current: _Pass, clip: CanaryClip, analysis: StreamAnalysis) -> None:
        current.answers.append(answer_of(clip, analysis.book.summaries(), self._expected))
        current.analysis = None
        if len(current.answers) == len(current.clips):
            self._finish(current)

    def _fresh(self) -> StreamAnalysis:
        """By the model's own limits: a configuration that moves them is no fault of the engines."""
        self._analyzer.scheduler.leave(STREAM)
        return StreamAnalysis(STREAM, open_tracker(lost_after_s=LOST_AFTER_S), TrackBook(self._scorer.spec))

    def _finish(self, current: _Pass, *, failure: str = "") -> None:
        self._pass = None
        answers = tuple(current.answers)
        self._on_done(Result(current.number, current.why, answers, self._scorer.backend_name, failure))
