"""Decoded buffers as NumPy views, without a copy and by stride: rows are padded wherever the width is odd enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

from engines.preprocess import Bytes, Planes  # noqa: E402
from stream.errors import SourceError  # noqa: E402

FULL_RANGE = 1
"""GST_VIDEO_COLOR_RANGE_0_255, whose name is no Python name."""
Layout = tuple[tuple[int, int], ...]
"""(offset, stride) in bytes of each plane."""


def map_planes(buffer: Any, info: Any) -> tuple[Planes, Callable[[], None]]:
    """Read-only views of a Gst.Buffer, and what gives the memory back. After that the views must not be touched.

    ``info``: the caps' GstVideo.VideoInfo (I420 or NV12). The views stay good while the buffer is alive. Raises
    SourceError when the memory cannot be read.
    """
    is_mapped, mapped = buffer.map(Gst.MapFlags.READ)
    if not is_mapped:
        raise SourceError("a decoded frame's memory cannot be read: try another decoder")
    planes = planes_from_bytes(mapped.data, layout_of(buffer, info), info)
    return planes, _Unmap(buffer, mapped)


def sample_from_i420(picture: Bytes, fps: float, pts_ns: int) -> Any:
    """A Gst.Sample with a copy of an I420 picture of (H * 3 / 2, W) bytes; 8 divides its sides, so no row is padded."""
    rows, width = picture.shape
    buffer = Gst.Buffer.new_wrapped(picture.tobytes())
    buffer.pts = pts_ns
    rate = f"{round(1000 * fps)}/1000"
    caps = f"video/x-raw,format=I420,width={width},height={rows * 2 // 3},framerate={rate},pixel-aspect-ratio=1/1"
    segment = Gst.Segment()
    segment.init(Gst.Format.TIME)
    return Gst.Sample.new(buffer, Gst.Caps.from_string(caps), segment, None)


def video_info(caps: Any) -> Any:
    """GstVideo.VideoInfo of raw video caps. Raises SourceError for anything else."""
    info = GstVideo.VideoInfo.new_from_caps(caps)
    if info is None or info.finfo.n_planes not in (2, 3):
        raise SourceError("the source's frames are neither I420 nor NV12: this is a bug, please report it")
    return info


def running_ns(sample: Any) -> int | None:
    """Media time of a sample since its pipeline began; None when it bears no time stamp."""
    pts_ns = sample.get_buffer().pts
    if pts_ns == Gst.CLOCK_TIME_NONE:
        return None
    told_ns = sample.get_segment().to_running_time(Gst.Format.TIME, pts_ns)
    return None if told_ns == Gst.CLOCK_TIME_NONE else int(told_ns)


def layout_of(buffer: Any, info: Any) -> Layout:
    """Where the planes lie: from the buffer's own meta, else from the caps."""
    meta = GstVideo.buffer_get_video_meta(buffer)
    told = meta if meta is not None else info
    return tuple((told.offset[plane], told.stride[plane]) for plane in range(info.finfo.n_planes))


def planes_from_bytes(data: Any, layout: Layout, info: Any) -> Planes:
    """Views into ``data`` (any buffer of bytes); writable when it is."""
    half_width, half_height = (info.width + 1) // 2, (info.height + 1) // 2
    inner = (half_width, 2) if len(layout) == 2 else (half_width,)
    luma = _view(data, layout[0], info.height, (info.width,))
    chroma = tuple(_view(data, part, half_height, inner) for part in layout[1:])
    return Planes(luma, chroma, _matrix(info), int(info.colorimetry.range) == FULL_RANGE)


def _view(data: Any, part: tuple[int, int], rows: int, inner: tuple[int, ...]) -> Bytes:
    offset, stride = part
    strides = (stride, 1) if len(inner) == 1 else (stride, 2, 1)
    view: Bytes = np.ndarray((rows, *inner), np.uint8, data, offset, strides)
    return view


def _matrix(info: Any) -> Literal["bt601", "bt709"]:
    return "bt709" if info.colorimetry.matrix == GstVideo.VideoColorMatrix.BT709 else "bt601"


class _Unmap:
    """Unmaps once, however often it is called."""

    def __init__(self, buffer: Any, mapped: Any) -> None:
        self._buffer, self._mapped = buffer, mapped

    def __call__(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.unmap(self._mapped)
