from __future__ import annotations

import numpy as np
import pytest

from bench.crop_geometry import CROP_SIZE
from bench.face_quality import NATIVE_PX, WAYS, as_is, blurred, main, sharpness_of, shrunk, smeared, table_line


def crops(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3)).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_spoiling_keeps_the_crops_shape(name: str) -> None:
    spoil, side_px = WAYS[name]
    spoilt = spoil(crops(1)[0])
    assert (spoilt.shape, spoilt.dtype) == ((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    assert sharpness_of(crops(1), spoil, side_px)[0] > 0


def test_spoiling_is_seen() -> None:
    whole = np.median(sharpness_of(crops(), as_is, NATIVE_PX))
    for spoil in (blurred(4), smeared(33), shrunk(32)):
        assert np.median(sharpness_of(crops(), spoil, NATIVE_PX)) < 0.7 * whole


def test_the_table_says_what_share_is_refused() -> None:
    assert table_line("x", [0.1, 0.2, 0.3, 0.4], 0.25).endswith("refused 50.0%")


def test_absent_data_is_one_line(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 1
    assert "--data" in capsys.readouterr().err
