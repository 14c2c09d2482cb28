"""What H.264 does to faces: a short clip through libx264 and back, as cameras and calls send it (ITU-R BT.601)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.training.degrade import Rgb, Rng, as_rgb
from engines.training.errors import TrainingError

BEST_CRF, WORST_CRF = 18, 40
_BLOCK = 16
"""Of a macroblock: a face lies anywhere on their grid."""
_OPTIONS = {"preset": "veryfast", "tune": "zerolatency"}
"""One thread's answer is the same on every machine; better presets change pictures of this size hardly at all."""
_RATE = 25


def h264(rng: Rng, rgb: Rgb, crf: int) -> Rgb:
    """An (H, W, 3) picture as the first frame of a stream. Raises TrainingError without PyAV."""
    return as_rgb(h264_clip(rng, rgb[None], crf)[0])


def h264_clip(rng: Rng, frames: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    """(T, H, W, 3) encoded as one stream at a constant rate factor, and decoded. Raises TrainingError without PyAV.

    The macroblocks' grid lies anywhere over the picture.
    """
    left, top = (int(offset) for offset in rng.integers(_BLOCK, size=2))
    height, width = frames.shape[1:3]
    padded = [_padded(frame, left, top) for frame in frames]
    sent = _decoded(_encoded([_yuv_from_rgb(frame) for frame in padded], crf))
    if len(sent) != len(frames):
        raise TrainingError(f"the H.264 codec gave {len(sent)} of {len(frames)} frames back: set h264 to 0")
    return np.stack([_rgb_from_yuv(frame)[top : top + height, left : left + width] for frame in sent])


def random_crf(rng: Rng) -> int:
    """From a good recording to a poor call."""
    return int(rng.integers(BEST_CRF, WORST_CRF + 1))


def _padded(rgb: Rgb, left: int, top: int) -> Rgb:
    """Moved on the grid, and to even sides: half of the chroma's samples are sent."""
    height, width = rgb.shape[:2]
    right, bottom = (left + width) % 2, (top + height) % 2
    return as_rgb(cv2.copyMakeBorder(rgb, top, bottom, left, right, cv2.BORDER_REFLECT_101))


def _yuv_from_rgb(rgb: Rgb) -> NDArray[np.uint8]:
    """(H, W, 3) to I420 planes on top of each other, (3 H / 2, W)."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)


def _rgb_from_yuv(yuv: NDArray[np.uint8]) -> Rgb:
    return as_rgb(cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420))


def _encoded(frames: Sequence[NDArray[np.uint8]], crf: int) -> list[Any]:
    """Packets of I420 frames."""
    av = _av()
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames[0].shape[0] * 2 // 3, frames[0].shape[1]
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, _RATE), Fraction(_RATE)
    encoder.options, encoder.thread_count = {"crf": str(crf), **_OPTIONS}, 1
    packets = list[Any]()
    for time, planes in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = time
        packets += encoder.encode(frame)
    return [*packets, *encoder.encode(None)]


def _decoded(packets: Sequence[Any]) -> list[NDArray[np.uint8]]:
    decoder = _av().CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    return [frame.to_ndarray(format="yuv420p") for frame in [*frames, *decoder.decode(None)]]


def _av() -> Any:
    """PyAV, whose FFmpeg is loaded only where a recipe asks for H.264."""
    try:
        import av
    except ImportError:
        raise TrainingError("H.264 needs PyAV: pip install av, or set h264 to 0") from None
    return av
