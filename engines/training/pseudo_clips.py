"""Clips made of stills: one face under a hand-held camera, so that one picture a video also trains the temporal head.

Within a clip the person, the light and the stream stay the same; framing and exposure drift smoothly, and noise and
compression are drawn anew for every frame, as they are in a real stream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.training.augment import Framing, frame_face
from engines.training.degrade import Rgb, Rng, add_noise, as_rgb, jpeg, shift_colour, to_bytes
from engines.training.h264 import h264_clip, random_crf

Seconds = NDArray[np.float64]
UNCOMPRESSED = 100


@dataclass(frozen=True)
class Stream:
    """What one camera and one encoder do to every frame of a clip."""

    resolution: float
    """Side of the transmitted face as a fraction of the network's input; 1 leaves it alone."""
    noise: float
    """Standard deviation on the 0-255 scale."""
    quality: int
    """JPEG quality; above 95 nothing is compressed."""


def clip_of(rng: Rng, still: Rgb, seconds: Seconds, size: int, h264: float = 0.0) -> NDArray[np.uint8]:
    """(T, size, size, 3) RGB at the given times, all from one (H, H, 3) still.

    ``h264``: how often the clip is sent as H.264 rather than picture by picture.
    """
    if rng.random() < 0.5:
        still = np.ascontiguousarray(still[:, ::-1])
    if rng.random() < 0.5:
        still = shift_colour(rng, still, 0.08)
    stream, exposures = random_stream(rng), 1 + _drift(rng, seconds, 0.06)
    framings = camera_path(rng, still.shape[0], seconds)
    frames = [frame_face(still, framing, size) for framing in framings]
    crf = random_crf(rng) if h264 and rng.random() < h264 else None
    if crf is not None:
        stream = replace(stream, quality=UNCOMPRESSED)
    sent = np.stack([_sent(rng, frame, gain, stream) for frame, gain in zip(frames, exposures, strict=True)])
    return sent if crf is None else h264_clip(rng, sent, crf)


def camera_path(rng: Rng, side: int, seconds: Seconds) -> list[Framing]:
    """Smooth pan, zoom and turn around a random base framing of 0.8-1 of the still's side."""
    base = rng.uniform(0.8, 1.0)
    crops = side * base * (1 + _drift(rng, seconds, 0.04))
    reach = (1 - base) / 2 + 0.02
    xs, ys = (side * (0.5 + _drift(rng, seconds, reach)) for _ in range(2))
    turns = rng.uniform(-4, 4) + _drift(rng, seconds, 4.0)
    return [Framing(*map(float, values)) for values in zip(xs, ys, crops, turns, strict=True)]


def random_stream(rng: Rng) -> Stream:
    """From a clean studio feed to a poor call."""
    resolution = rng.uniform(0.45, 0.95) if rng.random() < 0.35 else 1.0
    noise = rng.uniform(0.5, 6.0) if rng.random() < 0.5 else 0.0
    return Stream(resolution, noise, int(rng.integers(35, 96)) if rng.random() < 0.7 else UNCOMPRESSED)


def _drift(rng: Rng, seconds: Seconds, reach: float) -> Seconds:
    """Two slow waves of random period and phase: within ``reach`` of zero, and never a jump."""
    periods, phases = rng.uniform(1.5, 9.0, 2), rng.uniform(0, 2 * np.pi, 2)
    waves = np.sin(2 * np.pi * seconds[:, None] / periods + phases)
    return np.asarray(reach * rng.uniform(0.2, 1.0) * waves.mean(1), np.float64)


def _sent(rng: Rng, frame: Rgb, exposure: float, stream: Stream) -> Rgb:
    """One frame as it arrives."""
    frame = to_bytes(frame.astype(np.float32) * np.float32(exposure))
    if stream.resolution < 1:
        frame = _through_fewer_pixels(frame, stream.resolution)
    if stream.noise:
        frame = add_noise(rng, frame, stream.noise)
    return jpeg(frame, stream.quality) if stream.quality <= 95 else frame


def _through_fewer_pixels(frame: Rgb, resolution: float) -> Rgb:
    side = frame.shape[0]
    small = max(20, round(side * resolution))
    reduced = cv2.resize(frame, (small, small), interpolation=cv2.INTER_AREA)
    return as_rgb(cv2.resize(reduced, (side, side), interpolation=cv2.INTER_LINEAR))
