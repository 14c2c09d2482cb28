"""The weights in the repository: whole, calibrated, and as good as their spec says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.catalog import BACKBONE_FILE, CATALOG, HEAD_FILE, SPEC_FILE, open_model
from engines.spec import ModelSpec, load_spec, verify_files
from engines.training.evaluate import numbers_of
from engines.training.still_scores import StillScorer, score_stills
from engines.training.stills import open_stills, read_stills, sample

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "deepfake-faces"
NAMES = sorted(name for name, row in CATALOG.items() if row.folder.is_dir())


def spec_of(name: str) -> ModelSpec:
    return load_spec(CATALOG[name].folder / SPEC_FILE)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_the_one_its_spec_names(name: str) -> None:
    spec = spec_of(name)
    assert spec.name == name
    assert {BACKBONE_FILE, HEAD_FILE} <= set(spec.files)
    verify_files(CATALOG[name].folder, spec, tuple(spec.files))


@pytest.mark.parametrize("name", NAMES)
def test_the_spec_tells_what_was_measured(name: str) -> None:
    measured = spec_of(name).measured
    assert measured["val_frame_auc"] >= 0.92
    assert measured["val_window_auc"] >= 0.85
    assert measured["val_frame_ece"] < measured["val_frame_ece_before"] + 0.02


@pytest.mark.parametrize("name", NAMES)
def test_a_window_of_one_sample_and_a_full_one_are_both_scored(name: str, tmp_path: Path) -> None:
    model = open_model(name, threads=1, engines_root=tmp_path)
    window = model.spec.window
    features = np.ones((2, window.slots, window.feature_dim), np.float32)
    mask = np.ones((2, window.slots), np.float32)
    mask[0, :-1] = 0
    logits = model.head.infer({"features": features, "mask": mask})["logit"]
    assert np.isfinite(logits).all()
    assert np.abs(logits).max() < 20


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_graph_tells_fakes_from_reals_it_never_saw(name: str, tmp_path: Path) -> None:
    if not (DATA / "metadata.csv").is_file():
        pytest.skip(f"the shared deepfake-faces set is not at {DATA}")
    stills = open_stills(DATA, sample(read_stills(DATA, "val").items, 400))
    scored = score_stills(stills, StillScorer(open_model(name, threads=1, engines_root=tmp_path))).scored
    numbers = numbers_of(scored)
    assert len(scored.items) == 400
    assert (numbers["auc"] or 0) >= 0.89
    assert (numbers["ece"] or 1) < 0.12
