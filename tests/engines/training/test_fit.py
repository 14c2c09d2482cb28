"""The still-picture fit: it descends, averages, and resumes as if it had never stopped."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e .[train]")

import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from engines.export.package import neutral_spec
from engines.models.efficientnet_lite import FrameClassifier
from engines.preprocess import normalise
from engines.training.errors import TrainingError
from engines.training.faces import open_faces
from engines.training.fit import (
    FitState,
    Progress,
    load_state,
    network_input,
    ramped_decay,
    run_fit,
    smoothed_loss,
    start_state,
    update_average,
)
from engines.training.loader import BatchMaker, BatchPlan, batches
from engines.training.recipe import BackboneRecipe, Sampling
from tests.engines.training.faces_on_disk import rows_of, write_set

REPOSITORY = Path(__file__).resolve().parents[3]
PARENT = """
import multiprocessing, sys, time
sys.path.insert(0, ".")
from pathlib import Path
from engines.training.loader import BatchPlan, batches
from engines.training.recipe import BackboneRecipe, Sampling

if __name__ == "__main__":
    plan = BatchPlan(Path("{root}"), Path("{scratch}"), BackboneRecipe(size=32, sampling=Sampling(pairs=2)), 0)
    with batches(plan, 0, 1000) as source:
        next(source)
        print(multiprocessing.active_children()[0].pid, flush=True)
        time.sleep(600)
"""
RECIPE = BackboneRecipe(size=32, draws=16, localisation=0.5, checkpoint_every=2, sampling=Sampling(pairs=2))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Root and scratch folder of a tiny set."""
    root = tmp_path_factory.mktemp("faces")
    write_set(root, rows_of(4, "train", "a"), zipped=True)
    return root, tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def maker(data: tuple[Path, Path]) -> BatchMaker:
    return BatchMaker(open_faces(*data), RECIPE, seed=0)


def fresh_state() -> FitState:
    torch.manual_seed(0)
    return start_state(FrameClassifier(), RECIPE)


def fit(state: FitState, maker: BatchMaker, stop: int, folder: Path) -> Path:
    checkpoint = folder / "state.pt"
    source = (maker.batch(step) for step in range(state.step, stop))
    run_fit(state, source, RECIPE, checkpoint, Progress(folder / "log.csv", RECIPE.steps, 4, say=lambda _: None))
    return checkpoint


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(maker: BatchMaker, tmp_path: Path) -> None:
    whole = fresh_state()
    (tmp_path / "whole").mkdir()
    fit(whole, maker, RECIPE.steps, tmp_path / "whole")
    checkpoint = fit(fresh_state(), maker, 2, tmp_path)
    torch.manual_seed(99)  # another process, another generator
    resumed = start_state(FrameClassifier(), RECIPE)
    load_state(checkpoint, resumed)
    assert resumed.step == 2
    fit(resumed, maker, RECIPE.steps, tmp_path)
    for one, other in ((whole.model, resumed.model), (whole.average, resumed.average)):
        pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        assert all(torch.equal(left, right) for left, right in pairs)


def test_only_what_a_step_should_change_changes(maker: BatchMaker, tmp_path: Path) -> None:
    state = fresh_state()
    before = {key: value.clone() for key, value in state.model.state_dict().items()}
    fit(state, maker, 1, tmp_path)
    changed = {key for key, value in state.model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == set(before)


def test_each_report_is_a_row_with_the_time_left_said_aloud(tmp_path: Path) -> None:
    said: list[str] = []
    progress = Progress(tmp_path / "log.csv", total=4, pictures_a_step=48, say=said.append, every=2)
    for step in range(1, 5):
        progress.note(step, 0.7, 1e-3)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all("min left" in line for line in said)


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(TrainingError, match="start without --resume"):
        load_state(tmp_path / "state.pt", fresh_state())


def test_a_missing_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot resume from"):
        load_state(tmp_path / "none.pt", fresh_state())


def test_training_normalises_as_the_live_path_does() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    live = normalise(list(rgb), neutral_spec("tiny", 32).pixels)
    np.testing.assert_array_equal(network_input(rgb).numpy(), live)


def test_smoothing_leaves_a_perfect_answer_some_loss() -> None:
    sure, labels = torch.tensor([-9.0, 9.0]), torch.tensor([0.0, 1.0])
    assert float(smoothed_loss(sure, labels, 0.0)) < 1e-3
    assert float(smoothed_loss(sure, labels, 0.1)) > 0.3


def test_the_average_forgets_its_start_and_then_holds_on() -> None:
    decays = [ramped_decay(0.998, step) for step in (0, 10, 100, 100_000)]
    assert decays[0] == pytest.approx(0.1)
    assert decays == sorted(decays)
    assert decays[-1] == 0.998


def test_the_average_moves_by_one_minus_its_decay() -> None:
    average, model = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(model.weight, 3.0)
    model.num_batches_tracked.fill_(7)
    update_average(average, model, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert int(average.num_batches_tracked) == 7


def test_the_worker_makes_the_batches_of_the_given_steps(data: tuple[Path, Path], maker: BatchMaker) -> None:
    with batches(BatchPlan(*data, RECIPE, 0), 1, 3) as source:
        made = list(source)
    for step, batch in zip((1, 2), made, strict=True):
        assert np.array_equal(batch.rgb, maker.batch(step).rgb)
        assert list(batch.labels) == [0, 1, 0, 1]


def test_a_dead_worker_is_noticed_when_the_data_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.training.loader._PATIENCE_S", 0.5)
    plan = BatchPlan(tmp_path, tmp_path, RECIPE, 0)
    with batches(plan, 0, 1) as source, pytest.raises(TrainingError, match="the batch worker died"):
        next(source)


def test_a_worker_does_not_outlive_a_killed_parent(data: tuple[Path, Path], tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(root=str(data[0]), scratch=str(data[1])))
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not is_alive(worker)


def is_alive(pid: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
