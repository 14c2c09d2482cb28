"""Frames and scenes that the overlay's tests draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Planes
from stream.types import FaceScore, QualityReason, Scene, StreamName, StreamState, TrackId, Verdict

SECOND = 1_000_000_000
NOW_NS = 100 * SECOND
GUARD = 37
"""Value of the bytes around the planes that drawing must not touch."""


class GuardedFrame:
    """Planes inside larger buffers: rows are padded, and every byte outside the picture is watched."""

    def __init__(self, width: int, height: int, *, interleaved: bool, luma: int = 90) -> None:
        half = ((height + 1) // 2, (width + 1) // 2)
        shapes = [(height, width), (*half, 2)] if interleaved else [(height, width), half, half]
        self.buffers = [np.full((s[0] + 4, s[1] + 9, *s[2:]), GUARD, np.uint8) for s in shapes]
        views = [b[2 : 2 + s[0], 5 : 5 + s[1]] for b, s in zip(self.buffers, shapes, strict=True)]
        views[0][...] = luma
        for view in views[1:]:
            view[...] = 128
        self.planes = Planes(views[0], tuple(views[1:]))

    def guards_are_intact(self) -> bool:
        return all(self._is_intact(buffer) for buffer in self.buffers)

    @staticmethod
    def _is_intact(buffer: NDArray[np.uint8]) -> bool:
        outside = np.ones(buffer.shape, bool)
        outside[2:-2, 5:-4] = False
        return bool((buffer[outside] == GUARD).all())


def same_picture(planes: Planes, other: Planes) -> bool:
    return np.array_equal(planes.y, other.y) and all(
        np.array_equal(a, b) for a, b in zip(uv_of(planes), uv_of(other), strict=True)
    )


def uv_of(planes: Planes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if len(planes.chroma) == 1:
        return planes.chroma[0][..., 0], planes.chroma[0][..., 1]
    return planes.chroma[0], planes.chroma[1]


def face_of(
    xyxy: tuple[float, float, float, float] = (200.0, 150.0, 320.0, 300.0),
    verdict: Verdict = Verdict.FAKE,
    probability: float | None = 0.97,
    *,
    track: int = 1,
    reason: QualityReason | None = None,
    velocity: tuple[float, float] = (0.0, 0.0),
    scored_s: float | None = 40.0,
    slots: tuple[bool, ...] = (True,) * 15 + (False,) * 5,
) -> FaceScore:
    history = tuple((round((40 - s) * SECOND), probability or 0.5) for s in range(20, -1, -1))
    scored_ns = None if scored_s is None else round(scored_s * SECOND)
    return FaceScore(TrackId(track), xyxy, verdict, probability, reason, scored_ns, slots, history, velocity)


def scene_of(*faces: FaceScore, state: StreamState = StreamState.PLAYING, captured_ns: int = NOW_NS) -> Scene:
    return Scene(
        StreamName("lobby"),
        faces,
        pts_ns=40 * SECOND,
        published_ns=captured_ns,
        captured_ns=captured_ns,
        fps=29.97,
        latency_ms=84.0,
        model="lite0-gru",
        backend="onnxruntime",
        state=state,
    )
