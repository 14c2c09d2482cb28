"""One training run from recipe to model folder."""

from __future__ import annotations

import logging
import shutil
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch

from engines.checkpoints.pickled import UNREADABLE, read_pickled
from engines.models.backbone import Backbone
from engines.spec import ModelSpec
from engines.training.device import DeviceName, chosen_device
from engines.training.errors import TrainingError
from engines.training.faces import FaceSet, open_faces
from engines.training.finish import Finish, working_spec
from engines.training.fit import Task, kept, run_fit, start_state, update_average
from engines.training.judge import Judge, judged_stills
from engines.training.loader import BatchPlan, batches, needed_landmarks
from engines.training.progress import Progress, open_board
from engines.training.recipe import BackboneRecipe, Recipe
from engines.training.resume import load_state
from engines.training.start import set_dropout, starting_network

log = logging.getLogger(__name__)

FIRST_STAGE, SECOND_STAGE = "backbone", "refined"


@dataclass(frozen=True)
class Run:
    """A recipe on a data set, with its folders."""

    recipe: Recipe
    data: Path
    scratch: Path
    out: Path
    device: DeviceName = "auto"
    force_leaky_split: bool = False

    @property
    def model_folder(self) -> Path:
        """Where the model is in the end."""
        return self.out / self.recipe.name

    def train(self, *, resume: bool = False) -> ModelSpec:
        """All stages; with ``resume``, those and the steps that are not done yet. Raises EngineError."""
        device = chosen_device(self.device)
        torch.manual_seed(self.recipe.seed)  # of the network's start
        network = starting_network(self.recipe.start, self.recipe.row, self.recipe.pixels.size)
        self._refuse_misfit(network)
        self.out.mkdir(parents=True, exist_ok=True)
        faces = open_faces(self.data, self.scratch, force_leaky_split=self.force_leaky_split)
        finish = Finish(self.recipe, faces, self.out, device, self.force_leaky_split)
        finish.check()
        log.info("training %s on %s", self.recipe.name, device)
        backbone = self._backbone(network, faces, device, resume)
        fitted = any(stage.draws for stage in self._stages().values()) or self.recipe.row.frame_head
        return finish.package(backbone, says_frames=fitted)

    def _stages(self) -> dict[str, BackboneRecipe]:
        """The still-picture fits by name, in order."""
        stages = {FIRST_STAGE: self.recipe.backbone, SECOND_STAGE: self.recipe.refine}
        return {name: recipe for name, recipe in stages.items() if recipe is not None}

    def _backbone(self, network: Backbone, faces: FaceSet, device: torch.device, resume: bool) -> Backbone:
        """All still-picture fits, as far as they are not done yet, and the mix of both."""
        start = deepcopy(network)
        mixed = self._fit_stage(FIRST_STAGE, network, faces, device, resume)
        if self.recipe.refine is not None:
            refined = self._fit_stage(SECOND_STAGE, deepcopy(mixed), faces, device, resume)
            update_average(mixed, refined, 1 - self.recipe.refined_share)
        if self.recipe.start_share:
            update_average(mixed, start.to(device), 1 - self.recipe.start_share)
        return mixed.eval()

    def _fit_stage(self, name: str, network: Backbone, faces: FaceSet, device: torch.device, resume: bool) -> Backbone:
        """One fit of ``network``, or on from its checkpoint; keeps what it ends with as ``<name>.pt``."""
        recipe, finished, checkpoint = self._stages()[name], self.out / f"{name}.pt", self.out / f"{name}.state.pt"
        if resume and finished.is_file():
            return _read_network(finished, network)
        seed = self.recipe.seed + (name != FIRST_STAGE)
        torch.manual_seed(seed)
        torch.set_num_threads(recipe.threads)
        set_dropout(network, recipe.dropout)
        if not recipe.draws:
            return network.eval()
        task = Task(recipe, self.recipe.pixels, self.recipe.row.positive_class, device)
        state = start_state(network, task)
        if resume and (checkpoint.is_file() or name == FIRST_STAGE):
            load_state(checkpoint, state)
        plan = BatchPlan(self.data, self.scratch, recipe, seed, self.force_leaky_split)
        needed_landmarks(faces, plan)  # here, where the log is seen
        with (
            open_board(self.out / "tensorboard" / name, state.step) as board,
            batches(plan, state.step, recipe.steps) as source,
        ):
            progress = Progress(self.out / f"{name}.csv", recipe.steps, recipe.sampling.pictures, board=board)
            run_fit(state, source, task, checkpoint, progress, self._judge(recipe, faces, device))
        torch.save(kept(state).state_dict(), finished)
        return kept(state)

    def _judge(self, recipe: BackboneRecipe, faces: FaceSet, device: torch.device) -> Judge | None:
        if not recipe.validation.every:
            return None
        stills = judged_stills(faces, recipe.validation, self.recipe.seed)
        return Judge(stills, working_spec(self.recipe, recipe.size), device)

    def _refuse_misfit(self, network: Backbone) -> None:
        """Raise TrainingError for sizes that the network does not take."""
        for size in (self.recipe.pixels.size, *(stage.size for stage in self._stages().values())):
            if size < network.SMALLEST:
                raise TrainingError(
                    f"{self.recipe.row.network} takes {network.SMALLEST} px and more: size {size} is less"
                )
            if network.fixed_size not in (None, size):
                raise TrainingError(f"{self.recipe.row.network} takes one size: set size and backbone.size alike")


def install(model: Path, folder: Path) -> None:
    """Put a finished model's folder in the place of ``folder``, in one step. Raises TrainingError."""
    fresh = folder.with_name(f".{folder.name}-new")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(model, fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except OSError as error:
        raise TrainingError(f"cannot write {folder} ({error.strerror or error}): free some space") from None


def _read_network(path: Path, like: Backbone) -> Backbone:
    """The weights that a finished stage left, in ``like``. Raises TrainingError."""
    try:
        like.load_state_dict(read_pickled(path))
    except UNREADABLE as error:
        raise TrainingError(f"{path} holds no backbone of this kind: start without --resume") from error
    return like.eval()
