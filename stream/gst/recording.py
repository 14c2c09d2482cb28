"""Where drawn video goes: a window, an mp4, clients on the network. Each is a branch of its own."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

from stream.errors import OutputError, WindowLostError  # noqa: E402
from stream.gst.branch import Branch, BranchHooks, OnSample, parsed  # noqa: E402
from stream.gst.codecs import EncoderRow, Purpose, pick_encoder  # noqa: E402
from stream.gst.session import element_runs  # noqa: E402

Gst.init(None)

ENCODED_QUEUE = 60
RAW_QUEUE = 6
FRAGMENT_MS = 1000
"""A killed process or a full disk costs at most this much of the recording."""
UNBUFFERED = 2
"""filesink's buffer-mode: a fragment that waits in the process dies with it."""
WINDOW_SINKS = ("glimagesink", "waylandsink", "xvimagesink", "ximagesink")
OnError = Callable[[OutputError], None]


def muxer_launch(gst_version: tuple[int, int]) -> str:
    """A file that plays however it ends. GStreamer 1.20 (JetPack 6) writes wrong offsets into its fragments.

    Its own players get over that, FFmpeg's see one frame; an index at the end of the file puts it right there.
    """
    mends_offsets = " fragment-mode=first-moov-then-finalise" if gst_version < (1, 22) else ""
    return f"mp4mux fragment-duration={FRAGMENT_MS}{mends_offsets}"


def dated(path: Path, now: datetime) -> Path:
    """``path`` with ``{time}`` in it replaced: UTC to the second, as in ``2026-12-01T21-50-12Z``."""
    return Path(str(path).replace("{time}", now.astimezone(timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")))


def free_dated(path: Path, now: datetime) -> Path:
    """``dated``, and numbered where a recording of this second is there already: it promises to write over nothing."""
    first = free = dated(path, now)
    number = 2
    while first != path and free.exists():
        free, number = first.with_stem(f"{first.stem}-r{number}"), number + 1
    return free


def make_writable(path: Path) -> None:
    """Makes the folder of ``path`` where it is missing. Raises OutputError when no file can be written there."""
    if path.is_dir():
        raise OutputError(f"cannot save to {path}: it is a folder; give a file name such as {path / 'out.mp4'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"cannot save to {path}: the folder {path.parent} cannot be made ({error.strerror}); name another"
        raise OutputError(why) from error
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"cannot save to {path}: no permission to write there")


def file_branch(path: Path, on_error: OnError, abort: threading.Event) -> Branch:
    """H.264 into a fragmented mp4, which stays playable however the process ends."""
    launch = f"appsrc name=in ! h264parse ! {muxer_launch(Gst.version()[:2])} ! filesink name=file"
    pipeline = parsed(launch)
    sink = pipeline.get_by_name("file")
    sink.set_property("location", str(path))
    sink.set_property("async", False)
    sink.set_property("buffer-mode", UNBUFFERED)
    hooks = BranchHooks(on_error, partial(file_error, path))
    # It waits, for live sources too: a lost access unit would spoil the rest.
    return Branch(pipeline, hooks, True, ENCODED_QUEUE, abort)


def file_error(path: Path, error: Any, debug: str | None) -> OutputError:
    """What went wrong while recording, in one line."""
    if error.matches(Gst.ResourceError.quark(), Gst.ResourceError.NO_SPACE_LEFT) or "No space left" in str(debug):
        return OutputError(f"the disk is full: recording to {path} has stopped; what was recorded is playable")
    return OutputError(f"recording to {path} has stopped: {error.message}")


def find_encoder() -> EncoderRow:
    """The best H.264 encoder that this machine can really open. Raises MissingPartError when there is none."""
    return pick_encoder(element_runs)


@dataclass(frozen=True)
class Encoding:
    """How drawn frames become H.264."""

    encoder: EncoderRow
    purpose: Purpose
    waits: bool
    paced: bool
    """No faster than real time, for clients that watch a file."""


def encode_branch(
    encoding: Encoding, caps: Any, on_sample: OnSample, on_error: OnError, abort: threading.Event
) -> Branch:
    """Drawn frames of ``caps`` to H.264 access units. 4:2:0 encoders want even sizes: odd columns and rows go."""
    info = GstVideo.VideoInfo.new_from_caps(caps)
    encoder = encoding.encoder.launch(encoding.purpose, kbps=kbps_of(info.width, info.height))
    launch = (
        f"appsrc name=in ! videocrop right={info.width % 2} bottom={info.height % 2} ! videoconvert ! {encoder} "
        "! h264parse ! video/x-h264,stream-format=(string)avc,alignment=(string)au "
        f"! appsink name=out async=false sync={str(encoding.paced).lower()} max-buffers=4"
    )
    hooks = BranchHooks(on_error, _encode_error, on_sample)
    return Branch(parsed(launch), hooks, encoding.waits, RAW_QUEUE, abort)


def kbps_of(width: int, height: int) -> int:
    """4 Mbit/s at 720p; larger pictures need less for each pixel."""
    kbps = 4000 * math.pow(width * height / (1280 * 720), 0.75)
    return round(min(max(kbps, 400.0), 25000.0))


def _encode_error(error: Any, _debug: str | None) -> OutputError:
    return OutputError(f"encoding has stopped: {error.message}; nothing more is saved or restreamed")


def window_branch(sink: str, on_error: OnError, abort: threading.Event, *, is_live: bool) -> Branch:
    """A window; files play in real time, live video as it comes."""
    launch = (
        f"appsrc name=in ! videoconvert ! {sink} name=window sync={str(not is_live).lower()} qos=false max-lateness=-1"
    )
    return Branch(parsed(launch), BranchHooks(on_error, _window_error), not is_live, 3, abort)


def _window_error(error: Any, _debug: str | None) -> OutputError:
    return WindowLostError(f"the window has gone ({error.message}); the other outputs go on")


def find_window_sink() -> str:
    """The first video sink that can really open this machine's display. Raises OutputError when there is none."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OutputError("no display here; use --no-display, or --save to record instead")
    for name in WINDOW_SINKS:
        if element_runs(name):
            return name
    raise OutputError("the display cannot be opened; use --no-display, or --save to record instead")
