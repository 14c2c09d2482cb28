from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import OutputError
from stream.sinks.json_lines import LINE_START, JsonLinesSink
from stream.types import QualityReason, Scene, TrackId, Verdict
from tests.stream.overlay.scenes import face_of, scene_of

ROOT = Path(__file__).parents[3]


def lines_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def write(path: Path, *scenes: Scene) -> list[dict[str, Any]]:
    sink = JsonLinesSink(path, now=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc))
    for scene in scenes:
        sink.publish(scene)
    sink.close()
    return lines_of(path)


def test_a_line_says_all_there_is_to_know(tmp_path: Path) -> None:
    (line,) = write(tmp_path / "scores.jsonl", scene_of(face_of(probability=0.97123)))
    assert line == {
        "stream": "lobby",
        "track_id": 1,
        "pts_s": 40.0,
        "time": "2026-01-02T03:04:05.000+00:00",
        "box": [200.0, 150.0, 320.0, 300.0],
        "verdict": "fake",
        "fake_probability": 0.9712,
        "reason": None,
        "samples": 15,
        "slots": 20,
        "model": "lite0-gru",
        "backend": "onnxruntime",
    }


def test_a_reason_is_written(tmp_path: Path) -> None:
    face = face_of(verdict=Verdict.UNSURE, reason=QualityReason.BLURRED)
    assert write(tmp_path / "scores.jsonl", scene_of(face))[0]["reason"] == "blurred"


def test_a_window_is_written_once_however_often_its_scene_comes(tmp_path: Path) -> None:
    scenes = [scene_of(face_of(scored_s=scored)) for scored in (40.0, 40.0, 40.2, 40.2, 40.2, 40.4)]
    assert [line["pts_s"] for line in write(tmp_path / "scores.jsonl", *scenes)] == [40.0, 40.2, 40.4]


def test_a_face_without_a_score_is_not_written(tmp_path: Path) -> None:
    face = face_of(verdict=Verdict.WARMING_UP, probability=None, scored_s=None)
    assert write(tmp_path / "scores.jsonl", scene_of(face)) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=40))
@settings(deadline=None, max_examples=50)
def test_every_change_of_a_track_makes_one_line(tmp_path_factory: pytest.TempPathFactory, seen: list) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.jsonl"
    lines = write(path, *(scene_of(face_of(track=track, scored_s=scored)) for track, scored in seen))
    last: dict[int, int] = {}
    expected = []
    for track, scored in seen:
        if last.get(track) != scored:
            expected.append((track, float(scored)))
        last[track] = scored
    assert [(line["track_id"], line["pts_s"]) for line in lines] == expected


def test_streams_with_the_same_track_id_are_kept_apart(tmp_path: Path) -> None:
    other = dataclasses.replace(scene_of(face_of()), stream="door")
    assert [line["stream"] for line in write(tmp_path / "scores.jsonl", scene_of(face_of()), other)] == [
        "lobby",
        "door",
    ]


def test_a_second_run_appends(tmp_path: Path) -> None:
    for _ in range(2):
        write(tmp_path / "scores.jsonl", scene_of(face_of()))
    assert len(lines_of(tmp_path / "scores.jsonl")) == 2


def test_half_a_line_of_an_earlier_run_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text('{"stream":"old"}\n{"stream":"ol')
    assert [line["stream"] for line in write(path, scene_of(face_of()))] == ["old", "lobby"]


@pytest.mark.parametrize("half", [b"{", b'{"stre', b'{"stream":"' + b"x" * 200_000])
@pytest.mark.parametrize("whole", [b"", b'{"stream":"old"}\n'])
def test_half_a_line_of_any_length_is_cut_off(tmp_path: Path, whole: bytes, half: bytes) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_bytes(whole + half)
    JsonLinesSink(path).close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "foreign", [b"my notes", b"a,b\n1,2", b'{"streams": [1]}', b"[1]", b"\x00" * 200_000, b'{"stream":"old"}\nnotes']
)
def test_a_foreign_file_is_refused_and_left_as_it_was(tmp_path: Path, foreign: bytes) -> None:
    path, open_before = tmp_path / "notes.txt", len(os.listdir("/proc/self/fd"))
    path.write_bytes(foreign)
    with pytest.raises(OutputError, match=r"notes\.txt: it does not look like score lines; name another file"):
        JsonLinesSink(path)
    assert path.read_bytes() == foreign
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_every_line_begins_as_the_cut_expects(tmp_path: Path) -> None:
    write(tmp_path / "scores.jsonl", scene_of(face_of()))
    assert (tmp_path / "scores.jsonl").read_bytes().startswith(LINE_START)


def test_lines_are_there_before_closing(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "scores.jsonl")
    sink.publish(scene_of(face_of()))
    assert len(lines_of(tmp_path / "scores.jsonl")) == 1
    sink.close()


def test_after_closing_nothing_is_written(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "scores.jsonl")
    sink.close()
    sink.close()
    sink.publish(scene_of(face_of()))
    assert lines_of(tmp_path / "scores.jsonl") == []


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write scores to .*No such file"):
        JsonLinesSink(tmp_path / "no" / "scores.jsonl")


def test_a_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Is a directory"):
        JsonLinesSink(tmp_path)


def test_a_full_device_is_an_error_that_says_so() -> None:
    sink = JsonLinesSink(Path("/dev/full"))
    with pytest.raises(OutputError, match=r"no longer written.*No space left"):
        sink.publish(scene_of(face_of()))
    sink.close()


def publish_many(sink: JsonLinesSink) -> None:
    for scored in range(100):
        sink.publish(scene_of(face_of(scored_s=scored)))


def test_a_write_cut_short_is_taken_back(tmp_path: Path) -> None:
    """A file size limit cuts the write in the middle of a line, as a full disk does."""
    path = tmp_path / "scores.jsonl"
    sink = JsonLinesSink(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError):
            publish_many(sink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    sink.close()
    assert 2 <= len(lines_of(path)) <= 4


def test_a_pipe_can_take_the_scores() -> None:
    reader, writer = os.pipe()
    sink = JsonLinesSink(Path(f"/proc/self/fd/{writer}"))
    sink.publish(scene_of(face_of()))
    sink.close()
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert json.loads(lines.read())["track_id"] == TrackId(1)


ENDLESS_SCORES = """
import signal, sys
from pathlib import Path
from stream.sinks.json_lines import JsonLinesSink
from tests.stream.overlay.scenes import face_of, scene_of
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have told them not to hear it
sink = JsonLinesSink(Path(sys.argv[1]))
print("writing", flush=True)
for scored in range(10**9):
    sink.publish(scene_of(*(face_of(scored_s=scored, track=track) for track in range(5))))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_whole_lines(tmp_path: Path, end: signal.Signals) -> None:
    path = tmp_path / "scores.jsonl"
    command = [sys.executable, "-c", ENDLESS_SCORES, str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        while path.stat().st_size < 20_000:
            assert process.poll() is None
        process.send_signal(end)
        process.wait(30)
    finally:
        process.kill()
    assert len(lines_of(path)) > 50
