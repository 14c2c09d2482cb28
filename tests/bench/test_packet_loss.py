from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.stream.sources.video_parts import need_gst

need_gst()

from bench.packet_loss import Seen, main, played, row_of, sum_of  # noqa: E402
from stream.errors import SourceError  # noqa: E402
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
    assert row_of(0.01, takes_broken=False, seen=seen) == ("1 %", "left out", "1 of 3", "1", "0", "0", "1")
    assert row_of(0.003, takes_broken=True, seen=replace(seen))[:3] == ("0.3 %", "sampled", "not told")


def test_no_window_is_not_told_as_no_false_alarm() -> None:
    seen = Seen(10.0, frames=3, damaged=3)
    seen.publish(scene_at(1.0, Verdict.UNSURE, scored=False))
    assert row_of(0.03, takes_broken=False, seen=seen)[2:] == ("3 of 3", "no window", "-", "-", "-")


def test_runs_add_up() -> None:
    one, other = Seen(10.0, frames=3, damaged=1), Seen(10.0, frames=4, damaged=2)
    one.publish(scene_at(1.0, Verdict.REAL))
    other.publish(scene_at(1.0, Verdict.REAL))
    other.publish(scene_at(2.0, Verdict.UNSURE))
    total = sum_of([one, other])
    assert (total.frames, total.damaged) == (7, 3)
    assert dict(total.windows) == {Verdict.REAL: 2, Verdict.UNSURE: 1}
    assert (one.frames, sum(one.windows.values())) == (3, 1), "what is added up stays as it was"


def test_a_camera_that_never_played_is_an_error_and_no_row() -> None:
    seen = Seen(10.0, frames=1)
    assert played(seen, 0.01) is seen
    with pytest.raises(SourceError, match="1 % never played"):
        played(Seen(10.0), 0.01)


def test_what_cannot_be_measured_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Clip:
        class Part:
            end_s = 10.0

        parts = (Part,)

    monkeypatch.setattr("bench.packet_loss.ensure_clip", lambda _: Clip)
    monkeypatch.setattr("bench.packet_loss.seen_of", lambda _, loss, __, **___: played(Seen(10.0), loss))
    assert main(["--clip", str(tmp_path / "clip.mp4")]) == SourceError.exit_code
    assert capsys.readouterr().err.count("\n") == 1
