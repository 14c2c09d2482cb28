"""A model folder: consistent, and loadable the moment it is written."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from engines.catalog import BACKBONE_FILE, CHECKPOINT_FILE, HEAD_FILE, SPEC_FILE, open_model
from engines.checkpoints.own import TrainedModel, load_checkpoint
from engines.errors import CheckpointError
from engines.export.package import neutral_spec, write_package, write_spec
from engines.models.efficientnet_lite import FEATURE_DIM, FrameClassifier
from engines.models.gru_head import GruHead
from engines.spec import ModelSpec, load_spec, verify_files

SIZE = 64
FILES = (CHECKPOINT_FILE, BACKBONE_FILE, HEAD_FILE)


def fresh_model() -> TrainedModel:
    torch.manual_seed(0)
    return TrainedModel(FrameClassifier(), GruHead(FEATURE_DIM))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "tiny"
    write_package(target, neutral_spec("tiny", SIZE), fresh_model())
    return target


@pytest.fixture(scope="module")
def spec(folder: Path) -> ModelSpec:
    return load_spec(folder / SPEC_FILE)


def test_a_package_holds_four_files_and_nothing_else(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {*FILES, SPEC_FILE}


def test_every_file_has_the_hash_its_spec_names(folder: Path, spec: ModelSpec) -> None:
    assert set(spec.files) == set(FILES)
    verify_files(folder, spec, FILES)


def test_the_live_path_opens_a_package_and_gets_the_checkpoints_numbers(folder: Path, spec: ModelSpec) -> None:
    crops = np.random.default_rng(0).standard_normal((2, 3, SIZE, SIZE)).astype(np.float32)
    loaded = open_model(str(folder), threads=1, engines_root=folder / "none")
    with torch.inference_mode():
        expected = load_checkpoint(folder / CHECKPOINT_FILE).backbone(torch.from_numpy(crops)).numpy()
    np.testing.assert_allclose(loaded.backbone.infer({"crops": crops})["frame_logit"], expected, atol=1e-4)
    assert loaded.spec.pixels.size == SIZE
    assert spec.window.feature_dim == FEATURE_DIM


def test_a_spec_is_readable_by_people(folder: Path) -> None:
    text = (folder / SPEC_FILE).read_text()
    assert text.endswith("}\n")
    assert json.loads(text)["pixels"]["mean"] == [127.0, 127.0, 127.0]


def test_a_changed_file_is_noticed(folder: Path, spec: ModelSpec, tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / HEAD_FILE).write_bytes((folder / HEAD_FILE).read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=HEAD_FILE):
        verify_files(tmp_path, spec, FILES)


def test_a_package_is_replaced_whole_and_nothing_is_left_beside_it(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    shutil.copytree(folder, target)
    (target / "stray.txt").write_text("of the old package")
    spec = write_package(target, neutral_spec("tiny", 96), fresh_model())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (target / "stray.txt").exists()
    assert load_spec(target / SPEC_FILE) == spec
    assert spec.pixels.size == 96
    verify_files(target, spec, FILES)


def test_a_failed_export_leaves_the_old_package_in_place(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    shutil.copytree(folder, target)
    broken = neutral_spec("tiny", SIZE)
    broken = broken.model_copy(update={"window": broken.window.model_copy(update={"slots": 0})})
    with pytest.raises(IndexError):
        write_package(target, broken, fresh_model())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    verify_files(target, load_spec(target / SPEC_FILE), FILES)


def test_new_numbers_replace_the_spec_alone(folder: Path, spec: ModelSpec, tmp_path: Path) -> None:
    target = tmp_path / "model"
    shutil.copytree(folder, target)
    write_spec(target, spec.model_copy(update={"measured": {"val_frame_auc": 0.9}}))
    assert load_spec(target / SPEC_FILE).measured == {"val_frame_auc": 0.9}
    assert {path.name for path in target.iterdir()} == {*FILES, SPEC_FILE}
    verify_files(target, spec, FILES)
