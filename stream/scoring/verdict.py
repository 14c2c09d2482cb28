"""What we say of a face, step by step: a pure function from the state before to the state after.

Numbers come rarely and jitter; a verdict must not. The calibrated probability is smoothed as a logit over media time,
turned into a label with a margin that holds the label in place, and a label changes only after the other one has been
right for ``hold_s``. A face whose picture is too poor says so instead of guessing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.spec import ModelSpec
from stream.scoring.smoothing import logit_from_probability, probability_from_logit, smoothed
from stream.types import QualityReason, Verdict


@dataclass(frozen=True)
class VerdictPolicy:
    """The limits of a verdict. Raises ValueError when they contradict each other."""

    fake_at: float = 0.65
    """Smoothed probability from which a face is fake."""
    real_at: float = 0.35
    """Smoothed probability up to which a face is real; between the two it is unsure."""
    margin: float = 0.05
    """How far the probability may slip back over a threshold before the label is in question."""
    hold_s: float = 0.6
    """How long another label must be right before it is shown."""
    smoothing_s: float = 1.0
    """Time constant of the logit's smoothing."""
    grace_s: float = 0.8
    """How long a face may fail the quality gate before it is shown as unsure."""
    forget_s: float = 4.0
    """After this long without a new score the past says nothing any more: the face warms up again."""

    def __post_init__(self) -> None:
        if not 0 <= self.real_at <= self.fake_at <= 1:
            raise ValueError(f"real_at {self.real_at} must not lie above fake_at {self.fake_at}, both within 0-1")
        if min(self.margin, self.hold_s, self.smoothing_s, self.grace_s) < 0 or self.forget_s <= 0:
            raise ValueError("margin, hold_s, smoothing_s and grace_s must not be negative, forget_s must be positive")


@dataclass(frozen=True)
class VerdictState:
    """All that is remembered of one face's verdict."""

    verdict: Verdict = Verdict.WARMING_UP
    """What to show now."""
    reason: QualityReason | None = None
    """Why the verdict is unsure, when the picture and not the probability is the cause."""
    logit: float | None = None
    """Smoothed; None while there is no score to go by."""
    scored_ns: int | None = None
    """Media time of the newest score."""
    label: Verdict | None = None
    """What the scores say, held in place; None before the first one."""
    left_ns: int | None = None
    """Since when the label has not been supported."""
    rival: Verdict | None = None
    """The label that is right now while another one is held."""
    rival_ns: int = 0
    """Since when."""
    poor: QualityReason | None = None
    """Why the newest picture was too poor; None when it was good."""
    poor_ns: int = 0
    """Since when pictures have been too poor."""

    @property
    def fake_probability(self) -> float | None:
        """Smoothed and calibrated, 1 = fake."""
        return None if self.logit is None else probability_from_logit(self.logit)


def policy_of(spec: ModelSpec) -> VerdictPolicy:
    """The model's own thresholds; scores are forgotten after the length of its window."""
    window = spec.window
    return VerdictPolicy(
        fake_at=spec.verdict.fake_at, real_at=spec.verdict.real_at, forget_s=window.slots * window.period_s
    )


def next_verdict(
    state: VerdictState,
    probability: float | None,
    reason: QualityReason | None,
    pts_ns: int,
    policy: VerdictPolicy,
) -> VerdictState:
    """The state at ``pts_ns``.

    ``probability`` is the calibrated fake probability of a window scored now, or None when none was; ``reason`` says
    why the face's newest picture is too poor to be judged, or None.
    """
    state = _forgetful(state, pts_ns, policy)
    state = _with_quality(state, reason, pts_ns)
    if probability is not None:
        state = _with_score(state, probability, pts_ns, policy)
    return _shown(state, pts_ns, policy)


def threshold_label(probability: float, policy: VerdictPolicy) -> Verdict:
    """What a probability says on its own."""
    if probability >= policy.fake_at:
        return Verdict.FAKE
    return Verdict.REAL if probability <= policy.real_at else Verdict.UNSURE


def _forgetful(state: VerdictState, pts_ns: int, policy: VerdictPolicy) -> VerdictState:
    if state.scored_ns is None or abs(_seconds(state.scored_ns, pts_ns)) <= policy.forget_s:
        return state
    return _without_evidence(state)


def _without_evidence(state: VerdictState) -> VerdictState:
    return VerdictState(poor=state.poor, poor_ns=state.poor_ns)


def _with_quality(state: VerdictState, reason: QualityReason | None, pts_ns: int) -> VerdictState:
    if reason is None or state.poor is None:
        return replace(state, poor=reason, poor_ns=pts_ns)
    return replace(state, poor=reason)


def _with_score(state: VerdictState, probability: float, pts_ns: int, policy: VerdictPolicy) -> VerdictState:
    logit = logit_from_probability(probability)
    if state.logit is not None and state.scored_ns is not None:
        logit = smoothed(state.logit, logit, _seconds(state.scored_ns, pts_ns), policy.smoothing_s)
    state = replace(state, logit=logit, scored_ns=pts_ns)
    return _with_label(state, _candidate(state.label, probability_from_logit(logit), policy), pts_ns, policy)


def _candidate(label: Verdict | None, probability: float, policy: VerdictPolicy) -> Verdict:
    """The label that is right now; the one that is held has slack."""
    if label is Verdict.FAKE and probability >= policy.fake_at - policy.margin:
        return Verdict.FAKE
    if label is Verdict.REAL and probability <= policy.real_at + policy.margin:
        return Verdict.REAL
    return threshold_label(probability, policy)


def _with_label(state: VerdictState, candidate: Verdict, pts_ns: int, policy: VerdictPolicy) -> VerdictState:
    """Hold the label, or let it go: to a rival that was right for ``hold_s``, or to unsure when rivals only flicker."""
    if state.label is None or candidate is state.label:
        return replace(state, label=candidate, left_ns=None, rival=None)
    left_ns = pts_ns if state.left_ns is None else state.left_ns
    rival_ns = state.rival_ns if candidate is state.rival else pts_ns
    if _seconds(rival_ns, pts_ns) >= policy.hold_s:
        return replace(state, label=candidate, left_ns=None, rival=None)
    if _seconds(left_ns, pts_ns) >= policy.hold_s:
        return replace(state, label=Verdict.UNSURE, left_ns=None, rival=candidate, rival_ns=rival_ns)
    return replace(state, left_ns=left_ns, rival=candidate, rival_ns=rival_ns)


def _shown(state: VerdictState, pts_ns: int, policy: VerdictPolicy) -> VerdictState:
    """Put the verdict into words. A face poor for longer than the grace keeps no evidence from before."""
    if state.poor is not None and _seconds(state.poor_ns, pts_ns) >= policy.grace_s:
        return replace(_without_evidence(state), verdict=Verdict.UNSURE, reason=state.poor)
    return replace(state, verdict=state.label or Verdict.WARMING_UP, reason=None)


def _seconds(from_ns: int, to_ns: int) -> float:
    return (to_ns - from_ns) / 1e9
