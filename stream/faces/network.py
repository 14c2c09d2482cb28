"""A face network over a runtime: picture in, faces out. What differs between networks is a ``FaceNetwork`` value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.cuda.ports import Preprocessor, infer_prepared
from engines.errors import InferenceError
from engines.postprocess import Detections
from engines.preprocess import BoxGeometry, Bytes, Floats, Levels, Planes, reduced_rgb
from engines.runtime.ports import Array, Backend, TensorSpec
from stream.types import FaceBox, Frame

CELL = 32
"""All three networks halve their input five times: width and height must divide by this."""
LARGEST = 2
"""Side of the largest believable box, in longest sides of the picture."""


@dataclass(frozen=True)
class FaceNetwork:
    """What is particular to one family of face networks."""

    name: str
    geometry: BoxGeometry
    input_array: Callable[[Bytes], Floats]
    """(H, W, 3) RGB to the network's (1, 3, H, W) float32."""
    levels: Levels
    """The same, as numbers for the GPU."""
    decode: Callable[[Mapping[str, Array], tuple[int, int], float], Detections]
    """Outputs, the input's (width, height) and the least confidence to faces in input pixels, overlaps removed."""
    find_weights: Callable[[], Path]
    """The .onnx file to use when none was given. Raises ModelError that says how to get it."""
    load_graph: Callable[[Path], Path | bytes]
    """What the runtime is given of the file: itself, or a mended graph. Raises ModelError."""
    accepts: Callable[[tuple[str, ...]], bool]
    """Whether a graph with outputs of these names is one of this family."""


@dataclass(frozen=True)
class Fit:
    """How a frame is laid into a network's input: shrunk to ``inner_wh``, in the upper left corner of ``canvas_wh``."""

    inner_wh: tuple[int, int]
    canvas_wh: tuple[int, int]


class NetworkDetector:
    """A FaceDetector that reduces the frame, runs a network and gives faces in frame pixels. Used by one thread."""

    def __init__(
        self, network: FaceNetwork, backend: Backend, *, confidence: float, width: int, precision: str = "fp32"
    ) -> None:
        """``width``: longest side of the reduced picture, in pixels, for networks that take any size."""
        self.precision = precision
        self._network = network
        self._backend = backend
        self._confidence = confidence
        self._width = width
        self._input = backend.inputs[0]
        self._preprocessor: Preprocessor | None = None

    def prepare_on(self, preprocessor: Preprocessor | None) -> None:
        """From now on reduce frames on the GPU, or (None) here; whoever steps lets the preprocessor forget them."""
        self._preprocessor = preprocessor

    @property
    def name(self) -> str:
        return self._network.name

    @property
    def backend_name(self) -> str:
        return self._backend.name

    @property
    def geometry(self) -> BoxGeometry:
        return self._network.geometry

    def detect(self, frame: Frame) -> tuple[FaceBox, ...]:
        """Most confident first. Raises InferenceError when the network fails."""
        size_wh = (frame.planes.width, frame.planes.height)
        fit = self.fit(size_wh)
        if self._preprocessor is None:
            found = self.find(_canvas(reduced_rgb(frame.planes, fit.inner_wh), fit.canvas_wh))
        else:
            found = self._find_on(self._preprocessor, frame.planes, fit)
        return face_boxes(found.scaled(size_wh[0] / fit.inner_wh[0], size_wh[1] / fit.inner_wh[1]))

    def find(self, rgb: Bytes) -> Detections:
        """Faces in a picture of the network's own size: (H, W, 3) RGB with sides that divide by 32."""
        height, width = rgb.shape[:2]
        outputs = self._backend.infer({self._input.name: self._network.input_array(rgb)})
        return self._decoded(outputs, (width, height))

    def fit(self, size_wh: tuple[int, int]) -> Fit:
        """How a frame of this size is reduced."""
        fixed = fixed_size(self._input)
        return fit_inside(size_wh, fixed) if fixed else fit_longest(size_wh, self._width)

    def close(self) -> None:
        self._backend.close()

    def _find_on(self, preprocessor: Preprocessor, planes: Planes, fit: Fit) -> Detections:
        batch = preprocessor.letterbox(planes, fit.inner_wh, fit.canvas_wh, self._network.levels)
        return self._decoded(infer_prepared(self._backend, self._input.name, batch, preprocessor), fit.canvas_wh)

    def _decoded(self, outputs: Mapping[str, Array], size_wh: tuple[int, int]) -> Detections:
        return _plausible(self._network.decode(outputs, size_wh, self._confidence), size_wh)


def fixed_size(spec: TensorSpec) -> tuple[int, int] | None:
    """(width, height) of an (N, 3, H, W) input; None when the network takes any size."""
    height, width = spec.shape[2:]
    return (width, height) if width is not None and height is not None else None


def square_canvas(width: int) -> tuple[int, int]:
    """The canvas of runtimes that take one size: frames of any shape lie in it, their longest side as asked for."""
    return _up(width), _up(width)


def fit_inside(size_wh: tuple[int, int], canvas_wh: tuple[int, int]) -> Fit:
    """As large as fits into the canvas with the aspect ratio kept; small frames are enlarged."""
    scale = min(canvas_wh[0] / size_wh[0], canvas_wh[1] / size_wh[1])
    return Fit((_scaled(size_wh[0], scale), _scaled(size_wh[1], scale)), canvas_wh)


def fit_longest(size_wh: tuple[int, int], longest: int) -> Fit:
    """Longest side as asked for, in the smallest canvas that the network takes."""
    scale = longest / max(size_wh)
    inner_wh = (_scaled(size_wh[0], scale), _scaled(size_wh[1], scale))
    return Fit(inner_wh, (_up(inner_wh[0]), _up(inner_wh[1])))


def face_boxes(found: Detections) -> tuple[FaceBox, ...]:
    """The rows as values."""
    rows = zip(found.xyxy.tolist(), found.confidence.tolist(), found.landmarks.tolist(), strict=True)
    return tuple(FaceBox(tuple(xyxy), sure, tuple((x, y) for x, y in points)) for xyxy, sure, points in rows)


def _plausible(found: Detections, size_wh: tuple[int, int]) -> Detections:
    """Without boxes that no face can have: smaller than a pixel or far larger than the picture (cropping would pad)."""
    values = np.concatenate([found.xyxy.ravel(), found.confidence, found.landmarks.ravel()])
    if not np.isfinite(values).all():
        raise InferenceError("the face detector gave boxes that are not numbers: restore its weights")
    sides = found.xyxy[:, 2:] - found.xyxy[:, :2]
    return found.take(np.flatnonzero((sides.min(axis=1) >= 1) & (sides.max(axis=1) <= LARGEST * max(size_wh))))


def _canvas(rgb: Bytes, canvas_wh: tuple[int, int]) -> Bytes:
    """``rgb`` in the upper left corner of a black picture; the three reference implementations pad alike."""
    height, width = rgb.shape[:2]
    if (width, height) == canvas_wh:
        return rgb
    canvas: Bytes = np.zeros((canvas_wh[1], canvas_wh[0], 3), np.uint8)
    canvas[:height, :width] = rgb
    return canvas


def _scaled(pixels: int, scale: float) -> int:
    return max(1, round(pixels * scale))


def _up(pixels: int) -> int:
    return -(-pixels // CELL) * CELL
