"""Verdicts in seconds: slack, hold, smoothing, grace."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.spec import Calibration, ModelSpec, PixelSpec, VerdictLimits, WindowSpec
from stream.scoring.verdict import VerdictPolicy, VerdictState, next_verdict, policy_of, threshold_label
from stream.types import QualityReason, Verdict

SECOND_NS = 1_000_000_000
POLICY = VerdictPolicy(fake_at=0.7, real_at=0.3, margin=0.1, hold_s=1.0, smoothing_s=0.0, grace_s=1.0, forget_s=4.0)
SMOOTH = replace(POLICY, smoothing_s=1.0)
Step = tuple[float, float | None, QualityReason | None]


def run(steps: list[Step], policy: VerdictPolicy = POLICY) -> list[VerdictState]:
    """The states after each (seconds, probability, reason)."""
    state, states = VerdictState(), []
    for seconds, probability, reason in steps:
        state = next_verdict(state, probability, reason, round(seconds * SECOND_NS), policy)
        states.append(state)
    return states


def scored(*pairs: tuple[float, float]) -> list[Step]:
    return [(seconds, probability, None) for seconds, probability in pairs]


def held(probability: float, first_s: float, last_s: float, step_s: float = 0.2) -> list[Step]:
    count = round((last_s - first_s) / step_s) + 1
    return [(first_s + index * step_s, probability, None) for index in range(count)]


def test_a_face_warms_up_until_it_is_scored() -> None:
    states = run([(0.0, None, None), (0.5, None, None)])
    assert [state.verdict for state in states] == [Verdict.WARMING_UP] * 2
    assert states[-1].fake_probability is None


@pytest.mark.parametrize(
    ("probability", "verdict"), [(0.05, Verdict.REAL), (0.5, Verdict.UNSURE), (0.95, Verdict.FAKE)]
)
def test_the_first_verdict_comes_at_once(probability: float, verdict: Verdict) -> None:
    (state,) = run(scored((1.0, probability)))
    assert state.verdict is verdict
    assert state.fake_probability == pytest.approx(probability)


@pytest.mark.parametrize(("label", "slack", "beyond"), [(0.9, 0.62, 0.58), (0.1, 0.38, 0.42)])
def test_a_held_label_has_slack(label: float, slack: float, beyond: float) -> None:
    first = run(scored((0.0, label)))[0].verdict
    assert run([*scored((0.0, label)), *held(slack, 0.2, 10)])[-1].verdict is first
    assert run([*scored((0.0, label)), *held(beyond, 0.2, 10)])[-1].verdict is Verdict.UNSURE


def test_a_label_without_a_hold_has_no_slack() -> None:
    assert run(scored((0.0, 0.5), (0.2, 0.62)))[-1].verdict is Verdict.UNSURE


def test_another_label_must_be_right_for_the_hold_time() -> None:
    states = run([*scored((0.0, 0.1)), *held(0.9, 0.2, 1.4)])
    verdicts = [state.verdict for state in states]
    assert verdicts == [Verdict.REAL] * 6 + [Verdict.FAKE] * 2


def test_a_short_outlier_does_not_change_the_verdict() -> None:
    states = run([*held(0.1, 0.0, 1.0), *held(0.95, 1.2, 1.8), *held(0.1, 2.0, 5.0)])
    assert {state.verdict for state in states} == {Verdict.REAL}


def test_outliers_do_not_add_up() -> None:
    steps = [(index * 0.2, 0.9 if index % 4 == 3 else 0.1, None) for index in range(100)]
    assert {state.verdict for state in run(steps)} == {Verdict.REAL}


def test_scores_that_flicker_around_a_lost_label_are_unsure_and_nothing_else() -> None:
    flicker = [(0.2 + index * 0.2, 0.9 if index % 2 else 0.5, None) for index in range(40)]
    verdicts = [state.verdict for state in run([*scored((0.0, 0.1)), *flicker])]
    assert verdicts[-1] is Verdict.UNSURE
    assert Verdict.FAKE not in verdicts


def test_a_rival_that_stays_wins_after_the_flicker() -> None:
    steps = [*scored((0.0, 0.1), (0.5, 0.5), (0.9, 0.9)), *held(0.9, 1.1, 1.9)]
    verdicts = [state.verdict for state in run(steps)]
    assert verdicts == [Verdict.REAL] * 5 + [Verdict.UNSURE] * 2 + [Verdict.FAKE]


@given(
    probability=st.floats(0, 1),
    before=st.floats(0, 1),
    times=st.lists(st.floats(0.01, 2.9), max_size=20),
)
def test_the_smoothed_probability_does_not_depend_on_how_often_it_is_asked(
    probability: float, before: float, times: list[float]
) -> None:
    first = [(0.0, before, None)]
    often = [(seconds, probability, None) for seconds in sorted(times)]
    once = run([*first, (3.0, probability, None)], SMOOTH)[-1]
    many = run([*first, *often, (3.0, probability, None)], SMOOTH)[-1]
    assert many.fake_probability == pytest.approx(once.fake_probability, abs=1e-9)


@given(times=st.lists(st.floats(0, 3), max_size=30))
def test_asking_without_a_new_score_changes_nothing(times: list[float]) -> None:
    quiet = [(seconds, None, None) for seconds in sorted(times)]
    states = run([*scored((0.0, 0.9)), *quiet])
    assert {(state.verdict, state.logit, state.scored_ns) for state in states} == {
        (Verdict.FAKE, states[0].logit, 0),
    }


def test_a_poor_picture_is_forgiven_for_the_grace_time() -> None:
    blurred = QualityReason.BLURRED
    states = run([(0.0, 0.1, None), (0.2, None, blurred), (1.0, None, blurred), (1.4, None, blurred)])
    assert [state.verdict for state in states] == [Verdict.REAL] * 3 + [Verdict.UNSURE]
    assert [state.reason for state in states] == [None] * 3 + [blurred]


def test_a_poor_picture_never_keeps_a_number() -> None:
    small = QualityReason.TOO_SMALL
    state = run([(0.0, 0.99, None), (0.2, None, small), (1.4, None, small)])[-1]
    assert (state.verdict, state.fake_probability) == (Verdict.UNSURE, None)


def test_a_face_recovers_when_its_picture_is_good_again() -> None:
    dark = QualityReason.DARK
    states = run([(0.0, 0.99, None), (0.2, None, dark), (1.4, None, dark), (1.6, None, None), (1.8, 0.02, None)])
    assert [state.verdict for state in states[-3:]] == [Verdict.UNSURE, Verdict.WARMING_UP, Verdict.REAL]
    assert states[-1].reason is None


def test_a_good_picture_restarts_the_grace_time() -> None:
    blurred = QualityReason.BLURRED
    steps: list[Step] = [(0.0, 0.1, None)]
    for index in range(1, 20):
        steps.append((index * 0.2, None if index % 2 else 0.1, blurred if index % 2 else None))
    assert {state.verdict for state in run(steps)} == {Verdict.REAL}


def test_a_face_that_was_never_good_says_why() -> None:
    small, dark = QualityReason.TOO_SMALL, QualityReason.DARK
    states = run([(0.0, None, small), (0.9, None, small), (1.0, None, small), (1.2, None, dark)])
    assert [state.verdict for state in states] == [Verdict.WARMING_UP] * 2 + [Verdict.UNSURE] * 2
    assert [state.reason for state in states[2:]] == [small, dark]


def test_a_score_is_forgotten_when_nothing_follows() -> None:
    states = run([(0.0, 0.9, None), (4.0, None, None), (4.1, None, None)])
    assert [state.verdict for state in states] == [Verdict.FAKE, Verdict.FAKE, Verdict.WARMING_UP]
    assert states[-1].fake_probability is None


def test_one_saturated_window_does_not_outweigh_what_follows() -> None:
    states = run([*scored((0.0, 1.0)), *held(0.0, 0.2, 3.0)], SMOOTH)
    assert states[-1].verdict is Verdict.REAL


@given(
    probabilities=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    step_s=st.floats(0.05, 0.5),
)
def test_every_score_of_the_hold_time_supports_a_new_confident_verdict(
    probabilities: list[float], step_s: float
) -> None:
    states = run([(index * step_s, value, None) for index, value in enumerate(probabilities)])
    for index in range(1, len(states)):
        verdict = states[index].verdict
        if verdict is states[index - 1].verdict or verdict is Verdict.UNSURE:
            continue
        recent = [value for past, value in enumerate(probabilities[: index + 1]) if (index - past) * step_s <= 1.0]
        assert {threshold_label(value, POLICY) for value in recent} == {verdict}


@given(
    probabilities=st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=60),
    reasons=st.lists(st.sampled_from([None, *QualityReason]), min_size=60, max_size=60),
)
def test_a_confident_verdict_always_has_a_number_and_a_reason_always_means_unsure(
    probabilities: list[float | None], reasons: list[QualityReason | None]
) -> None:
    steps = [
        (index * 0.2, value, reasons[index] if value is None else None) for index, value in enumerate(probabilities)
    ]
    for state in run(steps, SMOOTH):
        if state.verdict in (Verdict.REAL, Verdict.FAKE):
            assert state.fake_probability is not None
            assert state.reason is None
        if state.reason is not None:
            assert state.verdict is Verdict.UNSURE


def test_a_probability_on_a_threshold_counts_as_past_it() -> None:
    assert threshold_label(0.7, POLICY) is Verdict.FAKE
    assert threshold_label(0.3, POLICY) is Verdict.REAL
    assert threshold_label(0.5, POLICY) is Verdict.UNSURE


@pytest.mark.parametrize(
    "wrong",
    [
        {"fake_at": 0.2, "real_at": 0.3},
        {"fake_at": 1.2},
        {"real_at": -0.1},
        {"hold_s": -1.0},
        {"margin": -0.1},
        {"forget_s": 0.0},
    ],
)
def test_limits_that_contradict_each_other_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        VerdictPolicy(**wrong)


def test_the_model_s_thresholds_and_window_length_become_the_policy() -> None:
    spec = ModelSpec(
        name="tiny",
        pixels=PixelSpec(size=8, mean=(0, 0, 0), std=(1, 1, 1)),
        window=WindowSpec(slots=10, period_s=0.3, feature_dim=4),
        calibration=Calibration(temperature=1),
        frame_calibration=Calibration(temperature=1),
        verdict=VerdictLimits(fake_at=0.8, real_at=0.2),
        files={},
    )
    policy = policy_of(spec)
    assert (policy.fake_at, policy.real_at, policy.forget_s) == (0.8, 0.2, pytest.approx(3.0))
