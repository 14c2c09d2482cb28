"""Writes ``stream/demo/landmarks.json``: 68 face points of the demo's portrait and of each frame of its actor.

Run once, by hand, with ``pip install dlib-bin face-recognition-models`` beside the demo's packages; the points are
committed, so that a user downloads neither (the predictor is 100 MB, trained on iBUG 300-W: research use).
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from stream.demo.materials import actor_frames, portrait_rgb  # noqa: E402 - the repository first

OUT = ROOT / "stream" / "demo" / "landmarks.json"
ENLARGED = 4
"""The actor's face is 50 pixels high: the predictor is steadier on an enlarged picture."""
SHIFTS = (-0.03, 0.0, 0.03)
"""The predictor is run on shifted face boxes and its answers averaged."""


def main() -> None:
    """Measure, smooth over time, write."""
    finder, predictor = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(_weights()))
    portrait = _points(portrait_rgb(), finder, predictor, highest=True)
    actor = [_points(_enlarged(rgb), finder, predictor) / ENLARGED for rgb in _findable(actor_frames(), finder)]
    document = {"portrait": _rounded(portrait), "actor": [_rounded(points) for points in _smoothed(np.stack(actor))]}
    OUT.write_text(json.dumps(document, separators=(",", ":")).replace("]],[[", "]],\n[[") + "\n")
    print(f"{OUT}: {len(actor)} frames")


def _weights() -> Path:
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise SystemExit("pip install dlib-bin face-recognition-models")
    return Path(package.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"


def _enlarged(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(rgb, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC), np.uint8)


def _findable(frames: list[NDArray[np.uint8]], finder: dlib.fhog_object_detector) -> list[NDArray[np.uint8]]:
    """The frames up to the first without a face."""
    found = [bool(finder(_enlarged(rgb), 0)) for rgb in frames]
    return frames[: found.index(False)] if False in found else frames


def _points(
    rgb: NDArray[np.uint8],
    finder: dlib.fhog_object_detector,
    predictor: dlib.shape_predictor,
    highest: bool = False,
) -> NDArray[np.float64]:
    boxes = finder(rgb, 1 if highest else 0)  # the helmet mirrors a second face
    box = min(boxes, key=lambda found: found.top())
    return np.mean([_predicted(rgb, box, predictor, dx, dy) for dx in SHIFTS for dy in SHIFTS], axis=0)


def _predicted(
    rgb: NDArray[np.uint8], box: dlib.rectangle, predictor: dlib.shape_predictor, dx: float, dy: float
) -> NDArray[np.float64]:
    side = box.width()
    moved = dlib.translate_rect(box, dlib.point(round(dx * side), round(dy * side)))
    return np.array([(point.x, point.y) for point in predictor(rgb, moved).parts()], np.float64)


def _smoothed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(frames, 68, 2) with a Gaussian over time: what is left of the predictor's jitter would show as wobble."""
    weights = np.exp(-0.5 * (np.arange(-3, 4) / 1.2) ** 2)
    padded = np.pad(points, ((3, 3), (0, 0), (0, 0)), mode="edge")
    taken = [weight * padded[shift : shift + len(points)] for shift, weight in enumerate(weights / weights.sum())]
    return np.sum(taken, axis=0)


def _rounded(points: NDArray[np.float64]) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1)] for x, y in points]


if __name__ == "__main__":
    main()
