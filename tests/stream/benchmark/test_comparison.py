"""The comparison's arithmetic, and that every way scores the same frames alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from engines.catalog import model_folder
from engines.preprocess import Bytes, Floats
from stream.benchmark.comparison import (
    CROP_TOLERANCE,
    OURS,
    TORCH_TOLERANCE,
    _refuse_unlike,
    standings,
)
from stream.benchmark.rivals import (
    Pace,
    Sameness,
    WayRun,
    first_crops,
    opencv_frames,
    pace_of,
    run_ours,
    run_per_frame,
    run_recomputed,
    same_window,
    threaded_frames,
    torch_networks,
)
from stream.benchmark.trial import metered_parts
from stream.config import AppConfig, ModelConfig
from stream.errors import ModelError, SourceError

PLAIN = AppConfig(model=ModelConfig(backend="onnxruntime-cpu"))
"""Whatever engines were built on this machine."""


def test_ratios_are_ours_over_theirs_summed_over_the_rounds() -> None:
    runs = [WayRun(OURS, 10, 2, 1, 50, 50), WayRun("other", 10, 10, 5, 50, 250)] * 2
    ours, other = standings(runs)
    assert (ours.scores_per_wall_s, ours.scores_per_cpu_s, ours.video_per_cpu_s) == (25, 50, 10)
    assert (other.ours_is_times_wall, other.ours_is_times_cpu) == (5, 5)
    assert (other.slot_scores, other.all_scores) == (100, 500)
    assert (other.ours_is_times_wall_all, other.ours_is_times_cpu_all) == (1, 1)


@pytest.mark.parametrize(
    ("same", "told"),
    [
        (Sameness(0.0, 0.0, 0.0, 2 * TORCH_TOLERANCE, 0.0), "PyTorch"),
        (Sameness(0.0, 0.0, 2 * TORCH_TOLERANCE, None, 0.0), "batch"),
        (Sameness(2 * CROP_TOLERANCE, 0.0, 0.0, 0.0, 0.0), "YUV"),
    ],
)
def test_ways_that_score_unlike_are_not_compared(same: Sameness, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        _refuse_unlike(same)
    _refuse_unlike(Sameness(0.1, 0.0, 0.0, 0.001, 3.0))


def test_an_engine_may_move_the_logit_by_what_its_precision_costs() -> None:
    moved = Sameness(0.3, 0.0, 0.3, 0.001, 3.0)
    _refuse_unlike(moved, "bf16")
    with pytest.raises(ModelError, match="batch"):
        _refuse_unlike(moved, "fp32")


def test_a_clip_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="OpenCV cannot read"):
        next(opencv_frames(tmp_path / "none.mp4"))
    with pytest.raises(SourceError, match="OpenCV cannot read"):
        next(threaded_frames(tmp_path / "none.mp4"))  # its reader's error, not a wait for ever


class CountingEmbedder:
    """Notes how many crops each score put through the backbone."""

    def __init__(self) -> None:
        self.crops: list[int] = []

    def embed(self, crops: Sequence[Bytes]) -> Floats:
        self.crops.append(len(crops))
        return np.zeros((len(crops), 4), np.float32)

    def score(self, features: Floats, mask: Floats) -> Floats:  # noqa: ARG002 - the protocol's signature
        return np.zeros(len(features), np.float32)


def test_a_filled_window_is_recomputed_whole_from_the_first_score(face_clip: Path) -> None:
    networks = CountingEmbedder()
    with metered_parts(PLAIN) as metered:
        parts, detector = metered.parts, metered.detector
        pace = Pace(every=10, slots=2)
        filled = first_crops(face_clip, detector, parts, pace)
        scores, _ = run_recomputed(opencv_frames(face_clip), detector, parts, pace, networks, filled)
    assert scores > 0
    assert networks.crops == [2] * scores


def test_every_way_gives_the_same_logit_for_the_same_frames(face_clip: Path) -> None:
    pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")
    with metered_parts(PLAIN) as metered:
        parts, detector = metered.parts, metered.detector
        pace = Pace(every=1, slots=parts.model.spec.window.slots)
        same = same_window(face_clip, detector, parts, parts, pace, torch_networks(parts, model_folder("lite0-gru")))
    assert same.recomputed == pytest.approx(same.per_frame, abs=TORCH_TOLERANCE)
    assert same.ours_on_their_crops == pytest.approx(same.per_frame, abs=TORCH_TOLERANCE)
    assert same.ours == pytest.approx(same.per_frame, abs=CROP_TOLERANCE)
    assert same.ours != 0


def test_every_way_goes_through_the_whole_clip(face_clip: Path) -> None:
    with metered_parts(PLAIN) as metered:
        parts, detector = metered.parts, metered.detector
        pace = pace_of(parts, 25.0)
        frames = sum(1 for _ in opencv_frames(face_clip))
        per_frame = run_per_frame(threaded_frames(face_clip), detector, parts, pace)
        recomputed = run_recomputed(opencv_frames(face_clip), detector, parts, pace, parts.scorer)
        ours = run_ours(face_clip, parts, PLAIN)
    slots = len(range(0, frames, pace.every)) - pace.first
    assert pace.first == parts.model.spec.window.min_samples - 1
    assert per_frame == (slots, frames - pace.first * pace.every)
    assert recomputed == (slots, slots)
    assert 0 < ours[0] <= slots
