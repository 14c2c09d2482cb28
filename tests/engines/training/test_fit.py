"""The still-picture fit: it descends, averages, and resumes as if it had never stopped."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from engines.catalog import CATALOG
from engines.models.backbone import Backbone
from engines.models.efficientnet_lite import FrameClassifier
from engines.models.meso4 import Meso4
from engines.models.xception import Xception
from engines.preprocess import normalise
from engines.training.errors import TrainingError
from engines.training.faces import open_faces
from engines.training.fit import (
    Task,
    kept,
    network_input,
    ramped_decay,
    run_fit,
    smoothed_loss,
    start_state,
    take_step,
    update_average,
)
from engines.training.judge import Judge
from engines.training.loader import Batch, BatchMaker, BatchPlan, batches
from engines.training.progress import Judgement, Progress
from engines.training.recipe import BackboneRecipe, Optimiser, Sampling, Validation
from engines.training.resume import FitState, load_state
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
PIXELS = CATALOG["lite0-gru"].pixels
CPU = torch.device("cpu")
TASK = Task(RECIPE, PIXELS)


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
    return start_state(FrameClassifier(), TASK)


def fit(
    state: FitState, maker: BatchMaker, stop: int, folder: Path, task: Task = TASK, judge: Judge | None = None
) -> Path:
    checkpoint = folder / "state.pt"
    source = (maker.batch(step) for step in range(state.step, stop))
    progress = Progress(folder / "log.csv", task.recipe.steps, 4, say=lambda _: None)
    run_fit(state, source, task, checkpoint, progress, judge)
    return checkpoint


class ScriptedJudge(Judge):
    """Gives the named AUCs, one a round."""

    def __init__(self, *aucs: float) -> None:
        object.__setattr__(self, "left", list(aucs))

    def judge(self, network: Backbone) -> Judgement:
        assert not network.training
        left: list[float] = self.__dict__["left"]
        return Judgement(left.pop(0), 0.7)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(maker: BatchMaker, tmp_path: Path) -> None:
    whole = fresh_state()
    (tmp_path / "whole").mkdir()
    fit(whole, maker, RECIPE.steps, tmp_path / "whole")
    checkpoint = fit(fresh_state(), maker, 2, tmp_path)
    torch.manual_seed(99)  # another process, another generator
    resumed = start_state(FrameClassifier(), TASK)
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


def test_a_resumed_table_has_each_step_once_and_rounds_beside_them(tmp_path: Path) -> None:
    for start, judgement in ((0, None), (2, Judgement(0.75, 0.6))):
        progress = Progress(tmp_path / "log.csv", total=9, pictures_a_step=4, say=lambda _: None, every=1)
        for step in range(start + 1, start + 5):
            progress.note(step, 0.7, 1e-3, judgement)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [row["val_auc"] for row in rows] == ["", "", *["0.75"] * 4]


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(TrainingError, match="start without --resume"):
        load_state(tmp_path / "state.pt", fresh_state())


def test_a_missing_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot resume from"):
        load_state(tmp_path / "none.pt", fresh_state())


@pytest.mark.parametrize("name", ["lite0-gru", "xception", "seed-cnn", "meso4"])
def test_training_normalises_as_the_live_path_does(name: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    live = normalise(list(rgb), CATALOG[name].pixels)
    np.testing.assert_array_equal(network_input(rgb, CATALOG[name].pixels, CPU).numpy(), live)


class Linear(Backbone):
    """The smallest network: the mean colour, and one logit of it."""

    HAS_MAP = False
    feature_dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.drop = torch.nn.Identity()
        self.frame_head = torch.nn.Linear(3, 1)

    def forward_features(self, crops: torch.Tensor) -> torch.Tensor:
        return crops.mean((2, 3))


def stepped(task: Task, batch: Batch) -> FitState:
    torch.manual_seed(0)
    state = start_state(Linear(), task)
    take_step(state, batch, task)
    return state


def plain_task(**changes: object) -> Task:
    """SGD without anything beside it, in full precision."""
    optimiser = Optimiser(kind="sgd", schedule="constant", momentum=0, weight_decay=0, clip_norm=None, ema_decay=0)
    options = {"size": 32, "draws": 16, "precision": "fp32", "optimiser": optimiser, "sampling": Sampling(pairs=2)}
    return Task(BackboneRecipe.model_validate(options | changes), PIXELS)


def test_a_batch_in_parts_moves_the_weights_as_the_whole_does(maker: BatchMaker) -> None:
    batch = maker.batch(0)
    whole, parts = stepped(plain_task(), batch), stepped(plain_task(accumulate=3), batch)
    torch.testing.assert_close(whole.model.state_dict(), parts.model.state_dict())
    torch.testing.assert_close(whole.average.state_dict(), whole.model.classifier.state_dict())


def test_where_a_high_logit_means_real_the_weights_move_the_other_way(maker: BatchMaker) -> None:
    batch, task = maker.batch(0), plain_task()
    pictures, towards_fake = network_input(batch.rgb, PIXELS, CPU), torch.from_numpy(batch.labels * 2 - 1)
    torch.manual_seed(0)
    networks = {"start": Linear().double()}
    for way in ("fake", "real"):
        networks[way] = stepped(Task(task.recipe, PIXELS, way), batch).model.classifier.double()  # type: ignore[arg-type, assignment]
    apart = {way: float((net(pictures.double())[:, 0] * towards_fake).sum().detach()) for way, net in networks.items()}
    assert apart["real"] < apart["start"] < apart["fake"]


def test_a_frozen_part_keeps_weights_and_statistics(maker: BatchMaker, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"trainable": "last:1", "localisation": 0.0})
    torch.manual_seed(0)
    network = FrameClassifier()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = start_state(network, Task(recipe, PIXELS))
    fit(state, maker, 1, tmp_path, Task(recipe, PIXELS))
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.partition(".")[0] for key in changed} == {"_conv_head", "_bn1", "frame_head"}


def test_a_network_without_a_map_cannot_say_where() -> None:
    with pytest.raises(TrainingError, match="set localisation to 0"):
        start_state(Meso4(size=32), TASK)


def test_maps_of_another_grid_are_compared_all_the_same() -> None:
    torch.manual_seed(0)
    task = Task(RECIPE.model_copy(update={"size": 64}), CATALOG["xception"].pixels)
    state = start_state(Xception(), task)
    rgb = np.zeros((2, 71, 71, 3), np.uint8)  # 3 x 3 cells of Xception's, 2 x 2 of the map's
    batch = Batch(rgb, np.array([0, 1], np.float32), np.zeros((2, 2, 2), np.float32))
    assert np.isfinite(take_step(state, batch, task))


def with_rounds(**options: object) -> Task:
    recipe = RECIPE.model_copy(update={"draws": 24, "validation": Validation.model_validate({"every": 1, **options})})
    return Task(recipe, PIXELS)


def test_a_fit_ends_when_rounds_bring_nothing_better(maker: BatchMaker, tmp_path: Path) -> None:
    task = with_rounds(patience=2)
    state = start_state(FrameClassifier(), task)
    checkpoint = fit(state, maker, 6, tmp_path, task, ScriptedJudge(0.6, 0.7, 0.7, 0.65))
    assert state.step == 4
    again = start_state(FrameClassifier(), task)
    load_state(checkpoint, again)
    fit(again, maker, 6, tmp_path, task, ScriptedJudge())
    assert again.step == 4


def test_the_best_rounds_average_is_kept_over_a_kill(maker: BatchMaker, tmp_path: Path) -> None:
    task = with_rounds(keep="best")
    state = start_state(FrameClassifier(), task)
    fit(state, maker, 1, tmp_path, task, ScriptedJudge(0.9))
    best = {key: value.clone() for key, value in state.average.state_dict().items()}
    checkpoint = fit(state, maker, 2, tmp_path, task, ScriptedJudge(0.5))
    resumed = start_state(FrameClassifier(), task)
    load_state(checkpoint, resumed)
    assert resumed.best.auc == 0.9
    assert not torch.equal(resumed.average.state_dict()["frame_head.weight"], best["frame_head.weight"])
    assert all(torch.equal(value, best[key]) for key, value in kept(resumed).state_dict().items())


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


def test_the_workers_make_the_batches_of_the_given_steps_in_order(data: tuple[Path, Path], maker: BatchMaker) -> None:
    recipe = RECIPE.model_copy(update={"workers": 2})
    with batches(BatchPlan(*data, recipe, 0), 1, 4) as source:
        made = list(source)
    for step, batch in zip((1, 2, 3), made, strict=True):
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


def test_shuffled_batches_show_every_picture_once_an_epoch_as_it_is(data: tuple[Path, Path]) -> None:
    sampling = Sampling(balance="shuffled", pairs=2, self_blended=0)
    recipe = RECIPE.model_copy(update={"size": 224, "sampling": sampling, "framing": "whole", "degradation": 0.0})
    faces = open_faces(*data)
    made = [BatchMaker(faces, recipe, seed=0).batch(step) for step in range(3)]
    shown = np.concatenate([batch.rgb for batch in made])
    order = [int(np.flatnonzero((faces.pixels == picture).all((1, 2, 3)))[0]) for picture in shown]
    assert sorted(order) == list(range(12))
    assert order != sorted(order)
    assert np.concatenate([batch.labels for batch in made]).tolist() == faces.labels[order].tolist()
