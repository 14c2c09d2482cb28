"""How the demo's camera moves and sees: pan, zoom, roll, shake, exposure, sensor noise. Deterministic by seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Bytes

PAN_PX = (34.0, 20.0)
"""Amplitude of the slow drift, across and down."""
SHAKE_PX = 1.3
"""Standard deviation of the hand's shake."""
ZOOM = 0.05
ROLL_DEGREES = 1.6
EXPOSURE = 0.06
"""Relative swing of the exposure."""
TINT = 0.012
"""Relative swing of red against blue: the white balance wanders."""
NOISE = 2.4
"""Standard deviation of the sensor's noise, on the 0-255 scale."""
TILES = 6
TILE_MARGIN = 64


@dataclass(frozen=True)
class Pose:
    """Where the camera looks in one frame, and how it sees."""

    dx: float
    dy: float
    zoom: float
    roll_degrees: float
    gain: tuple[float, float, float]
    """Of red, green and blue."""


def camera_path(frames: int, fps: int, rng: np.random.Generator) -> list[Pose]:
    """One pose per frame, smooth in time."""
    t = np.arange(frames) / fps
    shake = _shake(frames, rng)
    drift = {name: _drift(t, period_s, rng) for name, period_s in _PERIODS_S.items()}
    exposure, tint = EXPOSURE * drift["exposure"], TINT * drift["tint"]
    return [
        Pose(
            dx=float(PAN_PX[0] * drift["dx"][i] + shake[0, i]),
            dy=float(PAN_PX[1] * drift["dy"][i] + shake[1, i]),
            zoom=float(1 + ZOOM * (1 + drift["zoom"][i])),
            roll_degrees=float(ROLL_DEGREES * drift["roll"][i]),
            gain=_gain(float(exposure[i]), float(tint[i])),
        )
        for i in range(frames)
    ]


_PERIODS_S = {"dx": 9.0, "dy": 7.0, "zoom": 13.0, "roll": 11.0, "exposure": 8.0, "tint": 17.0}


def _gain(exposure: float, tint: float) -> tuple[float, float, float]:
    return (1 + exposure) * (1 + tint), 1 + exposure, (1 + exposure) * (1 - tint)


def _drift(t: NDArray[np.float64], period_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A slow wave within -1..1 that does not repeat soon."""
    phases = rng.uniform(0, 2 * np.pi, 2)
    wave = 0.7 * np.sin(2 * np.pi * t / period_s + phases[0]) + 0.3 * np.sin(5.1 * t / period_s * 2 + phases[1])
    return np.asarray(wave)


def _shake(frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, frames) pixels: low-passed noise, as hands do it."""
    kernel = np.exp(-0.5 * (np.arange(-8, 9) / 3.0) ** 2)
    raw = rng.normal(size=(2, frames + 16))
    smooth = np.stack([np.convolve(axis, kernel, mode="valid") for axis in raw])
    return np.asarray(SHAKE_PX * smooth / np.sqrt((kernel**2).sum()))


class Camera:
    """Takes pictures of a scene larger than the frame."""

    def __init__(self, size_wh: tuple[int, int], rng: np.random.Generator) -> None:
        self._size_wh = size_wh
        self._rng = rng
        width, height = size_wh
        shape = (height + TILE_MARGIN, width + TILE_MARGIN, 3)
        self._tiles = [np.round(rng.normal(0, NOISE, shape)).astype(np.int16) for _ in range(TILES)]

    def shoot(self, scene: Bytes, pose: Pose) -> Bytes:
        """(H, W, 3) RGB of the (larger) scene from this pose."""
        moved = cv2.warpAffine(
            scene, self._view(scene, pose), self._size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        exposed = cv2.multiply(moved, np.array([*pose.gain, 0.0]))  # a scalar: one factor per channel
        return np.asarray(cv2.add(exposed, self._noise(), dtype=cv2.CV_8U), np.uint8)

    def _view(self, scene: Bytes, pose: Pose) -> NDArray[np.float64]:
        """(2, 3) affine map from scene to frame: about the scene's centre."""
        centre = (scene.shape[1] / 2, scene.shape[0] / 2)
        view = cv2.getRotationMatrix2D(centre, pose.roll_degrees, pose.zoom)
        view[0, 2] += self._size_wh[0] / 2 - centre[0] + pose.dx
        view[1, 2] += self._size_wh[1] / 2 - centre[1] + pose.dy
        return np.asarray(view, np.float64)

    def _noise(self) -> NDArray[np.int16]:
        """A random piece of a random tile, contiguous rows."""
        left, top = self._rng.integers(0, TILE_MARGIN, 2)
        tile = self._tiles[self._rng.integers(0, TILES)]
        return tile[top : top + self._size_wh[1], left : left + self._size_wh[0]]
