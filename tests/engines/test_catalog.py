"""Loading a model: strict about its files, and fast where an engine was built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.catalog import BACKBONE_FILE, CATALOG, HEAD_FILE, SPEC_FILE, open_model
from engines.errors import CheckpointError, InferenceError, RuntimeMissingError, SpecError
from tests.engines.graphs import FEATURES, SIZE, SLOTS, write_model


def test_a_model_folder_loads_and_runs_without_torch(tmp_path: Path) -> None:
    write_model(tmp_path)
    model = open_model(str(tmp_path), engines_root=tmp_path / "none")
    crops = np.random.default_rng(0).random((3, 3, SIZE, SIZE), np.float32)
    features = model.backbone.infer({"crops": crops})["features"]
    np.testing.assert_allclose(features, crops.mean((2, 3)), rtol=1e-5)
    window = np.ones((1, SLOTS, FEATURES), np.float32)
    mask = np.array([[1, 1, 0, 0]], np.float32)
    assert model.head.infer({"features": window, "mask": mask})["logit"] == pytest.approx(0.5)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match="use one of lite0-gru"):
        open_model("no-such-model")


def test_an_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(RuntimeMissingError, match=r"no runtime 'abacus': use one of tensorrt, .*onnxruntime-cpu"):
        open_model(backend="abacus")


def test_a_missing_spec_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no model spec at .*spec\.json: give the folder"):
        open_model(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", '{"name": "x"}', "[]", '{"format": 2}'])
def test_a_broken_spec_is_one_line(tmp_path: Path, text: str) -> None:
    write_model(tmp_path)
    (tmp_path / SPEC_FILE).write_text(text)
    with pytest.raises(SpecError) as caught:
        open_model(str(tmp_path))
    assert "bad model spec" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", [BACKBONE_FILE, HEAD_FILE])
def test_truncated_weights_are_refused_before_they_are_loaded(tmp_path: Path, file: str) -> None:
    write_model(tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="truncated or was changed"):
        open_model(str(tmp_path))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / HEAD_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"no weights at .*head\.onnx"):
        open_model(str(tmp_path))


def test_a_closed_model_refuses_to_run(tmp_path: Path) -> None:
    write_model(tmp_path)
    model = open_model(str(tmp_path), engines_root=tmp_path / "none")
    model.close()
    model.close()
    with pytest.raises(InferenceError, match="closed"):
        model.backbone.infer({"crops": np.zeros((1, 3, SIZE, SIZE), np.float32)})


@pytest.mark.parametrize("name", [name for name, row in CATALOG.items() if row.folder.is_dir()])
def test_every_shipped_model_loads_and_gives_finite_numbers(name: str) -> None:
    model = open_model(name)
    pixels, window = model.spec.pixels, model.spec.window
    crops = np.random.default_rng(1).standard_normal((2, 3, pixels.size, pixels.size)).astype(np.float32)
    features = model.backbone.infer({"crops": crops})["features"]
    assert features.shape == (2, window.feature_dim)
    rows = np.repeat(features[:, None], window.slots, axis=1)
    logits = model.head.infer({"features": rows, "mask": np.ones((2, window.slots), np.float32)})["logit"]
    assert logits.shape == (2, 1)
    assert np.isfinite(logits).all()
