from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stream.gst.drawing_parts import Scenes, bytes_of, decoded, need_gst, samples

need_gst()

import cv2  # noqa: E402
from gi.repository import Gst  # noqa: E402

from stream.errors import OutputError  # noqa: E402
from stream.gst.branch import Branch, BranchHooks, parsed  # noqa: E402
from stream.gst.codecs import ENCODERS  # noqa: E402
from stream.gst.output import DRAWING, OutputTargets, Restream, VideoOutput  # noqa: E402
from stream.gst.recording import dated, free_dated, kbps_of, make_writable, muxer_launch  # noqa: E402
from stream.gst.session import element_runs  # noqa: E402
from stream.types import StreamName  # noqa: E402
from tests.fakes import ListObserver  # noqa: E402
from tests.stream.overlay.scenes import face_of, scene_of  # noqa: E402
from tests.stream.sources.video_parts import Footprint  # noqa: E402

ROOT = Path(__file__).parents[3]
SCENE = scene_of(face_of((40.0, 60.0, 100.0, 110.0)))


@contextmanager
def output(
    *, is_live: bool = False, scenes: Any = None, observer: ListObserver | None = None, **targets: Any
) -> Iterator[tuple[VideoOutput, list[OutputError]]]:
    errors: list[OutputError] = []
    opened = VideoOutput(
        StreamName("lobby"),
        OutputTargets(**targets),
        scenes or Scenes(SCENE),
        is_live=is_live,
        observer=observer or ListObserver(),
        on_error=errors.append,
    )
    try:
        yield opened, errors
    finally:
        opened.close()


def save(path: Path, frames: Iterator[Any], **options: Any) -> list[OutputError]:
    with output(save=path, **options) as (opened, errors):
        for frame in frames:
            opened.push(frame, 0)
    return errors


def times_of(path: Path) -> list[float]:
    """Milliseconds of each frame of a video."""
    capture, times = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    capture.release()
    return times


@pytest.mark.parametrize(
    ("size", "saved"),
    [((160, 120), (160, 120)), ((855, 481), (854, 480)), ((16, 16), (16, 16)), ((120, 161), (120, 160))],
)
@pytest.mark.parametrize("layout", ["I420", "NV12"])
def test_a_recording_has_every_frame_at_its_size(
    tmp_path: Path, layout: str, size: tuple[int, int], saved: tuple[int, int]
) -> None:
    path = tmp_path / "out.mp4"
    assert save(path, samples(20, *size, caps=f"format={layout}")) == []
    frames = decoded(path)
    assert len(frames) == 20
    assert frames[0].shape == (saved[1], saved[0], 3)


def test_a_recording_keeps_the_source_rate(tmp_path: Path) -> None:
    save(tmp_path / "out.mp4", samples(50, rate=25))
    times = times_of(tmp_path / "out.mp4")
    assert np.allclose(np.diff(times), 40, atol=1)


def test_uneven_frame_times_are_kept(tmp_path: Path) -> None:
    with output(save=tmp_path / "out.mp4") as (opened, _):
        for index, frame in enumerate(samples(20)):
            if index not in (3, 4, 11):
                opened.push(frame, 0)
    gaps = np.round(np.diff(times_of(tmp_path / "out.mp4")) / (1000 / 30)).astype(int)
    assert sorted(gaps)[-2:] == [2, 3]
    assert len(gaps) == 16


def test_a_recording_shows_the_overlay(tmp_path: Path) -> None:
    save(
        tmp_path / "out.mp4",
        samples(5, 320, 240, pattern="black"),
        scenes=Scenes(scene_of(face_of((90, 90, 190, 190)))),
    )
    picture = decoded(tmp_path / "out.mp4")[-1].astype(int)
    red_less_blue = picture[..., 2] - picture[..., 0]
    assert red_less_blue[80:200, 80:200].max() > 80
    assert np.abs(red_less_blue[120:160, 120:160]).max() < 25


def test_the_source_never_sees_what_is_drawn(tmp_path: Path) -> None:
    frames = list(samples(4))
    before = [bytes_of(frame) for frame in frames]
    save(tmp_path / "out.mp4", iter(frames))
    assert [bytes_of(frame) for frame in frames] == before


@pytest.mark.parametrize("scenes", [Scenes(None), Scenes(error=RuntimeError("board broken"))])
def test_no_frame_is_lost_when_the_scenes_are(tmp_path: Path, scenes: Scenes) -> None:
    assert save(tmp_path / "out.mp4", samples(12), scenes=scenes) == []
    assert len(decoded(tmp_path / "out.mp4")) == 12


def test_reconnects_with_other_sizes_and_rates_go_on_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    parts = [(160, 120, "I420", 30), (320, 120, "NV12", 15), (121, 161, "I420", 25)]
    with output(save=path) as (opened, errors):
        for segment, (width, height, layout, rate) in enumerate(parts):
            for frame in samples(10, width, height, caps=f"format={layout}", rate=rate, pattern="white"):
                opened.push(frame, segment)
    frames, times = decoded(path), times_of(path)
    assert errors == []
    assert [frame.shape[:2] for frame in frames] == [(120, 160)] * 30
    assert np.all(np.diff(times) > 0)
    assert frames[15][60, 80].min() > 200
    assert frames[15][5:].min(axis=(1, 2))[-5:].max() < 40  # letterboxed, not stretched


def test_boxes_stay_on_their_faces_when_the_size_changes(tmp_path: Path) -> None:
    """320x480 letterboxed into 320x240: half the size, with bars of 80 columns at both sides."""
    large = dataclasses.replace(scene_of(face_of((100, 200, 220, 360))), frame_wh=(320, 480))
    with output(save=tmp_path / "out.mp4", scenes=Scenes(large)) as (opened, _):
        for segment, height in enumerate((240, 480)):
            for frame in samples(10, 320, height, pattern="black"):
                opened.push(frame, segment)
    picture = decoded(tmp_path / "out.mp4")[-1].astype(int)
    red_less_blue = picture[..., 2] - picture[..., 0]
    rows, columns = np.nonzero(red_less_blue[95:182] > 80)
    assert 125 <= columns.min() <= 135
    assert 185 <= columns.max() <= 195
    assert 95 + rows.min() <= 105
    assert 95 + rows.max() >= 175


def test_time_goes_on_when_the_source_begins_again(tmp_path: Path) -> None:
    with output(save=tmp_path / "out.mp4") as (opened, _):
        for segment in range(3):
            for frame in samples(8):
                opened.push(frame, segment)
    assert np.allclose(np.diff(times_of(tmp_path / "out.mp4")), 1000 / 30, atol=1)


def test_closing_twice_or_without_a_frame_leaves_nothing_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    for _ in range(3):
        with output(save=tmp_path / "out.mp4", restream=Restream(port=0)) as (opened, errors):
            opened.close()
        opened.close()
    assert errors == []
    assert not (tmp_path / "out.mp4").exists()
    assert threading.active_count() <= before


@pytest.mark.parametrize("used", ["save", "restream"])
def test_ten_outputs_leave_no_thread_and_no_descriptor(tmp_path: Path, used: str) -> None:
    frames = list(samples(3))

    def once() -> None:
        with output(**{used: tmp_path / "out.mp4" if used == "save" else Restream(port=0)}) as (opened, errors):
            for frame in frames:
                opened.push(frame, 0)
        assert errors == []

    once()
    before = Footprint()
    for _ in range(10):
        once()
    before.check()


def test_frames_after_closing_are_counted_as_dropped(tmp_path: Path) -> None:
    observer = ListObserver()
    frames = list(samples(2))
    with output(save=tmp_path / "out.mp4", observer=observer) as (opened, _):
        opened.push(frames[0], 0)
    opened.push(frames[1], 0)
    assert observer.of("frame_dropped") == [("lobby", "video", "newer_frame")]
    assert len(decoded(tmp_path / "out.mp4")) == 1


@pytest.mark.parametrize("is_live", [True, False])
def test_frames_after_drawing_has_failed_are_counted_as_errors(monkeypatch: pytest.MonkeyPatch, is_live: bool) -> None:
    failing = "! identity error-after=2 ! capsfilter name=size"
    monkeypatch.setattr("stream.gst.output.DRAWING", DRAWING.replace("! capsfilter name=size", failing))
    observer, frames = ListObserver(), list(samples(6))
    with output(observer=observer, is_live=is_live) as (opened, errors):
        while not errors:
            opened.push(frames[0], 0)
        observer.events.clear()
        for frame in frames:
            opened.push(frame, 0)
    assert [str(error).split(":")[0] for error in errors] == ["drawing on lobby has stopped"]
    assert observer.of("frame_dropped") == [("lobby", "video", "error")] * 6


@pytest.mark.parametrize("is_served", [True, False])
def test_the_encoder_that_runs_is_named(tmp_path: Path, is_served: bool) -> None:
    targets = {"restream": Restream(port=0)} if is_served else {"save": tmp_path / "out.mp4"}
    with output(**targets) as (opened, _):
        named = opened.encoder
        opened.push(next(samples(1)), 0)
        opened.close()
        encoding = opened._encoding
    assert encoding is not None
    assert encoding._branch is not None
    running = [element.get_factory().get_name() for element in encoding._branch.pipeline.iterate_elements()]
    assert named in running
    assert named in [row.element for row in ENCODERS]


def test_no_encoder_is_named_when_nothing_is_encoded() -> None:
    with output() as (opened, _):
        assert opened.encoder is None


def test_a_live_source_never_waits_and_every_drop_is_counted(tmp_path: Path) -> None:
    """Frames come much faster than they can be encoded: some are saved, the others are counted."""
    observer = ListObserver()
    frames = list(samples(8, 1280, 720, pattern="snow")) * 8
    with output(is_live=True, observer=observer, save=tmp_path / "out.mp4") as (opened, errors):
        for frame in frames:
            opened.push(frame, 0)
    dropped = observer.of("frame_dropped")
    assert errors == []
    assert dropped
    assert set(dropped) == {("lobby", "video", "newer_frame")}
    assert len(decoded(tmp_path / "out.mp4")) + len(dropped) == len(frames)


def test_a_full_disk_stops_the_recording_and_nothing_else(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", kilobytes=96) as disk:
        observer = ListObserver()
        with output(save=disk / "out.mp4", observer=observer, is_live=False) as (opened, errors):
            for frame in samples(120, pattern="snow"):
                opened.push(frame, 0)
        assert len(errors) == 1
        assert "disk is full" in str(errors[0])
        assert len(observer.of("stage_took")) == 120
        assert len(decoded(disk / "out.mp4")) > 5


@pytest.mark.parametrize("is_live", [True, False])
def test_a_disk_that_hangs_holds_neither_the_reader_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_live: bool
) -> None:
    """A pipe that nobody empties: writing to it never returns."""
    monkeypatch.setattr("stream.gst.branch.FINISH_TIMEOUT_S", 1.0)
    monkeypatch.setattr("stream.gst.branch.STOP_TIMEOUT_S", 1.0)
    with pipe_that_nobody_empties(tmp_path / "out.mp4") as path, output(save=path, is_live=is_live) as (opened, _):
        pushed: list[int] = []
        pusher = threading.Thread(target=push_on, args=(opened, pushed), daemon=True)
        pusher.start()
        wait_until_still(pushed)
        closer = threading.Thread(target=opened.close, daemon=True)
        closer.start()
        for thread in (closer, pusher):
            thread.join(60)
            assert not thread.is_alive()
    assert len(pushed) == 150


def push_on(opened: VideoOutput, pushed: list[int]) -> None:
    frames = list(samples(10, 320, 240, pattern="snow"))
    for index in range(150):
        opened.push(frames[index % 10], 0)
        pushed.append(index)


def wait_until_still(pushed: list[int]) -> None:
    """Until nothing was pushed for a second."""
    seen = -1
    while not pushed or len(pushed) != seen:
        seen = len(pushed)
        time.sleep(1)


@contextmanager
def pipe_that_nobody_empties(path: Path) -> Iterator[Path]:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield path
    finally:
        while left := [thread for thread in threading.enumerate() if thread.name == "output-stop"]:
            with suppress(BlockingIOError):
                os.read(reader, 1 << 20)
            left[0].join(0.01)
        os.close(reader)


def test_a_reader_that_waits_for_a_stalled_branch_is_let_go_when_it_does_not_finish() -> None:
    stalled, go_on = slow_branch(waits=True), threading.Event()
    source = stalled.pipeline.get_by_name("in")
    source.get_static_pad("src").add_probe(
        Gst.PadProbeType.BUFFER, lambda *_: Gst.PadProbeReturn.OK if go_on.wait(60) else Gst.PadProbeReturn.DROP
    )
    frames, taken = list(samples(8)), []
    reader = threading.Thread(
        target=lambda: taken.extend(stalled.push(frame.get_buffer(), frame.get_caps()) for frame in frames)
    )
    reader.start()
    while source.get_property("current-level-buffers") < stalled.max_buffers:
        time.sleep(0.01)
    releasing = threading.Timer(3, go_on.set)
    releasing.start()
    assert not stalled.finish(0.2)
    assert stalled.abort.is_set()
    reader.join(30)
    releasing.join()
    assert not reader.is_alive()
    assert not taken[-1]


@contextmanager
def tiny_disk(folder: Path, *, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a full disk needs the right to mount a tmpfs (run as root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_a_playable_recording(tmp_path: Path, end: signal.Signals) -> None:
    path = tmp_path / "out.mp4"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS_RECORDING, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"recorded\n"
    finally:
        process.send_signal(end)
        process.wait(30)
    assert len(decoded(path)) >= 30


ENDLESS_RECORDING = """
import sys
from pathlib import Path
from stream.board import SceneBoard
from stream.gst.output import OutputTargets, VideoOutput
from stream.observers import SilentObserver
from stream.types import StreamName
from tests.stream.gst.drawing_parts import samples

path = Path(sys.argv[1])
output = VideoOutput(StreamName("lobby"), OutputTargets(save=path), SceneBoard(), is_live=False,
                     observer=SilentObserver(), on_error=print)
told = False
for frame in samples(10**6):
    output.push(frame, 0)
    if not told and path.exists() and path.read_bytes().count(b"moof") >= 2:
        told = True
        print("recorded", flush=True)
"""


def test_no_display_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match=r"no display.*--no-display.*--save"), output(display=True):
        pass


def test_a_display_that_does_not_answer_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("stream.gst.recording.WINDOW_SINKS", ("no-such-sink", "xvimagesink", "ximagesink"))
    with pytest.raises(OutputError, match="display cannot be opened"), output(display=True):
        pass
    element_runs.cache_clear()


@pytest.fixture
def a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A display whose window is a sink that keeps time and shows nothing."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("stream.gst.recording.WINDOW_SINKS", ("fakesink",))


@pytest.mark.usefixtures("a_window")
@pytest.mark.parametrize("is_live", [True, False])
def test_a_window_and_a_file_show_the_same_frames(tmp_path: Path, is_live: bool) -> None:
    observer = ListObserver()
    with output(display=True, save=tmp_path / "out.mp4", is_live=is_live, observer=observer) as (opened, errors):
        for frame in samples(10):
            opened.push(frame, 0)
    assert errors == []
    assert len(decoded(tmp_path / "out.mp4")) + len(observer.of("frame_dropped")) >= 10
    assert is_live or not observer.of("frame_dropped")


@pytest.mark.usefixtures("a_window")
def test_a_file_is_shown_no_faster_than_real_time() -> None:
    began = time.monotonic()
    with output(display=True) as (opened, _):
        for frame in samples(30):
            opened.push(frame, 0)
    assert time.monotonic() - began > 0.9


def test_closing_the_window_stops_only_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.gst.output.find_window_sink", lambda: "identity error-after=4 ! fakesink")
    with output(display=True, save=tmp_path / "out.mp4") as (opened, errors):
        for frame in samples(20):
            opened.push(frame, 0)
    assert [str(error).split(" (")[0] for error in errors] == ["the window has gone"]
    assert len(decoded(tmp_path / "out.mp4")) == 20


def test_without_targets_drawing_still_goes_on() -> None:
    observer = ListObserver()
    with output(observer=observer) as (opened, errors):
        assert OutputTargets().is_empty
        for frame in samples(10):
            opened.push(frame, 0)
    assert errors == []
    assert len(observer.of("stage_took")) == 10


def test_a_folder_that_goes_away_is_told_once(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with output(save=folder / "out.mp4") as (opened, errors):
        folder.rmdir()
        for frame in samples(60):
            opened.push(frame, 0)
    assert len(errors) == 1
    assert "out.mp4" in str(errors[0])


def test_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "recordings" / "today" / "out.mp4"
    assert save(path, samples(3)) == []
    assert len(decoded(path)) == 3


def test_a_folder_that_cannot_be_made_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be made.*name another"), output(save=tmp_path / "file" / "out.mp4"):
        pass


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"), output(save=tmp_path):
        pass


def test_a_recording_may_be_named_after_its_start(tmp_path: Path) -> None:
    assert save(tmp_path / "lobby-{time}.mp4", samples(5)) == []
    (written,) = tmp_path.iterdir()
    began = datetime.strptime(written.name, "lobby-%Y-%m-%dT%H-%M-%SZ.mp4").replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - began).total_seconds()) < 60
    assert len(decoded(written)) == 5


def test_a_recording_that_begins_in_the_same_second_writes_over_nothing(tmp_path: Path) -> None:
    now, wanted = datetime(2026, 12, 1, 21, 50, 12, tzinfo=timezone.utc), tmp_path / "lobby-{time}.mp4"
    names = []
    for _ in range(3):
        path = free_dated(wanted, now)
        path.touch()
        names.append(path.name)
    began = "lobby-2026-12-01T21-50-12Z"
    assert names == [f"{began}.mp4", f"{began}-r2.mp4", f"{began}-r3.mp4"]
    plain = tmp_path / "lobby.mp4"
    plain.touch()
    assert free_dated(plain, now) == plain, "without a time it is written over, as it is told to be"


def test_a_recordings_folder_may_be_named_after_its_start_too(tmp_path: Path) -> None:
    moment = datetime(2026, 12, 1, 21, 50, 12, tzinfo=timezone.utc)
    assert dated(tmp_path / "{time}" / "x.mp4", moment) == tmp_path / "2026-12-01T21-50-12Z" / "x.mp4"


def test_checking_a_path_makes_no_file(tmp_path: Path) -> None:
    make_writable(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run as another user")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no permission"):
        make_writable(tmp_path / "out.mp4")


def test_a_failing_target_undoes_those_that_were_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    (tmp_path / "file").touch()
    before = threading.active_count()
    with pytest.raises(OutputError), output(save=tmp_path / "file" / "x.mp4", restream=Restream(port=0)):
        pass
    assert threading.active_count() <= before


def test_larger_pictures_get_more_bits_within_limits() -> None:
    rates = [kbps_of(*size) for size in ((16, 16), (640, 480), (1280, 720), (3840, 2160), (16000, 9000))]
    assert rates == sorted(rates)
    assert rates[2] == 4000
    assert rates[0] >= 400
    assert rates[-1] <= 25000


def plain_error(error: Any, _debug: str | None) -> OutputError:
    return OutputError(error.message)


def slow_branch(*, waits: bool) -> Branch:
    """A branch that takes five frames a second: a window or disk that hangs."""
    launch = "appsrc name=in ! identity sleep-time=200000 ! fakesink async=false"
    return Branch(parsed(launch), BranchHooks([].append, plain_error), waits, 2)


def test_a_branch_that_hangs_refuses_live_frames_at_once() -> None:
    branch, frames = slow_branch(waits=False), list(samples(20))
    taken = [branch.push(frame.get_buffer(), frame.get_caps()) for frame in frames]
    branch.finish(5)
    assert taken[0]
    assert not all(taken)


def test_a_branch_of_a_file_waits_for_room() -> None:
    branch, frames = slow_branch(waits=True), list(samples(6))
    assert all(branch.push(frame.get_buffer(), frame.get_caps()) for frame in frames)
    assert branch.finish()


def test_a_callback_that_raises_becomes_the_branchs_error() -> None:
    errors: list[OutputError] = []

    def broken(_buffer: Any, _caps: Any) -> None:
        raise KeyError("bug")

    hooks = BranchHooks(errors.append, plain_error, broken)
    branch = Branch(parsed("appsrc name=in ! appsink name=out sync=false"), hooks, True)
    for frame in samples(5):
        branch.push(frame.get_buffer(), frame.get_caps())
    branch.finish(5)
    assert branch.has_failed
    assert [str(error) for error in errors] == ["the video output has stopped: KeyError('bug')"]


def test_a_missing_element_is_told_with_the_way_to_mend_it() -> None:
    with pytest.raises(OutputError, match="unmask doctor"):
        parsed("appsrc name=in ! no-such-element-at-all")


def test_a_reader_that_waits_is_let_go_when_its_branch_fails() -> None:
    errors: list[OutputError] = []
    hooks = BranchHooks(errors.append, plain_error)
    branch = Branch(parsed("appsrc name=in ! identity error-after=3 ! fakesink async=false"), hooks, True, 2)
    taken = [branch.push(frame.get_buffer(), frame.get_caps()) for frame in samples(30)]
    began = time.monotonic()
    branch.finish()
    assert time.monotonic() - began < 10
    assert not taken[-1]
    assert len(errors) == 1


def test_gst_is_initialised_by_importing_the_output() -> None:
    assert Gst.is_initialized()


@pytest.mark.parametrize(("version", "mends"), [((1, 20), True), ((1, 22), False), ((1, 26), False)])
def test_fragments_are_mended_where_gstreamer_writes_them_wrong(version: tuple[int, int], mends: bool) -> None:
    assert ("first-moov-then-finalise" in muxer_launch(version)) is mends
