"""How each detector's boxes sit on the training crops: the numbers of ``BoxGeometry``.

    .venv/bin/python -m bench.crop_geometry --detector centerface
    .venv/bin/python -m bench.crop_geometry --detector scrfd --weights ../shared/data/weights/scrfd_640_kps.onnx
    .venv/bin/python -m bench.crop_geometry --detector yunet --weights ../shared/data/weights/yunet_n_dynamic.onnx

Training crops are laid into pictures in two ways, ``border`` (the crop with a black border of its own width) and
``live`` (the crop at 15-30 % of a 720p frame's height, at a random place), and the detector, opened as the live path
opens it, is run over both. Printed: the larger side of its box / the crop's side, and how far the box's centre lies
above the crop's centre / the crop's side, as median (10 %..90 %).

Those numbers are not the geometry: the crops cut forehead and chin, and a detector draws its box around what it is
shown. So the last line turns the question round: whole faces, in full frames, are cut at nine geometries and measured
in the same two ways; the geometry whose crops would look to the detector as the training crops do is the answer.
Three training crops were found again in the full frames of their videos (correlation 0.997): boxes around the whole
face were 1.16-1.34 of the crop's side, as this line says and the first two do not.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np

from engines.preprocess import BoxGeometry, Bytes, Planes, Square, crop_rgb, square_from_box
from stream.errors import UnmaskError
from stream.faces.open import DETECTORS, open_detector
from stream.ports import FaceDetector
from stream.types import FaceBox, Frame, StreamName

CROP_SIZE = 224
FRAME_WH = (1280, 720)
LIVE_HEIGHTS = (0.15, 0.30)
"""Of the frame: what a face at a desk or across a room takes."""


@dataclass(frozen=True)
class Placed:
    """A training crop inside a larger RGB picture."""

    rgb: Bytes
    square: Square


@dataclass(frozen=True)
class Measured:
    """One detection against its training crop."""

    side_ratio: float
    rise: float


Medians = Sequence[tuple[float, float]]
"""Side ratio and rise, for each placing."""
Placing = Callable[[Bytes, random.Random], Placed]


def bordered(crop: Bytes, rng: random.Random) -> Placed:
    """The crop in the middle of a black picture three times as large."""
    del rng
    side = crop.shape[0]
    rgb = np.asarray(cv2.copyMakeBorder(crop, side, side, side, side, cv2.BORDER_CONSTANT), dtype=np.uint8)
    return Placed(rgb, Square(1.5 * side, 1.5 * side, side))


def live(crop: Bytes, rng: random.Random) -> Placed:
    """The crop at a live face's size on a plain 720p frame of its own mean colour."""
    width, height = FRAME_WH
    side = round(height * rng.uniform(*LIVE_HEIGHTS))
    left, top = rng.randrange(side // 2, width - 2 * side), rng.randrange(side // 2, height - 2 * side)
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = crop.mean(axis=(0, 1)).astype(np.uint8)
    rgb[top : top + side, left : left + side] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return Placed(rgb, Square(left + side / 2, top + side / 2, side))


PLACINGS: dict[str, Placing] = {"border": bordered, "live": live}
TRIED = tuple(BoxGeometry(ratio, rise) for ratio in (1.1, 1.2, 1.3) for rise in (0.0, 0.06, 0.12))
WHOLE_FACES = 24
"""Full-frame faces that the geometries are tried on."""
LEAST_HEIGHT_PX = 80
"""Of a full-frame face: a smaller one holds less detail than a training crop."""


def measured(face: FaceBox, square: Square) -> Measured:
    """Where a detector's box sits on the crop it belongs to."""
    x1, y1, x2, y2 = face.xyxy
    return Measured(max(x2 - x1, y2 - y1) / square.side, (square.cy - (y1 + y2) / 2) / square.side)


def measure(detector: FaceDetector, crops: Sequence[Bytes], place: Placing) -> list[Measured]:
    """One value for each crop whose face is found."""
    rng = random.Random(0)
    placed = [place(crop, rng) for crop in crops]
    found = [(_nearest(detector.detect(frame_of(one.rgb)), one.square), one.square) for one in placed]
    return [measured(face, square) for face, square in found if face is not None]


def medians(values: Sequence[Measured]) -> tuple[float, float]:
    """Of side ratio and rise."""
    return float(np.median([one.side_ratio for one in values])), float(np.median([one.rise for one in values]))


def alike(detector: FaceDetector, pictures: Sequence[Bytes], wanted: Medians) -> BoxGeometry:
    """The geometry at which whole faces must be cut so that each placing measures its ``wanted`` medians."""
    faces = [(rgb, face) for rgb in pictures for face in detector.detect(frame_of(rgb))]
    whole = [(rgb, face) for rgb, face in faces if face.xyxy[3] - face.xyxy[1] >= LEAST_HEIGHT_PX][:WHOLE_FACES]

    def seen(geometry: BoxGeometry) -> Medians:
        crops = [crop_rgb(rgb, square_from_box(face.xyxy, geometry), CROP_SIZE) for rgb, face in whole]
        return [medians(measure(detector, crops, place)) for place in PLACINGS.values()]

    return solved(TRIED, [seen(geometry) for geometry in TRIED], wanted)


def solved(tried: Sequence[BoxGeometry], seen: Sequence[Medians], wanted: Medians) -> BoxGeometry:
    """The geometry that should measure ``wanted``, by a linear fit of what the ``tried`` ones measured."""
    known = np.array([(1.0, one.side_ratio, one.rise) for one in tried])
    plane = np.linalg.lstsq(known, np.array(seen).reshape(len(tried), -1), rcond=None)[0]
    side_ratio, rise = np.linalg.lstsq(plane[1:].T, np.array(wanted).ravel() - plane[0], rcond=None)[0]
    return BoxGeometry(round(float(side_ratio), 2), round(float(rise), 2))


def read_pictures(data: Path) -> list[Bytes]:
    """Full frames of the labelled clips, one in 50, (H, W, 3) RGB."""
    clips = sorted((data / "videos").glob("*.mp4"))
    return [rgb for clip in clips for rgb in _some_frames(clip, every=50)]


def read_crops(data: Path, count: int) -> list[Bytes]:
    """``count`` training crops, (S, S, 3) RGB, spread over all archives."""
    archives = sorted((data / "deepfake-faces").glob("faces_224-*.zip"))
    if not archives:
        raise UnmaskError(f"no faces_224-*.zip under {data / 'deepfake-faces'}: give their folder with --data")
    share = -(-count // len(archives))
    return [crop for archive in archives for crop in _some_crops(archive, share)][:count]


def frame_of(rgb: Bytes) -> Frame:
    """An RGB picture with even sides, as the decoder would hand it over."""
    height, width = rgb.shape[:2]
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    chroma = yuv[height:].reshape(2, height // 2, width // 2)
    planes = Planes(np.asarray(yuv[:height], np.uint8), (chroma[0], chroma[1]))
    return Frame(StreamName("bench"), planes, 0, 0, 0)


def table_line(name: str, values: Sequence[Measured], tried: int) -> str:
    if not values:
        return f"{name:24} found   0 of {tried}"
    sides, rises = (
        np.percentile([getattr(one, key) for one in values], [50, 10, 90]) for key in ("side_ratio", "rise")
    )
    return (
        f"{name:24} found {len(values):3d} of {tried}   side {sides[0]:.3f} ({sides[1]:.2f}..{sides[2]:.2f})"
        f"   rise {rises[0]:+.3f} ({rises[1]:+.3f}..{rises[2]:+.3f})"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        crops = read_crops(options.data, options.count)
        detector = open_detector(options.detector, weights=options.weights, width=options.width)
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    found = {name: measure(detector, crops, place) for name, place in PLACINGS.items()}
    for name, values in found.items():
        print(table_line(f"{options.detector} {options.width} {name}", values, len(crops)))
    geometry = alike(detector, read_pictures(options.data), [medians(values) for values in found.values()])
    print(f"{options.detector} {options.width}: whole faces cut alike: {geometry}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.crop_geometry", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds deepfake-faces/")
    parser.add_argument("--detector", choices=tuple(DETECTORS), default="centerface")
    parser.add_argument("--weights", type=Path, help="its .onnx file")
    parser.add_argument("--width", type=int, default=320, help="longest side of the searched picture")
    parser.add_argument("--count", type=int, default=300, help="crops to measure")
    return parser


def _some_crops(archive: Path, count: int) -> Iterator[Bytes]:
    with ZipFile(archive) as pictures:
        names = sorted(name for name in pictures.namelist() if name.endswith(".jpg"))
        for name in random.Random(0).sample(names, min(count, len(names))):
            bgr = cv2.imdecode(np.frombuffer(pictures.read(name), np.uint8), cv2.IMREAD_COLOR)
            yield np.ascontiguousarray(np.asarray(bgr, np.uint8)[..., ::-1])


def _some_frames(clip: Path, *, every: int) -> Iterator[Bytes]:
    video = cv2.VideoCapture(str(clip))
    for number in itertools.count():
        if not video.grab():
            return
        if number % every == 0:
            yield np.ascontiguousarray(np.asarray(video.retrieve()[1], np.uint8)[..., ::-1])


def _nearest(faces: Sequence[FaceBox], square: Square) -> FaceBox | None:
    """The face nearest to the crop's centre, unless it is not on the crop."""

    def distance(face: FaceBox) -> float:
        x1, y1, x2, y2 = face.xyxy
        return float(np.hypot((x1 + x2) / 2 - square.cx, (y1 + y2) / 2 - square.cy))

    near = min(faces, key=distance, default=None)
    return near if near is not None and distance(near) < square.side / 2 else None


if __name__ == "__main__":
    raise SystemExit(main())
