"""Which slots are sampled: uniform in time whatever is left out, and never fewer than a score needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.spec import WindowSpec
from stream.scheduling.plan import CalmPolicy, StreamPlan, longest_stride
from stream.scheduling.sampling import FaceSampler, SkipReason, Stride
from stream.types import FaceScore, QualityReason, TrackId, Verdict

SECOND = 1_000_000_000
PERIOD = SECOND // 5
ANNA, BERT, CARL = TrackId(1), TrackId(2), TrackId(3)
WINDOW = WindowSpec(slots=20, period_s=0.2, min_samples=5, feature_dim=4)
CALM = CalmPolicy(every=3, after_s=3.0, below=0.2, rise=0.03)
FULL = (True,) * 20


def score(
    probability: float | None = 0.05,
    verdict: Verdict = Verdict.REAL,
    *,
    track_id: TrackId = ANNA,
    reason: QualityReason | None = None,
    slots: tuple[bool, ...] = FULL,
) -> FaceScore:
    return FaceScore(track_id, (0, 0, 9, 9), verdict, probability, reason, slots=slots)


def calm_for(seconds: float, sampler: FaceSampler | None = None) -> FaceSampler:
    """A sampler that has seen Anna real without a doubt."""
    sampler = sampler or FaceSampler(StreamPlan(is_live=True), WINDOW, CALM)
    for step in range(round(seconds * 10) + 1):
        sampler.learn([score()], step * SECOND // 10)
    return sampler


@pytest.mark.parametrize(
    ("slots", "min_samples", "longest"), [(20, 5, 3), (20, 1, 10), (20, 20, 1), (20, 12, 1), (30, 5, 5), (1, 1, 1)]
)
def test_the_sparsest_window_can_lose_a_sample_and_still_be_scored(slots: int, min_samples: int, longest: int) -> None:
    assert longest_stride(WindowSpec(slots=slots, min_samples=min_samples, feature_dim=1)) == longest
    assert longest == 1 or slots // longest - 1 >= min_samples


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (None, None),
        (-7, None),
        (1, SkipReason.CONFIGURED),
        (2, SkipReason.OVERLOAD),
        (3, SkipReason.CALM),
        (4, None),
        (19, None),
    ],
)
def test_a_slot_left_empty_says_who_wanted_that(steps: int | None, reason: SkipReason | None) -> None:
    assert Stride(configured=2, overload=3, calm=4).skips(steps) is reason


@given(every=st.integers(1, 9), overload=st.integers(1, 9), calm=st.integers(1, 9))
def test_no_mixture_of_wishes_makes_windows_too_sparse(every: int, overload: int, calm: int) -> None:
    sampler = FaceSampler(StreamPlan(is_live=True, sample_every=every), WINDOW, CalmPolicy(calm))
    stride = calm_for(5, sampler).stride(ANNA, 5 * SECOND, overload)
    assert stride.configured <= stride.overload <= stride.calm <= longest_stride(WINDOW)


def test_a_calm_face_is_sampled_slowly_once_it_has_been_calm_for_long() -> None:
    assert calm_for(2.9).stride(ANNA, round(2.9 * SECOND)).calm == 1
    assert calm_for(3.0).stride(ANNA, 3 * SECOND).calm == 3


NEWS = {
    "a rise": score(0.09),
    "a doubt": score(0.25),
    "unsure": score(0.4, Verdict.UNSURE),
    "fake": score(0.9, Verdict.FAKE),
    "a poor picture": score(0.05, Verdict.UNSURE, reason=QualityReason.BLURRED),
    "warming up": score(None, Verdict.WARMING_UP),
    "a window with holes": score(slots=(True,) * 4 + (False,) * 16),
}


@pytest.mark.parametrize("news", NEWS.values(), ids=NEWS.keys())
def test_any_news_brings_the_full_rate_back_at_once(news: FaceScore) -> None:
    sampler = calm_for(5)
    sampler.learn([news], 5 * SECOND)
    assert sampler.stride(ANNA, 5 * SECOND) == Stride(1, 1, 1)


def test_a_face_that_went_away_comes_back_at_the_full_rate() -> None:
    sampler = calm_for(5)
    sampler.learn([], 5 * SECOND)
    sampler.learn([score()], 6 * SECOND)
    assert sampler.stride(ANNA, 6 * SECOND).calm == 1


def test_a_new_segment_and_a_new_face_begin_at_the_full_rate() -> None:
    sampler = calm_for(5)
    assert sampler.stride(BERT, 5 * SECOND).calm == 1
    sampler.begin_segment()
    assert sampler.stride(ANNA, 5 * SECOND).calm == 1


def test_the_face_that_waited_longest_goes_first_and_a_suspicious_one_waits_half() -> None:
    sampler = FaceSampler(StreamPlan(is_live=True), WINDOW)
    sampler.learn([score(), score(0.9, Verdict.FAKE, track_id=BERT)], 0)
    sampler.tried(ANNA, 1 * SECOND)
    sampler.tried(BERT, 2 * SECOND)
    assert sampler.in_order([ANNA, BERT, CARL], round(2.5 * SECOND)) == (CARL, ANNA, BERT)
    assert sampler.in_order([ANNA, BERT, CARL], round(3.5 * SECOND)) == (CARL, BERT, ANNA)


def test_a_face_whose_pictures_are_always_poor_does_not_stand_in_the_way() -> None:
    """It was tried: the others of a full step go before it is tried again."""
    sampler, served = FaceSampler(StreamPlan(is_live=True), WINDOW), []
    for step in range(6):
        first = sampler.in_order([ANNA, BERT, CARL], step * PERIOD)[0]
        sampler.tried(first, step * PERIOD)
        served.append(first)
    assert served == [ANNA, BERT, CARL] * 2


def test_an_empty_slot_is_told_once_when_it_is_over() -> None:
    sampler = FaceSampler(StreamPlan(is_live=True), WINDOW)
    assert sampler.looked(ANNA, 1, SkipReason.CALM) is None
    assert sampler.looked(ANNA, 1, SkipReason.CALM) is None
    assert sampler.looked(ANNA, 2, None) is SkipReason.CALM
    assert sampler.looked(ANNA, 3, None) is None


def test_a_face_left_out_of_a_step_and_taken_later_in_its_slot_is_no_skip() -> None:
    sampler = FaceSampler(StreamPlan(is_live=True), WINDOW)
    sampler.looked(ANNA, 1, None)
    sampler.left_out(ANNA)
    sampler.looked(ANNA, 1, None)
    assert sampler.looked(ANNA, 2, None) is None
    sampler.left_out(ANNA)
    assert sampler.looked(ANNA, 3, None) is SkipReason.BATCH
