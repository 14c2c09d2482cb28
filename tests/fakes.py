"""Fakes that tests run the whole analysis on: as strict as the real parts, and scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from engines.preprocess import BoxGeometry, Planes
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.spec import Calibration, ModelSpec, PixelSpec, WindowSpec
from stream.errors import SourceError
from stream.types import FaceBox, Frame, Scene, StreamName, StreamState

SECOND = 1_000_000_000
SIZE, FEATURES, SLOTS = 32, 4, 20


def planes_of(width: int = 320, height: int = 240, *, luma: int = 128, seed: int = 0) -> Planes:
    """Noise around ``luma`` with neutral chroma: bright and sharp enough for the quality gate."""
    rng = np.random.default_rng(seed)
    y = np.clip(rng.normal(luma, 30, (height, width)), 16, 235).astype(np.uint8)
    chroma = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    return Planes(y, (chroma, chroma.copy()))


def frame_of(
    pts_s: float, *, stream: str = "cam", segment: int = 0, planes: Planes | None = None, release: Any = None
) -> Frame:
    pts_ns = round(pts_s * SECOND)
    return Frame(StreamName(stream), planes or planes_of(), pts_ns, pts_ns, segment, release or (lambda: None))


def spec_of(*, period_s: float = 0.2, min_samples: int = 5, positive: Any = "fake") -> ModelSpec:
    return ModelSpec(
        name="scripted",
        pixels=PixelSpec(size=SIZE, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)),
        window=WindowSpec(slots=SLOTS, period_s=period_s, min_samples=min_samples, feature_dim=FEATURES),
        positive_class=positive,
        calibration=Calibration(temperature=1.0),
        frame_calibration=Calibration(temperature=1.0),
        files={},
    )


def backbone_of(features: Callable[[Array], Array] | None = None) -> ScriptedBackend:
    """Features are the crop's mean per channel and a one, unless ``features`` says otherwise."""

    def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
        crops = arrays["crops"]
        values = features(crops) if features else np.pad(crops.mean((2, 3)), ((0, 0), (0, 1)), constant_values=1.0)
        return {"features": values.astype(np.float32), "frame_logit": np.zeros((len(crops), 1), np.float32)}

    outputs = (TensorSpec("features", (None, FEATURES)), TensorSpec("frame_logit", (None, 1)))
    return ScriptedBackend((TensorSpec("crops", (None, 3, SIZE, SIZE)),), outputs, run)


def head_of(logit: float | Callable[[Array, Array], Array]) -> ScriptedBackend:
    """Always ``logit``, or what the function makes of features (N, T, F) and mask (N, T)."""

    def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
        features, mask = arrays["features"], arrays["mask"]
        values = logit(features, mask) if callable(logit) else np.full(len(features), logit)
        return {"logit": np.asarray(values, np.float32).reshape(-1, 1)}

    inputs = (TensorSpec("features", (None, SLOTS, FEATURES)), TensorSpec("mask", (None, SLOTS)))
    return ScriptedBackend(inputs, (TensorSpec("logit", (None, 1)),), run)


class FixedDetector:
    """Finds what ``faces`` says, whatever the picture."""

    name, backend_name, precision = "fixed", "scripted", "fp32"
    geometry = BoxGeometry(side_ratio=1.0, rise=0.0)

    def __init__(self, faces: Callable[[Frame], Iterable[FaceBox]]) -> None:
        self._faces = faces
        self.calls = 0

    def detect(self, frame: Frame) -> tuple[FaceBox, ...]:
        self.calls += 1
        return tuple(self._faces(frame))


class ScriptedSource:
    """Hands out the given frames, errors and gaps (None), then ends."""

    is_live = False
    decoder = "none"

    def __init__(self, name: str, script: Iterable[Frame | SourceError | None]) -> None:
        self.name = StreamName(name)
        self._script = list(script)
        self.closed = False

    @property
    def state(self) -> StreamState:
        return StreamState.PLAYING if self._script else StreamState.ENDED

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - the protocol's signature
        step = self._script.pop(0) if self._script else None
        if isinstance(step, SourceError):
            raise step
        return step

    def close(self) -> None:
        self.closed = True


class MemorySink:
    """Keeps every scene."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self.closed = False

    def publish(self, scene: Scene) -> None:
        self.scenes.append(scene)

    def close(self) -> None:
        self.closed = True


class ListObserver:
    """Keeps every event as (name, arguments)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, event: str) -> Callable[..., None]:
        if event.startswith("_"):
            raise AttributeError(event)
        return lambda *details: self.events.append((event, details))

    def of(self, event: str) -> list[tuple[Any, ...]]:
        return [details for name, details in self.events if name == event]
