"""Clips, cameras and taps that the tests of ingest play with. All small, made on the spot."""

from __future__ import annotations

import gc
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
NEEDED = (
    "videotestsrc",
    "x264enc",
    "avdec_h264",
    "avenc_aac",
    "mp4mux",
    "qtdemux",
    "rtspsrc",
    "h264parse",
    "mpegtsmux",
)
PATIENCE_S = 60.0
"""How long a test waits for something that must come: the machine may be busy."""

try:
    import gi

    for namespace in ("Gst", "GstVideo", "GstApp", "GstPbutils", "GstRtspServer"):
        gi.require_version(namespace, "1.0")
    from gi.repository import Gst

    Gst.init(None)
    MISSING = [name for name in NEEDED if Gst.ElementFactory.find(name) is None]
except (ImportError, ValueError) as error:
    MISSING = [str(error)]


def need_gst() -> None:
    """Call at the top of a test module: skips it where GStreamer's parts are missing, or fails with REQUIRE_GST=1."""
    if not MISSING:
        return
    reason = f"GStreamer lacks {', '.join(MISSING)}"
    if os.environ.get("REQUIRE_GST") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def refusal_of_a_wrong_path() -> str:
    """The pretend camera's reason: GStreamer's server of 1.20 answers 401 where later ones answer 404."""
    return "not_found" if Gst.version() >= (1, 22) else "unauthorized"


def play(text: str) -> None:
    """Run a pipeline to its end."""
    pipeline = Gst.parse_launch(text)
    pipeline.set_state(Gst.State.PLAYING)
    wanted = Gst.MessageType.EOS | Gst.MessageType.ERROR
    message = pipeline.get_bus().timed_pop_filtered(round(PATIENCE_S * Gst.SECOND), wanted)
    pipeline.set_state(Gst.State.NULL)
    if message is None or message.type == Gst.MessageType.ERROR:
        raise RuntimeError(f"no clip: {text}: {message and message.parse_error()}")


def encoded(frames: int, width: int, height: int, *, rate: int = 30) -> str:
    """Launch text of a short H.264 stream with a key frame every ten."""
    return (
        f"videotestsrc num-buffers={frames} pattern=ball ! video/x-raw,format=I420,width={width},height={height},"
        f"framerate={rate}/1 ! x264enc key-int-max=10 tune=zerolatency speed-preset=ultrafast threads=1"
    )


def clip(path: Path, *, frames: int = 30, width: int = 160, height: int = 120, rate: int = 30) -> Path:
    """An mp4 with its index at the end."""
    play(f"{encoded(frames, width, height, rate=rate)} ! mp4mux ! filesink location={path}")
    return path


def turned(path: Path) -> Path:
    """Write into an mp4 that it is to be shown turned by 90 degrees, as phones do (ISO 14496-12, tkhd's matrix)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    path.write_bytes(bytes(data))
    return path


def sample_of(pts_ns: int, width: int = 16, height: int = 16) -> Any:
    """A grey I420 Gst.Sample."""
    buffer = Gst.Buffer.new_wrapped(bytes([128]) * (width * height * 3 // 2))
    buffer.pts = pts_ns
    caps = Gst.Caps.from_string(f"video/x-raw,format=I420,width={width},height={height},framerate=30/1")
    segment = Gst.Segment()
    segment.init(Gst.Format.TIME)
    return Gst.Sample.new(buffer, caps, segment, None)


def wait_until(is_so: Callable[[], Any], what: str) -> None:
    """Fails the test when it does not become so in a long time."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(0.01)


POOL_THREADS = 2
"""Threads that GLib keeps for GStreamer's next task; the others of a stopped pipeline end by and by, when idle."""


class Footprint:
    """What this process held when it was taken: threads and descriptors, Python's and GStreamer's."""

    def __init__(self) -> None:
        self._threads, self._descriptors = self._now()

    def check(self) -> None:
        """Fails the test when more is held for good: idle threads of earlier pipelines get time to end."""
        wait_until(self._is_back, f"threads and descriptors to go back to {self._threads} and {self._descriptors}")

    def _is_back(self) -> bool:
        threads, descriptors = self._now()
        return threads <= self._threads + POOL_THREADS and descriptors <= self._descriptors + 2

    def _now(self) -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


class Tap:
    """A VideoTap that remembers (segment, width, height) of every frame."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []

    def push(self, sample: Any, segment: int) -> None:
        picture = sample.get_caps().get_structure(0)
        self.seen.append((segment, picture.get_value("width"), picture.get_value("height")))


class CameraProcess:
    """``python -m stream.gst.camera`` in a process of its own, so that it can be frozen and killed."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command: Sequence[str] = (sys.executable, "-m", "stream.gst.camera", *arguments)
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **(environment or {})}
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> CameraProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
