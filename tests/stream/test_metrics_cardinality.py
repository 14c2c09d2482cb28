"""However many faces come by, the metrics stay as many as they were; and their names please Prometheus' own linter."""

from __future__ import annotations

from stream.faces.quality import QualityLimits
from stream.faces.tracker import open_tracker
from stream.metrics import Metrics
from stream.observers import StreamFacts
from stream.pipeline import Analyzer, StreamAnalysis
from stream.scheduling.plan import StreamPlan
from stream.scoring.scorer import ModelScorer
from stream.scoring.track_book import TrackBook
from stream.types import FaceBox, StreamName, TrackId
from tests.deploy.prometheus import promtool
from tests.fakes import FixedDetector, backbone_of, frame_of, head_of, planes_of, spec_of
from tests.stream.test_metrics import BOARD, samples, send_everything, value

CAM = StreamName("front-door")
CROWD = tuple(FaceBox((x, y, x + 90.0, y + 90.0), 0.99) for x in range(10, 1200, 120) for y in range(10, 500, 120))


def test_a_thousand_faces_leave_as_many_series_as_the_first_ones() -> None:
    """A whole analysis: each segment is new to the tracker, so its 50 faces get new numbers."""
    metrics, spec = Metrics(), spec_of()
    metrics.add_stream(CAM)
    metrics.add_backend(spec.name, "scripted")
    backbone, head = backbone_of(), head_of(lambda features, _: features[:, -1, 0] * 9)
    scorer, detector = ModelScorer(backbone, head, spec), FixedDetector(lambda _: CROWD)
    analyzer = Analyzer(detector, scorer, metrics, StreamFacts(), detect_period_s=0.1, quality=QualityLimits())
    stream = StreamAnalysis(CAM, open_tracker(), TrackBook(spec), StreamPlan())
    planes, seen, series = planes_of(1280, 720), set[TrackId](), []
    for segment in range(20):
        for step in range(7):
            frame = frame_of(2 * segment + step / 5, stream=CAM, segment=segment, planes=planes)
            seen |= {face.track_id for scene in analyzer.step([(stream, frame)]) for face in scene.faces}
        series.append(set(samples(metrics)))
    assert len(seen) == 1000
    assert value(metrics, "window_score_count") >= 1000
    assert series[-1] == series[0]


def test_promtool_finds_no_fault_with_names_types_and_meanings() -> None:
    metrics = Metrics()
    for number in range(16):
        metrics.add_stream(StreamName(f"camera-{number}"))
    metrics.add_backend("lite0-gru", "tensorrt", "fp16")
    metrics.add_board(lambda: BOARD)
    send_everything(metrics, "camera-0")
    ended = promtool("check", "metrics", stdin=metrics.scrape())
    assert (ended.returncode, ended.stderr) == (0, "")
