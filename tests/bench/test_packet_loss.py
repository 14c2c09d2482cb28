from __future__ import annotations

from dataclasses import replace

from tests.stream.sources.video_parts import need_gst

need_gst()

from bench.packet_loss import Seen, row_of  # noqa: E402
from stream.types import FaceScore, Scene, StreamName, TrackId, Verdict  # noqa: E402

CAMERA = StreamName("camera")


def scene_at(pts_s: float, verdict: Verdict, *, scored: bool = True) -> Scene:
    pts_ns = round(pts_s * 1e9)
    face = FaceScore(TrackId(1), (0, 0, 9, 9), verdict, 0.5, scored_pts_ns=pts_ns if scored else 0)
    return Scene(CAMERA, (face,), pts_ns=pts_ns)


def test_windows_count_once_and_only_in_the_genuine_half() -> None:
    seen = Seen(until_s=10.0)
    seen.publish(scene_at(1.0, Verdict.REAL))
    seen.publish(scene_at(1.1, Verdict.REAL, scored=False))
    seen.publish(scene_at(9.9, Verdict.FAKE))
    seen.publish(scene_at(10.0, Verdict.FAKE))
    assert dict(seen.windows) == {Verdict.REAL: 1, Verdict.FAKE: 1}


def test_a_row_tells_of_broken_pictures_only_where_they_were_told_apart() -> None:
    seen = Seen(10.0)
    for _ in range(3):
        seen.frame_arrived(CAMERA, 0)
    seen.frame_damaged(CAMERA)
    seen.publish(scene_at(1.0, Verdict.FAKE))
    assert row_of(0.01, takes_broken=False, seen=seen) == ("1 %", "left out", "1 of 3", "0", "0", "1")
    assert row_of(0.003, takes_broken=True, seen=replace(seen))[:3] == ("0.3 %", "sampled", "not told")
