"""What every detector must do, on real pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.postprocess import iou
from stream.faces.network import NetworkDetector
from stream.faces.open import open_detector
from tests.stream.faces import pictures
from tests.stream.faces.pictures import T1_FACES, frame_from_rgb

DETECTORS: dict[str, tuple[str, Path | None]] = {
    "centerface": ("centerface", None),
    "scrfd": ("scrfd", pictures.SCRFD),
    "yunet": ("yunet", pictures.YUNET),
    "yunet of fixed size": ("yunet", pictures.YUNET_640),
}
_OPEN: dict[str, NetworkDetector] = {}


@pytest.fixture(params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> NetworkDetector:
    name, weights = DETECTORS[request.param]
    if weights is not None:
        pictures.needs(weights)
    if request.param not in _OPEN:
        _OPEN[request.param] = open_detector(name, weights=weights)
    return _OPEN[request.param]


def boxes(faces) -> np.ndarray:
    return np.array([face.xyxy for face in faces]).reshape(-1, 4)


def test_six_faces_are_found_where_they_are(detector: NetworkDetector) -> None:
    faces = detector.detect(frame_from_rgb(pictures.six_faces()))
    assert len(faces) == 6
    assert iou(T1_FACES, boxes(faces)).max(axis=1).min() > 0.75
    assert all(0.5 <= face.confidence <= 1 for face in faces)


def test_landmarks_start_with_the_eye_on_the_pictures_left(detector: NetworkDetector) -> None:
    for face in detector.detect(frame_from_rgb(pictures.six_faces())):
        right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
        assert right_eye[0] < left_eye[0]
        assert right_mouth[0] < left_mouth[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < max(right_mouth[1], left_mouth[1])
        assert face.xyxy[0] < nose[0] < face.xyxy[2]


def test_a_mirrored_frame_has_mirrored_faces(detector: NetworkDetector) -> None:
    rgb = pictures.portrait()
    (face,), (mirrored,) = (detector.detect(frame_from_rgb(one)) for one in (rgb, rgb[:, ::-1].copy()))
    x1, y1, x2, y2 = mirrored.xyxy
    flipped = np.array([[512 - x2, y1, 512 - x1, y2]])
    assert iou(boxes([face]), flipped)[0, 0] > 0.7


def test_a_portrait_frame_and_odd_sides_are_searched(detector: NetworkDetector) -> None:
    tall = cv2.copyMakeBorder(pictures.portrait(), 300, 201, 0, 3, cv2.BORDER_REPLICATE)
    assert tall.shape == (1013, 515, 3)
    (face,) = detector.detect(frame_from_rgb(tall))
    assert iou(boxes([face]), np.array([[178, 365, 268, 482]]))[0, 0] > 0.6


def test_a_4k_frame_gives_boxes_in_its_own_pixels(detector: NetworkDetector) -> None:
    rgb = cv2.resize(pictures.six_faces(), (3840, 2658))
    faces = detector.detect(frame_from_rgb(rgb))
    assert iou(T1_FACES * 3.0, boxes(faces)).max(axis=1).min() > 0.75


@pytest.mark.parametrize("name", DETECTORS)
def test_twenty_four_faces_at_once_are_all_found(name: str) -> None:
    row, weights = DETECTORS[name]
    wide = open_detector(row, weights=weights and pictures.needs(weights), width=640)
    rgb = np.tile(cv2.resize(pictures.six_faces(), (640, 443)), (2, 2, 1))
    faces = wide.detect(frame_from_rgb(rgb))
    there = np.concatenate([T1_FACES / 2 + np.array([x, y, x, y]) for x in (0, 640) for y in (0, 443)])
    assert iou(there, boxes(faces)).max(axis=1).min() > 0.6
    assert len(faces) <= 26


@pytest.mark.parametrize("shape", [(16, 16), (1, 1), (2, 700), (855, 854)])
def test_a_frame_without_faces_has_none_at_any_size(detector: NetworkDetector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(100, 130, (*shape, 3)).astype(np.uint8)
    assert detector.detect(frame_from_rgb(noise)) == ()


def test_a_face_at_the_border_is_found(detector: NetworkDetector) -> None:
    rgb = pictures.portrait()[90:, 195:]  # forehead and a cheek are outside
    faces = detector.detect(frame_from_rgb(np.ascontiguousarray(rgb)))
    assert len(faces) == 1
    assert faces[0].xyxy[0] < 15
    assert faces[0].xyxy[1] < 20


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_face_that_fills_the_frame_is_found_by_the_offline_default(share: float) -> None:
    detector = open_detector("centerface")
    height = round(125 / share)
    left, top = max(0, 222 - height * 2 // 3), max(0, 122 - height // 2)
    near = pictures.portrait()[top : top + height, left : left + height * 4 // 3]
    faces = detector.detect(frame_from_rgb(cv2.resize(near, (640, 480))))
    assert len(faces) == 1
    assert faces[0].xyxy[3] - faces[0].xyxy[1] > 0.7 * share * 480


def test_a_wider_search_finds_smaller_faces() -> None:
    rgb = np.full((1080, 1920, 3), 120, np.uint8)
    rgb[100:400, 100:533] = cv2.resize(pictures.six_faces(), (433, 300))  # faces of about 36 px
    narrow, wide = (open_detector("centerface", width=width) for width in (224, 960))
    assert len(narrow.detect(frame_from_rgb(rgb))) < len(wide.detect(frame_from_rgb(rgb))) == 6


def test_less_confidence_finds_no_fewer_faces() -> None:
    frame = frame_from_rgb(pictures.six_faces())
    counts = [len(open_detector("centerface", confidence=limit).detect(frame)) for limit in (0.2, 0.5, 0.75, 0.99)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_video_faces_are_found_in_every_frame_by_all(detector: NetworkDetector) -> None:
    for rgb in pictures.video_frames(pictures.DFDC):
        faces = detector.detect(frame_from_rgb(rgb))
        assert len(faces) == 1
        assert 200 < faces[0].xyxy[3] - faces[0].xyxy[1] < 400
