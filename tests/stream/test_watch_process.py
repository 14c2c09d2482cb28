"""`unmask watch` and `unmask score` as a user runs them: processes of their own, with the shipped model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.stream.sources.video_parts import CameraProcess, clip, encoded, need_gst, play, turned

need_gst()

from engines.catalog import BACKBONE_FILE, CATALOG, DEFAULT_MODEL, HEAD_FILE, SPEC_FILE  # noqa: E402

pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).parents[2]
PROGRAM = "signal.signal(signal.SIGHUP, signal.SIG_DFL); from stream.cli import main; sys.exit(main())"
"""Whoever runs the tests may have told them not to hear a hang-up (nohup): the program under test must."""
UNMASK = (sys.executable, "-c", f"import signal, sys; {PROGRAM}")
PATIENCE_S = 180.0
"""How long a test waits for what must come: a busy machine needs a minute to load the model."""
QUIET = ("--no-display", "--metrics-port", "-1")
RIGHT, WRONG = "s3cr3t-Right", "s3cr3t-Wrong"


class Unmask:
    """One run of the program. Its output goes to files, which are read while it runs."""

    def __init__(self, folder: Path, *words: str | Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        surroundings = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*UNMASK, *map(str, words)],
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env={**surroundings, "PYTHONUNBUFFERED": "1"},
            )

    def told(self) -> list[str]:
        """Lines on standard output so far."""
        return self._out.read_text().splitlines()

    def complained(self) -> list[str]:
        """Lines on standard error so far, but for the one that says which model runs."""
        return [line for line in self._err.read_text().splitlines() if not line.startswith("model: ")]

    def wait_for(self, is_so: Callable[[], Any], what: str) -> None:
        """Fails the test when the program ends before it is so, or when it takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no {what}; exit code {self.process.poll()}:\n" + "\n".join(self.complained()))
            time.sleep(0.02)

    def end(self, number: signal.Signals | None = None) -> int:
        """The exit code, after a signal or at the program's own end."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def __enter__(self) -> Unmask:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def frames_in(video: Path) -> int:
    capture, count = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG), 0
    while capture.grab():
        count += 1
    capture.release()
    return count


# Stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_every_output(tmp_path: Path, number: signal.Signals) -> None:
    video, scores = tmp_path / "out.mp4", tmp_path / "scores.jsonl"
    outputs = ("--save", video, "--scores", scores, "--no-display", "--metrics-port", "0")
    with Unmask(tmp_path, "watch", "test", *outputs) as unmask:
        unmask.wait_for(lambda: video.exists() and video.stat().st_size, "bytes in the recording")
        assert unmask.end(number) == 0, unmask.complained()
        assert frames_in(video) > 0
        assert not [line for line in unmask.complained() if "Traceback" in line or line.startswith("unmask: ")]
    assert all(isinstance(json.loads(line), dict) for line in scores.read_text().splitlines())
    assert scores.read_bytes()[-1:] in (b"", b"\n")


# Reading the configuration again


def test_hangup_reads_the_file_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    stays, comes = "{name: door, source: test}", "{name: yard, source: 'test:snow'}"
    file.write_text(f"streams: [{stays}]\n")
    with Unmask(tmp_path / "run", "watch", "--config", file, "--no-display", "--metrics-port", "-1") as unmask:

        def is_told(end: str) -> Callable[[], bool]:
            return lambda: any(line.endswith(end) for line in unmask.complained())

        unmask.wait_for(lambda: any(line.startswith("door: no face") for line in unmask.told()), "picture of the door")
        file.write_text(f"streams: [{stays}, {comes}]\ndetector: {{rate_hz: 5}}\n")
        unmask.process.send_signal(signal.SIGHUP)
        unmask.wait_for(is_told("after a restart: detector"), "word of the detector")
        unmask.wait_for(lambda: any(line.startswith("yard: no face") for line in unmask.told()), "picture of the yard")
        file.write_text(f"streams: [{stays}, {{name: yard}}]\n")
        unmask.process.send_signal(signal.SIGHUP)
        unmask.wait_for(is_told("nothing was changed"), "word of the bad file")
        file.write_text(f"streams: [{stays}]\n")
        unmask.process.send_signal(signal.SIGHUP)
        unmask.wait_for(lambda: "yard: no longer watched" in unmask.told(), "end of the yard")
        assert unmask.end(signal.SIGTERM) == 0
        told = [line for line in unmask.complained() if "configuration read again" in line]
        assert told == [f"unmask: configuration read again: {what} yard" for what in ("added", "removed")]
        (bad,) = [line for line in unmask.complained() if "nothing was changed" in line]
        assert "streams[1].source: missing" in bad
        assert "door: reconnecting" not in unmask.told()


def test_hangup_without_a_file_ends_the_run_in_order(tmp_path: Path) -> None:
    video = tmp_path / "out.mp4"
    with Unmask(tmp_path, "watch", "test", "--save", video, *QUIET) as unmask:
        unmask.wait_for(lambda: video.exists() and video.stat().st_size, "bytes in the recording")
        assert unmask.end(signal.SIGHUP) == 0
    assert frames_in(video) > 0


# Outputs that are lost or cannot be had


def test_a_full_disk_is_told_once_and_the_watching_goes_on(tmp_path: Path) -> None:
    snow = tmp_path / "snow.mp4"
    play(f"{encoded(150, 160, 120).replace('ball', 'snow')} ! mp4mux ! filesink location={snow}")
    with tiny_disk(tmp_path / "disk", kilobytes=96) as disk:
        video = disk / "out.mp4"
        with Unmask(tmp_path, "watch", snow, "--save", video, *QUIET) as unmask:
            assert unmask.end() == 5, unmask.complained()
            (line,) = [line for line in unmask.complained() if str(video) in line]
            assert "disk is full" in line
            assert "Traceback" not in "\n".join(unmask.complained())
            assert unmask.told()[-1] == "snow: ended", "the file was not analysed to its end"
        assert 5 < frames_in(video) < 150


@contextmanager
def tiny_disk(folder: Path, *, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a full disk needs the right to mount a tmpfs (run as root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_taken_metrics_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Unmask(tmp_path, "watch", "test", "--no-display", "--metrics-port", str(port)) as unmask:
            assert unmask.end() == 5, unmask.complained()
            (line,) = unmask.complained()
    assert line.startswith(f"unmask: cannot serve metrics on 127.0.0.1:{port}")
    assert "choose another --metrics-port, or -1 for none" in line


@pytest.mark.parametrize("damaged", [SPEC_FILE, HEAD_FILE])
def test_a_damaged_model_is_one_line(tmp_path: Path, damaged: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in (SPEC_FILE, BACKBONE_FILE, HEAD_FILE):
        shutil.copy(CATALOG[DEFAULT_MODEL].folder / name, model / name)
    data = (model / damaged).read_bytes()
    (model / damaged).write_bytes(data[: len(data) // 2])
    with Unmask(tmp_path, "watch", "test", "--model", model, *QUIET) as unmask:
        assert unmask.end() == 3, unmask.complained()
        (line,) = unmask.complained()
    assert line.startswith("unmask: ")
    assert damaged in line


# Sources that cannot be opened: watched together, each tells its own story


@pytest.fixture(scope="module")
def lost_cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Unmask, int]]:
    """By fault: the line that was told; the run, which was stopped once all were told; its exit code."""
    with ExitStack() as closing:
        login = ("test", "--user", "guard", "--password-env", "CAMERA_PASSWORD")
        locked = closing.enter_context(CameraProcess(*login, environment={"CAMERA_PASSWORD": RIGHT}))
        open_to_all = closing.enter_context(CameraProcess("test"))
        deaf = closing.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets the port, and it refuses
        address = {
            "wrong password": locked.url.replace("//", f"//guard:{WRONG}@"),
            "no password": locked.url,
            "wrong path": open_to_all.url + "-elsewhere",
            "nobody there": f"rtsp://guard:{WRONG}@127.0.0.1:{deaf.getsockname()[1]}/camera",
            "no webcam": "/dev/video99",
        }
        unmask = closing.enter_context(
            Unmask(tmp_path_factory.mktemp("lost"), "watch", *address.values(), *QUIET, "--duration", "600")
        )
        shown = {fault: text.replace(f"guard:{WRONG}", "***") + ": " for fault, text in address.items()}

        def lines() -> dict[str, str]:
            return {
                fault: line for fault, start in shown.items() for line in unmask.complained() if line.startswith(start)
            }

        unmask.wait_for(lambda: len(lines()) == len(shown), "line for each lost camera")
        unmask.wait_for(lambda: any("reconnecting" in line for line in unmask.told()), "lost camera in the table")
        code = unmask.end(signal.SIGTERM)
        yield lines(), unmask, code


@pytest.mark.parametrize(
    ("fault", "what", "advice"),
    [
        ("wrong password", "refused the user name or password (401)", "check both"),
        ("no password", "refused the user name or password (401)", "check both"),
        ("wrong path", "does not exist (404)", "check the path"),
        ("nobody there", "nothing answers at this address", "check host and port"),
        ("no webcam", "no such device", "the device's number"),
    ],
)
def test_a_lost_camera_says_what_is_wrong_and_what_to_do(
    lost_cameras: tuple[dict[str, str], Unmask, int], fault: str, what: str, advice: str
) -> None:
    line = lost_cameras[0][fault]
    assert what in line
    assert advice in line.partition(what)[2]
    assert "trying again in" in line


def test_a_live_source_is_tried_for_ever_so_stopping_is_no_failure(
    lost_cameras: tuple[dict[str, str], Unmask, int],
) -> None:
    lines, unmask, code = lost_cameras
    assert code == 0
    assert sorted(unmask.complained()) == sorted(lines.values()), "something was told twice, or without an address"


def test_no_password_is_in_any_output(lost_cameras: tuple[dict[str, str], Unmask, int]) -> None:
    _, unmask, _ = lost_cameras
    told = "\n".join([*unmask.told(), *unmask.complained()])
    assert "reconnecting" in told
    assert "s3cr3t" not in told


# Files


def test_watching_a_cut_off_file_says_so_and_shows_what_is_there(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    play(f"{encoded(120, 160, 120)} ! mp4mux faststart=true ! filesink location={whole}")
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    with Unmask(tmp_path, "watch", cut, "--save", tmp_path / "out.mp4", *QUIET) as unmask:
        assert unmask.end() == 0, unmask.complained()
        (line,) = [line for line in unmask.complained() if line.startswith("unmask: ")]
    assert str(cut) in line
    assert "of 4.0 s: it was cut off" in line
    assert 20 < frames_in(tmp_path / "out.mp4") < 110


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Any]], list[str], int]:
    """What `score --json` told of clips without faces, by file name; its complaints; its exit code."""
    folder = tmp_path_factory.mktemp("scored")
    files = [
        clip(folder / "faceless.mp4"),
        clip(folder / "speck.mp4", frames=10, width=16, height=16),
        clip(folder / "cinema.mp4", frames=10, width=3840, height=2160, rate=10),
        odd(folder / "odd.avi"),
        clip(folder / "portrait.mp4", frames=10, width=120, height=160),
        turned(clip(folder / "turned.mp4", frames=10)),
    ]
    with Unmask(folder, "score", "--json", *files) as unmask:
        code = unmask.end()
        found = [json.loads(line) for line in unmask.told()]
    assert [told["file"] for told in found] == [str(file) for file in files]
    return {Path(told["file"]).name: told for told in found}, unmask.complained(), code


def odd(path: Path) -> Path:
    """Sizes that 4:2:0 cannot halve, as Motion JPEG has them."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (855, 481))
    for grey in range(10):
        writer.write(np.full((481, 855, 3), grey * 20, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("name", ["faceless.mp4", "speck.mp4", "cinema.mp4", "odd.avi", "portrait.mp4", "turned.mp4"])
def test_a_clip_without_faces_has_no_number_whatever_its_size(
    scored: tuple[dict[str, dict[str, Any]], list[str], int], name: str
) -> None:
    told = scored[0][name]
    assert told["fake_probability"] is None
    assert told["verdict"] == "unsure"
    assert not [track for track in told["tracks"] if track["windows"]]


def test_scoring_clips_without_faces_is_no_failure(
    scored: tuple[dict[str, dict[str, Any]], list[str], int],
) -> None:
    _, complaints, code = scored
    assert code == 0
    assert not "".join(complaints).strip()
