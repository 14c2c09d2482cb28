"""Each degradation does what it says, more so at each level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.training.robustness import DEGRADATIONS, PASSES, Degradation, h264, require_codecs, resized, robustness
from engines.training.still_scores import StillScorer
from engines.training.stills import read_stills
from tests.engines.training.faces_on_disk import painted_face, rows_of, write_set
from tests.engines.training.test_still_scores import framed


@pytest.fixture(scope="module")
def face() -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    from engines.training.faces import rgb_from_jpeg

    rng = np.random.default_rng(0)
    return np.clip(rgb_from_jpeg(painted_face(3)) + rng.normal(0, 9, (224, 224, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("how", DEGRADATIONS, ids=lambda how: how.name)
def test_a_harsher_level_leaves_less(
    how: Degradation, face: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
) -> None:
    if how.name == "H.264":
        pytest.importorskip("av", reason="PyAV is not installed: pip install -e '.[train]'")
    lost = []
    for level in how.levels:
        worse = how.apply(np.random.default_rng(0), face, level)
        assert worse.dtype == np.uint8
        if how.name == "scale":
            worse = resized(np.random.default_rng(0), worse, face.shape[0] / worse.shape[0])
        lost.append(float(np.abs(worse.astype(int) - face).mean()))
    assert lost == sorted(lost)
    assert lost[0] < lost[-1]


def test_h264_keeps_colours_and_cuts_odd_sides() -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install -e '.[train]'")
    red = np.zeros((65, 81, 3), np.uint8)
    red[..., 0] = 220
    coded = h264(np.random.default_rng(0), red, 23)
    assert coded.shape == (64, 80, 3)
    assert np.abs(coded.astype(int).mean((0, 1)) - [220, 0, 0]).max() < 6


def test_every_picture_is_scored_once_as_it_is_and_once_a_level(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install -e '.[train]'")
    require_codecs()
    root = write_set(tmp_path, rows_of(1, "val", "a"), zipped=False)
    told: list[int] = []
    steps = robustness(root, read_stills(root, "val").items, StillScorer(framed()), told.append)
    assert len(steps) == PASSES
    assert sum(told) == 3 * PASSES
    assert (steps[0].degradation, steps[0].level) == ("none", None)
    assert {step.degradation for step in steps[1:]} == {how.name for how in DEGRADATIONS}
    assert all(0 <= step.auc <= 1 for step in steps)
