"""A stream's faces over time, driven as the pipeline drives them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.spec import Calibration, ModelSpec, PixelSpec, WindowSpec
from stream.scoring.timeline import Timeline
from stream.scoring.track_book import TrackBook
from stream.types import FaceBox, FaceScore, QualityReason, TrackedFace, TrackId, Verdict

SECOND_NS = 1_000_000_000
FRAME_NS = SECOND_NS // 10
DIM = 3
ANNA, BERT = TrackId(1), TrackId(2)
SPEC = ModelSpec(
    name="tiny",
    pixels=PixelSpec(size=8, mean=(0, 0, 0), std=(1, 1, 1)),
    window=WindowSpec(slots=20, period_s=0.2, min_samples=5, feature_dim=DIM),
    calibration=Calibration(temperature=1.0),
    frame_calibration=Calibration(temperature=1.0),
    files={},
)


def face(track_id: TrackId) -> TrackedFace:
    return TrackedFace(track_id, FaceBox((10.0 * track_id, 0, 10.0 * track_id + 8, 8), 0.9), detected=True)


class Drive:
    """Steps a book at ten frames a second; a face's logit is what ``logits`` says."""

    def __init__(self, book: TrackBook | None = None) -> None:
        self.book = book or TrackBook(SPEC)
        self.pts_ns = 0
        self.samples: list[tuple[TrackId, int]] = []

    def step(
        self, logits: dict[TrackId, float], poor: dict[TrackId, QualityReason] | None = None
    ) -> tuple[FaceScore, ...]:
        poor = poor or {}
        for track_id in self.book.due(list(logits), self.pts_ns):
            if track_id not in poor:
                self.book.remember(track_id, self.pts_ns, np.full(DIM, track_id, np.float32))
                self.samples.append((track_id, self.pts_ns))
        ids, _, _ = self.book.windows_to_score()
        self.book.set_scores(ids, np.array([logits.get(track_id, 0.0) for track_id in ids]), self.pts_ns)
        scores = self.book.face_scores([face(track_id) for track_id in logits], poor, self.pts_ns)
        self.pts_ns += FRAME_NS
        return scores

    def run(
        self, seconds: float, logits: dict[TrackId, float], poor: dict[TrackId, QualityReason] | None = None
    ) -> tuple[FaceScore, ...]:
        scores: tuple[FaceScore, ...] = ()
        for _ in range(round(seconds * 10)):
            scores = self.step(logits, poor)
        return scores


def test_a_face_is_sampled_once_a_period() -> None:
    drive = Drive()
    drive.run(4, {ANNA: 3.0})
    assert [pts_ns for _, pts_ns in drive.samples] == [index * 2 * FRAME_NS for index in range(20)]


def test_a_face_warms_up_and_then_gets_its_verdict() -> None:
    drive = Drive()
    (warming,) = drive.run(0.8, {ANNA: 3.0})
    (scored,) = drive.run(0.1, {ANNA: 3.0})
    assert (warming.verdict, warming.fake_probability) == (Verdict.WARMING_UP, None)
    assert warming.slots == (False,) * 16 + (True,) * 4
    assert scored.verdict is Verdict.FAKE
    assert scored.fake_probability == pytest.approx(0.9526, abs=1e-3)
    assert scored.scored_pts_ns == 8 * FRAME_NS
    assert scored.xyxy == (10, 0, 18, 8)


def test_faces_keep_to_themselves() -> None:
    anna, bert = Drive().run(3, {ANNA: 4.0, BERT: -4.0})
    assert (anna.track_id, anna.verdict) == (ANNA, Verdict.FAKE)
    assert (bert.track_id, bert.verdict) == (BERT, Verdict.REAL)


def test_windows_of_several_faces_form_one_batch() -> None:
    book = TrackBook(SPEC)
    for index in range(5):
        for track_id in book.due([ANNA, BERT], index * 2 * FRAME_NS):
            book.remember(track_id, index * 2 * FRAME_NS, np.full(DIM, track_id, np.float32))
    ids, features, mask = book.windows_to_score()
    assert ids == (ANNA, BERT)
    assert features.shape == (2, 20, DIM)
    assert mask.tolist() == [[0.0] * 15 + [1.0] * 5] * 2
    assert features[:, -1, 0].tolist() == [1.0, 2.0]
    assert (features.dtype, mask.dtype) == (np.float32, np.float32)


def test_a_window_is_scored_once_for_each_new_sample() -> None:
    drive = Drive()
    drive.run(0.9, {ANNA: 1.0})
    assert drive.book.windows_to_score()[0] == ()
    drive.run(0.2, {ANNA: 1.0})
    assert drive.book.summaries()[0].windows == 2


def test_a_failed_inference_loses_no_window() -> None:
    drive = Drive()
    drive.run(0.8, {ANNA: 1.0})
    drive.book.remember(ANNA, drive.pts_ns, np.zeros(DIM, np.float32))
    assert drive.book.windows_to_score()[0] == (ANNA,)
    assert drive.book.windows_to_score()[0] == (ANNA,)


def test_a_poor_face_is_not_sampled_and_says_why() -> None:
    drive = Drive()
    drive.run(3, {ANNA: 4.0})
    (score,) = drive.run(2, {ANNA: 4.0}, {ANNA: QualityReason.BLURRED})
    assert (score.verdict, score.reason) == (Verdict.UNSURE, QualityReason.BLURRED)
    assert score.fake_probability is None
    assert score.scored_pts_ns is None
    assert score.slots[-8:] == (False,) * 8


def test_a_face_that_was_poor_for_longer_than_a_window_warms_up_again() -> None:
    drive = Drive()
    drive.run(3, {ANNA: 4.0})
    drive.run(6, {ANNA: 4.0}, {ANNA: QualityReason.BLURRED})
    (score,) = drive.run(0.5, {ANNA: 4.0})
    assert score.verdict is Verdict.WARMING_UP
    assert sum(score.slots) == 3


def test_a_new_segment_ends_every_track() -> None:
    drive = Drive()
    drive.run(3, {ANNA: 4.0})
    drive.book.begin_segment()
    drive.pts_ns = 0
    (score,) = drive.step({ANNA: 4.0})
    assert score.verdict is Verdict.WARMING_UP
    assert score.history == ()
    assert [summary.windows > 0 for summary in drive.book.summaries()] == [True, False]


def test_a_face_that_comes_back_within_a_second_keeps_its_window_with_a_hole() -> None:
    drive = Drive()
    drive.run(4, {ANNA: 4.0})
    drive.run(0.8, {})
    (score,) = drive.run(0.2, {ANNA: 4.0})
    assert score.verdict is Verdict.FAKE
    assert score.slots == (True,) * 15 + (False,) * 4 + (True,)


def test_a_track_long_out_of_view_is_forgotten_and_summed_up() -> None:
    drive = Drive()
    drive.run(3, {ANNA: 4.0, BERT: -4.0})
    drive.run(6, {BERT: -4.0})
    anna, bert = drive.book.summaries()
    assert (anna.track_id, anna.start_s, anna.end_s) == (ANNA, 0.0, pytest.approx(2.9))
    assert (bert.track_id, bert.end_s) == (BERT, pytest.approx(8.9))
    assert drive.book.due([ANNA], drive.pts_ns) == (ANNA,)


def test_the_history_reaches_thirty_seconds_back() -> None:
    (score,) = Drive().run(45, {ANNA: 1.0})
    first_ns, last_ns = score.history[0][0], score.history[-1][0]
    assert 29.5 * SECOND_NS <= last_ns - first_ns <= 30 * SECOND_NS
    assert len(score.history) == pytest.approx(150, abs=2)
    assert score.history[-1][1] == pytest.approx(score.fake_probability)


def test_a_summary_is_the_calibrated_mean_logit() -> None:
    drive = Drive()
    drive.run(2, {ANNA: 6.0})
    drive.run(2, {ANNA: -1.0})
    (summary,) = drive.book.summaries()
    high = sum(value > 0.9 for _, value in summary.timeline)
    mean = (6.0 * high - (summary.windows - high)) / summary.windows
    assert summary.windows == len(summary.timeline) == 16
    assert summary.fake_probability == pytest.approx(1 / (1 + np.exp(-mean)))
    assert summary.verdict is Verdict.FAKE
    assert summary.timeline[0] == (pytest.approx(0.8), pytest.approx(0.9975, abs=1e-3))


def test_a_summary_without_a_score_has_no_number() -> None:
    drive = Drive()
    drive.run(0.5, {ANNA: 6.0})
    drive.run(3, {BERT: 6.0}, {BERT: QualityReason.TOO_SMALL})
    anna, bert = drive.book.summaries()
    assert (anna.fake_probability, anna.verdict, anna.windows) == (None, Verdict.WARMING_UP, 0)
    assert (bert.fake_probability, bert.verdict, bert.timeline) == (None, Verdict.UNSURE, ())


def test_a_model_of_the_other_polarity_is_turned_round_once() -> None:
    book = TrackBook(SPEC.model_copy(update={"positive_class": "real"}))
    (score,) = Drive(book).run(3, {ANNA: 4.0})
    (summary,) = book.summaries()
    assert score.verdict is summary.verdict is Verdict.REAL
    assert summary.fake_probability == pytest.approx(0.018, abs=1e-3)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_book_that_keeps_no_summaries_scores_alike_and_remembers_no_face_that_is_over(*, keeps: bool) -> None:
    drive = Drive(TrackBook(SPEC, keeps_summaries=keeps))
    (score,) = drive.run(4, {ANNA: 4.0})
    drive.book.begin_segment()
    (again,) = drive.run(4, {BERT: 4.0})
    assert (score.verdict, again.verdict) == (Verdict.FAKE, Verdict.FAKE)
    assert [summary.track_id for summary in drive.book.summaries()] == ([ANNA, BERT] if keeps else [])


@pytest.mark.parametrize("keeps", [True, False])
def test_a_face_that_stays_makes_only_a_book_with_summaries_grow(*, keeps: bool) -> None:
    """Python's blocks, over minutes past the half minute of history: at least a tuple and two numbers a score."""
    drive = Drive(TrackBook(SPEC, keeps_summaries=keeps))
    drive.run(60, {ANNA: 4.0})
    drive.samples.clear()
    before, scores = sys.getallocatedblocks(), 5 * 120
    drive.run(120, {ANNA: 4.0})
    drive.samples.clear()
    assert (sys.getallocatedblocks() - before > 2 * scores) == keeps


@settings(max_examples=30)
@given(limit=st.integers(2, 50), count=st.integers(1, 500))
def test_a_timeline_never_outgrows_its_limit_and_stays_even(limit: int, count: int) -> None:
    timeline = Timeline(limit)
    for index in range(count):
        timeline.add(index, float(index))
    times = [pts_ns for pts_ns, _ in timeline.points()]
    assert 1 <= len(times) <= limit
    assert times[0] == 0
    assert len(set(np.diff(times))) <= 1
    assert count - times[-1] <= max(1, 2 * count // limit + 1)


def test_a_stretch_of_fake_ends_while_the_face_cannot_be_judged() -> None:
    drive = Drive()
    drive.run(4, {ANNA: 4.0})
    drive.run(3, {ANNA: 4.0}, {ANNA: QualityReason.DAMAGED})
    drive.run(4, {ANNA: 4.0})
    first, second = drive.book.summaries()[0].fake_stretches
    assert first[1] <= 4.0
    assert second[0] >= 7.0


def test_forgotten_samples_leave_the_face_its_number_and_history() -> None:
    drive = Drive()
    before = drive.run(4, {ANNA: 4.0})[0]
    drive.book.forget_samples()
    assert drive.book.windows_to_score()[0] == ()
    after = drive.step({ANNA: 4.0})[0]
    assert (after.track_id, sum(after.slots)) == (ANNA, 1)
    assert after.history == before.history
