"""``unmask score``: what a file's verdict is made of, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from stream import score
from stream.config import AppConfig, QualityConfig
from stream.errors import SourceError, UsageError
from stream.parts import Parts
from stream.score import FileScore, report_lines, score_file, score_files, summary_of
from stream.scoring.story import TrackSummary
from stream.types import TrackId, Verdict
from tests.stream.test_app import clip, parts  # noqa: F401 - clip is a fixture

ANY_PICTURE = AppConfig(quality=QualityConfig(min_sharpness=0.0, min_brightness=0.0))


def track(number: int, probability: float | None, verdict: Verdict = Verdict.UNSURE) -> TrackSummary:
    return TrackSummary(TrackId(number), 0.0, 2.0, 0 if probability is None else 4, probability, verdict, ())


def test_a_file_takes_the_word_of_its_most_suspicious_track() -> None:
    tracks = (track(1, 0.1, Verdict.REAL), track(2, 0.9, Verdict.FAKE), track(3, None))
    found = summary_of("a.mp4", tracks)
    assert (found.fake_probability, found.verdict) == (0.9, Verdict.FAKE)
    assert found.tracks == tracks


@pytest.mark.parametrize("tracks", [(), (track(1, None),)])
def test_without_a_scored_face_there_is_no_number(tracks: tuple[TrackSummary, ...]) -> None:
    found = summary_of("a.mp4", tracks)
    assert (found.fake_probability, found.verdict) == (None, Verdict.UNSURE)
    assert report_lines(found) == ["a.mp4: no face scored"]


def test_a_face_s_line_says_where_it_was_most_suspicious() -> None:
    face = TrackSummary(TrackId(1), 0.0, 9.0, 3, 0.4, Verdict.UNSURE, ((1.0, 0.1), (6.25, 0.93), (8.0, 0.2)))
    lines = report_lines(summary_of("a.mp4", (face,)))
    assert lines[1] == "  face 1: unsure, fake probability 0.40, 0.0-9.0 s, 3 windows, highest 0.93 at 6.2 s"


@pytest.mark.parametrize(("end_s", "verdict"), [(5.0, Verdict.FAKE), (4.5, Verdict.REAL)])
def test_a_file_that_is_fake_for_long_enough_on_end_is_fake_whatever_its_mean(end_s: float, verdict: Verdict) -> None:
    face = TrackSummary(TrackId(1), 0.0, 60.0, 300, 0.2, Verdict.REAL, ((4.0, 0.95),), ((2.0, end_s),))
    found = summary_of("a.mp4", (track(2, 0.1, Verdict.REAL), face))
    assert (found.verdict, found.fake_probability) == (verdict, 0.2)
    said = report_lines(found)
    assert said[0].endswith("fake, fake probability 0.20 on average" if verdict is Verdict.FAKE else "probability 0.20")
    assert ("fake in 2.0-5.0 s" in said[-1]) == (verdict is Verdict.FAKE)


def test_a_clip_is_scored_from_its_first_face_to_its_last(clip: Path) -> None:  # noqa: F811
    told: list[tuple[float, float | None]] = []
    found = score_file(clip, ANY_PICTURE, parts(4.0), on_progress=lambda *done: told.append(done))
    (face,) = found.tracks
    assert found.verdict is Verdict.FAKE
    assert found.fake_probability == pytest.approx(0.982, abs=0.001)
    assert (face.start_s, face.end_s) == (pytest.approx(0.0, abs=0.2), pytest.approx(2.9, abs=0.2))
    assert face.windows == len(face.timeline) == pytest.approx(11, abs=2)
    assert face.fake_stretches[-1][1] == face.timeline[-1][0]
    assert len(face.fake_stretches) == 1
    assert told == sorted(told)
    assert told[-1][1] == pytest.approx(3.0, abs=0.1)


def test_a_real_face_is_called_real(clip: Path) -> None:  # noqa: F811
    assert score_file(clip, ANY_PICTURE, parts(-4.0)).verdict is Verdict.REAL


def run(files: list[Path], monkeypatch: pytest.MonkeyPatch, *, as_json: bool = False) -> int:
    def fakes(config: AppConfig, *, threads: int | None = None) -> Parts:  # noqa: ARG001
        return parts(4.0)

    monkeypatch.setattr(score, "open_parts", fakes)
    return score_files(files, ANY_PICTURE, as_json=as_json)


def test_json_has_the_promised_keys(
    clip: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([clip], monkeypatch, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["file", "fake_probability", "verdict", "tracks"]
    keys = ["track_id", "fake_probability", "verdict", "start_s", "end_s", "windows", "fake_stretches", "timeline"]
    assert [list(face) for face in found["tracks"]] == [keys]
    assert found["verdict"] == found["tracks"][0]["verdict"] == "fake"
    assert list(found["tracks"][0]["timeline"][0]) == ["t_s", "fake_probability"]


def test_a_broken_file_is_one_line_and_the_others_are_still_scored(
    clip: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = tmp_path / "none.mp4"
    assert run([missing, clip], monkeypatch) == SourceError.exit_code
    printed = capsys.readouterr()
    assert str(missing) in printed.err
    assert printed.out.startswith(f"{clip}: fake, fake probability 0.98")
    assert "  face 1: fake" in printed.out


def test_a_camera_is_not_scored_as_a_file() -> None:
    with pytest.raises(UsageError, match="live source, not a file: use unmask watch"):
        score_file(Path("test"), ANY_PICTURE, parts())


def test_a_file_that_was_cut_off_is_scored_as_far_as_it_goes_and_says_so() -> None:
    found = FileScore("a.mp4", 0.9, Verdict.FAKE, (track(1, 0.9, Verdict.FAKE),), "a.mp4: ends at 2.0 s of 9.0 s")
    assert found.to_json()["fake_probability"] == 0.9
    assert found.warning is not None
