from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.preprocess import Square, crop_rgb
from stream.faces.quality import QualityLimits, cut_off, quality_reason, sharpness
from stream.types import FaceBox, QualityReason
from tests.stream.faces import pictures

LIMITS = QualityLimits()
FRAME_WH = (512, 512)
FACE = Square(222.0, 125.0, 110.0)
BOX = FaceBox((180, 65, 265, 185), 0.9)


def reason(rgb: np.ndarray, square: Square = FACE, face: FaceBox = BOX) -> QualityReason | None:
    return quality_reason(crop_rgb(rgb, square, 224), square, face, FRAME_WH, LIMITS)


def blurred(rgb: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(rgb, (0, 0), sigma)


def test_a_good_face_passes() -> None:
    assert reason(pictures.portrait()) is None


def test_every_face_of_an_ordinary_picture_passes() -> None:
    rgb = pictures.six_faces()
    for x1, y1, x2, y2 in pictures.T1_FACES:
        square = Square((x1 + x2) / 2, (y1 + y2) / 2, (y2 - y1) / 1.2)
        assert quality_reason(crop_rgb(rgb, square, 224), square, BOX, (1280, 886), LIMITS) is None


@pytest.mark.parametrize("quality", [60, 30, 15])
def test_compression_is_not_blur(quality: int) -> None:
    encoded = cv2.imencode(".jpg", pictures.portrait(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    assert reason(cv2.imdecode(encoded, cv2.IMREAD_COLOR)) is None


def test_video_faces_pass() -> None:
    for rgb in pictures.video_frames(pictures.DFDC):
        square = Square(946.0, 303.0, 223.0)
        assert quality_reason(crop_rgb(rgb, square, 224), square, BOX, (1920, 1080), LIMITS) is None


def test_a_face_out_of_focus_is_blurred() -> None:
    assert reason(blurred(pictures.portrait(), 5.0)) is QualityReason.BLURRED


def test_a_flat_patch_is_blurred_and_no_division_by_nothing() -> None:
    assert reason(np.full((512, 512, 3), 128, np.uint8)) is QualityReason.BLURRED


def test_a_dark_face_is_dark() -> None:
    assert reason(pictures.portrait() // 16) is QualityReason.DARK


def test_a_small_face_is_too_small_however_sharp() -> None:
    assert reason(pictures.portrait(), Square(222.0, 125.0, 39.0)) is QualityReason.TOO_SMALL
    assert reason(pictures.portrait(), Square(222.0, 125.0, 41.0)) is None


def test_a_face_that_leaves_the_frame_is_cut_off() -> None:
    assert reason(pictures.portrait(), Square(10.0, 125.0, 110.0)) is QualityReason.CUT_OFF


def test_an_unsure_face_is_said_first_of_all() -> None:
    face = FaceBox(BOX.xyxy, 0.49)
    assert reason(pictures.portrait(), Square(10.0, 125.0, 30.0), face) is QualityReason.LOW_CONFIDENCE


SQUARES = st.builds(Square, st.floats(-300, 900), st.floats(-300, 900), st.floats(1, 800))


@settings(deadline=None)
@given(SQUARES)
def test_the_share_outside_is_counted_in_pixels(square: Square) -> None:
    share = cut_off(square, FRAME_WH)
    assert -1e-9 <= share <= 1
    steps = (np.arange(200) + 0.5) / 200 - 0.5
    xs, ys = square.cx + steps * square.side, square.cy + steps * square.side
    inside = ((xs >= 0) & (xs <= 512)).mean() * ((ys >= 0) & (ys <= 512)).mean()
    assert share == pytest.approx(1 - inside, abs=0.02)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.7, 6), st.floats(0.5, 6))
def test_more_blur_is_never_sharper(sigma: float, more: float) -> None:
    luma = cv2.cvtColor(crop_rgb(pictures.portrait(), FACE, 224), cv2.COLOR_RGB2GRAY)
    assert sharpness(blurred(luma, sigma + more), 110) <= sharpness(blurred(luma, sigma), 110)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.4, 1.0), st.integers(-40, 40))
def test_exposure_and_contrast_are_not_sharpness(gain: float, offset: int) -> None:
    luma = cv2.cvtColor(crop_rgb(pictures.portrait(), FACE, 224), cv2.COLOR_RGB2GRAY).astype(float)
    squeezed = 0.5 * luma + 60
    other = (squeezed - 128) * gain + 128 + offset
    assert sharpness(other.astype(np.uint8), 110) == pytest.approx(sharpness(squeezed.astype(np.uint8), 110), rel=0.1)


def test_enlarging_adds_no_sharpness() -> None:
    luma = cv2.cvtColor(crop_rgb(pictures.portrait(), FACE, 96), cv2.COLOR_RGB2GRAY)
    native = sharpness(luma, 96)
    assert sharpness(cv2.resize(luma, (224, 224)), 96) == pytest.approx(native, rel=0.35)


@pytest.mark.parametrize("side_px", [1.0, 7.9, 8.0, 50.0, 5000.0])
def test_sharpness_is_a_number_at_every_size(side_px: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)
    assert 0 < sharpness(noise, side_px) < 10
