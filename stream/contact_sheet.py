"""A video at a glance: frames evenly spread over its time, with their times, in one PNG."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engines.preprocess import Bytes
from stream.errors import OutputError

GAP_PX = 8
GROUND = (13, 17, 23)


def write_contact_sheet(video: Path, png: Path, *, columns: int = 4, rows: int = 3, width_px: int = 1600) -> None:
    """Write ``columns`` x ``rows`` frames of ``video`` to ``png``. Raises OutputError when it cannot."""
    frames = sample_frames(video, columns * rows)
    tile_width = (width_px - GAP_PX * (columns + 1)) // columns
    tiles = [_tile(rgb, time_s, tile_width) for time_s, rgb in frames]
    sheet = _sheet(tiles, columns)
    try:
        sheet.save(png, format="PNG", optimize=True)
    except OSError as error:
        raise OutputError(f"cannot write {png}: {error.strerror or error}; choose another file") from error


def sample_frames(video: Path, count: int) -> list[tuple[float, Bytes]]:
    """(seconds, (H, W, 3) RGB) of up to ``count`` frames, in the middle of equal spans. Decodes the file twice:

    a fragmented mp4 says little about its length, and seeking in it is not exact.
    """
    total = _count_frames(video)
    wanted = {int(total * (index + 0.5) / count) for index in range(count)}
    return _frames_at(video, wanted)


def _count_frames(video: Path) -> int:
    capture = _opened(video)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    if not count:
        raise OutputError(f"cannot read {video}: there is no frame in it")
    return count


def _frames_at(video: Path, wanted: set[int]) -> list[tuple[float, Bytes]]:
    frames: list[tuple[float, Bytes]] = []
    capture, index = _opened(video), 0
    while capture.grab():
        if index in wanted:
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            _, bgr = capture.retrieve()
            frames.append((time_s, np.ascontiguousarray(bgr[..., ::-1], dtype=np.uint8)))
        index += 1
    capture.release()
    return frames


def _opened(video: Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise OutputError(f"cannot read {video}: it is not a video that can be opened")
    return capture


def _tile(rgb: Bytes, time_s: float, width: int) -> Image.Image:
    height = max(1, round(rgb.shape[0] * width / rgb.shape[1]))
    tile = Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS)
    _stamp(tile, f"{int(time_s // 60)}:{time_s % 60:04.1f}")
    return tile


def _stamp(tile: Image.Image, text: str) -> None:
    """The time in the lower left corner, on a dark ground."""
    size = max(10, tile.width // 26)
    font = ImageFont.load_default(size)
    pen, pad = ImageDraw.Draw(tile), size // 3
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    box = (pad, tile.height - (bottom - top) - 3 * pad, right - left + 3 * pad, tile.height - pad)
    pen.rounded_rectangle(box, radius=pad, fill=GROUND)
    pen.text((box[0] + pad - left, box[1] + pad - top), text, font=font, fill=(255, 255, 255))


def _sheet(tiles: list[Image.Image], columns: int) -> Image.Image:
    width, height = tiles[0].width, max(tile.height for tile in tiles)
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP_PX) + GAP_PX, rows * (height + GAP_PX) + GAP_PX), GROUND)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet.paste(tile, (GAP_PX + column * (width + GAP_PX), GAP_PX + row * (height + GAP_PX)))
    return sheet
