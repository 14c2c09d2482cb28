"""The cutter sees what the live analysis sees: the same moments, the same squares, the same gate."""

from __future__ import annotations

import numpy as np
import pytest

from engines.preprocess import Bytes, crop_planes, square_from_box
from stream.dataset.cutter import CutSettings, FaceCutter
from stream.faces.quality import QualityLimits
from stream.faces.tracker import open_tracker
from stream.observers import StreamFacts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import FaceBox, Frame, StreamName
from tests.fakes import FixedDetector, backbone_of, head_of, planes_of, spec_of

ANY_PICTURE = QualityLimits(min_sharpness=0.0, min_brightness=0.0)
FPS = 25


def face_at(frame: Frame) -> tuple[FaceBox, ...]:
    """One that walks to the right."""
    left = 40 + 20 * frame.pts_ns / 1e9
    return (FaceBox((left, 50, left + 100, 170), 0.99),)


def frames(seconds: float, *, rate: int = FPS, segment: int = 0) -> list[Frame]:
    return [
        Frame(StreamName("v"), planes_of(seed=number), round(number * 1e9 / rate), 0, segment)
        for number in range(round(seconds * rate))
    ]


def cut(settings: CutSettings, shots: list[Frame], quality: QualityLimits = ANY_PICTURE) -> FaceCutter:
    cutter = FaceCutter(FixedDetector(face_at), open_tracker(), quality, settings)
    for frame in shots:
        with frame:
            cutter.look(frame)
    return cutter


def live_crops(shots: list[Frame]) -> list[Bytes]:
    """What the live analysis embeds of the same frames."""
    spec, seen = spec_of(), list[Bytes]()

    class Remembering(ModelScorer):
        def embed(self, crops: list[Bytes]) -> np.ndarray:  # type: ignore[override]
            seen.extend(crops)
            return super().embed(crops)

    scorer = Remembering(backbone_of(), head_of(0.0), spec)
    facts = StreamFacts()
    analyzer = Analyzer(FixedDetector(face_at), scorer, facts, facts, detect_period_s=0.1, quality=ANY_PICTURE)
    analysis = StreamAnalysis(StreamName("v"), open_tracker(), TrackBook(spec))
    for frame in shots:
        with frame:
            if analyzer.is_due(analysis, frame):
                analyzer.step([(analysis, frame)])
    return seen


@pytest.mark.parametrize("rate", [10, 25, 30])
def test_the_crops_are_those_that_the_live_model_gets(rate: int) -> None:
    spec = spec_of()
    shots = frames(3.0, rate=rate)
    (samples,) = cut(CutSettings(spec.pixels.size, spec.window.period_s), shots).tracks.values()
    live = live_crops(shots)
    assert len(samples) == len(live)
    assert all(np.array_equal(sample.rgb, crop) for sample, crop in zip(samples, live, strict=True))


@pytest.mark.parametrize("rate", [10, 15, 25, 60])
def test_samples_come_once_a_period_at_any_frame_rate(rate: int) -> None:
    (samples,) = cut(CutSettings(64), frames(4.0, rate=rate)).tracks.values()
    assert len(samples) == pytest.approx(20, abs=1)
    assert np.diff([sample.t_s for sample in samples]).min() >= 0.1


def test_a_shorter_period_gives_more_samples_than_the_detectors_live_rate() -> None:
    (samples,) = cut(CutSettings(64, period_s=1 / FPS), frames(2.0)).tracks.values()
    assert len(samples) == pytest.approx(50, abs=2)


def test_the_margin_widens_the_square_and_the_size_is_the_crops() -> None:
    (narrow,), (wide,) = (cut(CutSettings(48, margin=margin), frames(0.1)).tracks.values() for margin in (1.0, 1.3))
    assert narrow[0].rgb.shape == (48, 48, 3)
    assert wide[0].box_px == pytest.approx(1.3 * narrow[0].box_px)
    shot = frames(0.1)[0]
    square = square_from_box(face_at(shot)[0].xyxy, FixedDetector.geometry, 1.3)
    assert np.array_equal(wide[0].rgb, crop_planes(shot.planes, square, 48))


def test_what_the_gate_refuses_is_counted_and_not_kept() -> None:
    cutter = cut(CutSettings(64), frames(1.0), QualityLimits(min_side_px=500))
    assert cutter.tracks == {}
    assert cutter.rejected["too_small"] > 3


def test_a_jump_in_the_video_begins_new_tracks() -> None:
    cutter = cut(CutSettings(64), [*frames(1.0), *frames(1.0, segment=1)])
    assert sorted(cutter.tracks) == [1, 2]
