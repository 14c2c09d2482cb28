"""What a configuration makes of a stream's place among the others."""

from __future__ import annotations

import pytest

from stream.config import AnalysisConfig, AppConfig, ScoringConfig, StreamConfig
from stream.errors import UsageError
from stream.parts import plan_of, scheduling_policy
from stream.scheduling.plan import Limits, Priority, StreamPlan
from tests.fakes import spec_of


def test_a_stream_s_plan_is_what_it_asks_for() -> None:
    stream = StreamConfig(source="webcam", priority="high", sample_every=2, detect_rate_hz=4)
    assert plan_of(stream, spec_of(), is_live=True) == StreamPlan(True, Priority.HIGH, 2, 250_000_000)


def test_windows_too_sparse_for_the_model_are_one_line_that_says_what_goes() -> None:
    stream = StreamConfig(source="webcam", name="door", sample_every=4)
    with pytest.raises(UsageError, match=r"stream door: sample_every 4 leaves scripted too few samples: at most 3$"):
        plan_of(stream, spec_of(), is_live=True)


def test_what_streams_share_follows_the_configuration() -> None:
    analysis = AnalysisConfig(batch_window_ms=3, max_batch=8, max_detections=2, busy_above=0.8, calm_every=3)
    policy = scheduling_policy(AppConfig(analysis=analysis), spec_of())
    assert (policy.limits, policy.batch_window_ns) == (Limits(8, 2), 3_000_000)
    assert (policy.overload.busy_above, policy.overload.busy_below, policy.calm.every) == (0.8, 0.4, 3)


@pytest.mark.parametrize("real_at", [0.35, 0.1, 0.0])
def test_a_calm_face_lies_well_below_what_is_called_real(real_at: float) -> None:
    policy = scheduling_policy(AppConfig(scoring=ScoringConfig(real_at=real_at)), spec_of())
    assert policy.calm.below == pytest.approx(0.6 * real_at)
