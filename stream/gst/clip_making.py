"""Clips made from clips, for benchmarks: another size, rate or length, or one cut laid out several times."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

from stream.errors import MissingPartError, SourceError  # noqa: E402
from stream.gst.codecs import pick_encoder  # noqa: E402
from stream.gst.session import element_runs  # noqa: E402

Gst.init(None)

KBPS_PER_MEGAPIXEL = 3250
"""3 Mbit/s for 720p, as a camera sends; other sizes in proportion."""
TILES = (5, 4)
"""Columns and rows that a cut is laid out in."""
GIVE_UP_S = 300


@dataclass(frozen=True)
class ClipShape:
    """What a made clip is like."""

    width: int = 1280
    height: int = 720
    fps: int = 25
    seconds: float = 10.0
    tiles: int = 0
    """0: the whole picture. Otherwise a cut of 2/5 by 1/2 of it around ``cut_at``, so many times on a 5 x 4 grid."""
    cut_at: tuple[float, float] = (0.44, 0.40)
    """Middle of the cut, as fractions of the picture."""

    @property
    def name(self) -> str:
        """Fit for a file name."""
        return f"{self.width}x{self.height}p{self.fps}-{self.seconds:g}s" + (f"-{self.tiles}t" if self.tiles else "")


def ensure_shaped(source: Path, folder: Path, shape: ClipShape) -> Path:
    """A clip of ``shape`` made from ``source``, kept in ``folder`` and made anew only when the source changes.

    Raises SourceError when the source cannot be played, MissingPartError without an H.264 encoder.
    """
    if not source.is_file():
        raise SourceError(f"no file at {source}: check the path", reason="not_found")
    found = source.stat()
    made = folder / f"{source.stem}-{found.st_size}-{found.st_mtime_ns}-{shape.name}.mp4"
    if not made.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        partial = made.with_suffix(".partial")
        try:
            _run(
                shape_launch(shape, pick_encoder(element_runs).launch("live", kbps=_kbps(shape), gop=25)),
                source,
                partial,
                round(shape.fps * shape.seconds),
            )
            os.replace(partial, made)
        finally:
            partial.unlink(missing_ok=True)
    return made


def _kbps(shape: ClipShape) -> int:
    return max(300, round(KBPS_PER_MEGAPIXEL * shape.width * shape.height / 1e6))


def shape_launch(shape: ClipShape, encoder: str) -> str:
    """Launch text from ``source`` to ``target``, both files, by way of ``end``, where raw pictures can be counted."""
    raw = f"video/x-raw,format=(string)I420,framerate={shape.fps}/1"
    scaled = f"{raw},width={shape.width},height={shape.height},pixel-aspect-ratio=1/1"
    head = f"filesrc name=source ! decodebin ! videoconvert ! videorate ! {raw} "
    tail = f"identity name=end ! {encoder} ! h264parse ! mp4mux ! filesink name=target"
    if not shape.tiles:
        return f"{head} ! videoscale ! {scaled} ! {tail}"
    return f"{head} ! {_cut(shape)} ! tee name=cut {_tiles(shape)} grid. ! videoconvert ! {scaled} ! {tail}"


def _cut(shape: ClipShape) -> str:
    """Scales to the final size first, so that the cut is in known pixels."""
    width, height = shape.width * 2 // 5, shape.height // 2
    left = round(min(max(shape.cut_at[0] * shape.width - width / 2, 0), shape.width - width))
    top = round(min(max(shape.cut_at[1] * shape.height - height / 2, 0), shape.height - height))
    right, bottom = shape.width - width - left, shape.height - height - top
    tile = f"video/x-raw,width={shape.width // TILES[0]},height={shape.height // TILES[1]}"
    whole = f"video/x-raw,width={shape.width},height={shape.height},pixel-aspect-ratio=1/1"
    crop = f"videocrop left={left} top={top} right={right} bottom={bottom}"
    return f"videoscale ! {whole} ! {crop} ! videoscale ! {tile}"


def _tiles(shape: ClipShape) -> str:
    width, height = shape.width // TILES[0], shape.height // TILES[1]
    places = [(tile % TILES[0] * width, tile // TILES[0] * height) for tile in range(shape.tiles)]
    pads = [f"sink_{tile}::xpos={x} sink_{tile}::ypos={y}" for tile, (x, y) in enumerate(places)]
    feeds = [f"cut. ! queue ! grid.sink_{tile}" for tile in range(shape.tiles)]
    return f"compositor name=grid background=black {' '.join(pads)} {' '.join(feeds)}"


def _run(launch: str, source: Path, target: Path, pictures: int) -> None:
    try:
        pipeline = Gst.parse_launch(launch)
    except GLib.Error as error:
        raise MissingPartError(f"GStreamer cannot make the clip ({error.message}): run unmask doctor") from error
    pipeline.get_by_name("source").set_property("location", str(source))
    pipeline.get_by_name("target").set_property("location", str(target))
    _end_after(pictures, pipeline.get_by_name("end").get_static_pad("src"))
    pipeline.set_state(Gst.State.PLAYING)
    try:
        wanted = Gst.MessageType.ERROR | Gst.MessageType.EOS
        message: Any = pipeline.get_bus().timed_pop_filtered(GIVE_UP_S * Gst.SECOND, wanted)
    finally:
        pipeline.set_state(Gst.State.NULL)
    if message is None or message.type == Gst.MessageType.ERROR:
        reason = "it took too long" if message is None else message.parse_error()[0].message
        raise SourceError(f"{source} cannot be made into a clip ({reason}): give another file")


def _end_after(pictures: int, pad: Any) -> None:
    """The end, as soon as so many have passed: what decoders still bring is dropped, where ``identity`` lets it by."""
    passed = 0

    def count(pad: Any, _info: Any) -> Any:
        nonlocal passed
        passed += 1
        if passed == pictures + 1:
            pad.push_event(Gst.Event.new_eos())
        return Gst.PadProbeReturn.OK if passed <= pictures else Gst.PadProbeReturn.DROP

    pad.add_probe(Gst.PadProbeType.BUFFER, count)
