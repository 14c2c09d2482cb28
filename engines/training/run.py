"""One training run from recipe to model folder."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engines.catalog import BACKBONE_FILE, model_folder
from engines.checkpoints.imagenet import imagenet_file, load_imagenet
from engines.checkpoints.own import TrainedModel, load_checkpoint
from engines.checkpoints.pickled import UNREADABLE, read_pickled
from engines.export.package import CHECKPOINT_FILE, neutral_spec, write_package, write_spec
from engines.models.efficientnet_lite import FEATURE_DIM, FrameClassifier
from engines.models.gru_head import GruHead
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.spec import ModelSpec
from engines.training.errors import TrainingError
from engines.training.evaluate import frame_logits
from engines.training.faces import FaceSet, open_faces
from engines.training.fit import Progress, load_state, run_fit, start_state, update_average
from engines.training.head import find_directions, fit_head
from engines.training.loader import BatchPlan, batches, needed_landmarks
from engines.training.measure import calibrated_spec
from engines.training.recipe import BackboneRecipe, Recipe
from engines.training.windows import ClipFeatures, ClipPlan, embed_clips

log = logging.getLogger(__name__)

FIRST_STAGE = "backbone"


@dataclass(frozen=True)
class Run:
    """A recipe on a data set, with its folders."""

    recipe: Recipe
    data: Path
    scratch: Path
    out: Path
    force_leaky_split: bool = False

    def train(self, *, resume: bool = False, backbone: Path | None = None) -> ModelSpec:
        """All stages. ``backbone`` names finished weights of the first one to use instead. Raises EngineError."""
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.recipe.seed)  # of the frame head's start
        faces = open_faces(self.data, self.scratch, force_leaky_split=self.force_leaky_split)
        return self.fit_windows(self._backbone(resume, backbone), faces)

    def fit_stage(self, name: str, recipe: BackboneRecipe, model: FrameClassifier, *, resume: bool) -> FrameClassifier:
        """One still-picture fit of ``model``, or on from its checkpoint; keeps the average as ``<name>.pt``."""
        finished, checkpoint = self.out / f"{name}.pt", self.out / f"{name}.state.pt"
        if resume and finished.is_file():
            return _read_backbone(finished)
        seed = self.recipe.seed + (name != FIRST_STAGE)
        torch.manual_seed(seed)
        torch.set_num_threads(recipe.threads)
        state = start_state(model, recipe)
        if resume and (checkpoint.is_file() or name == FIRST_STAGE):
            load_state(checkpoint, state)
        plan = BatchPlan(self.data, self.scratch, recipe, seed, self.force_leaky_split)
        needed_landmarks(plan.open_faces(), plan)  # here, where the log is seen
        progress = Progress(self.out / f"{name}.csv", recipe.steps, 2 * recipe.sampling.pairs)
        with batches(plan, state.step, recipe.steps) as source:
            run_fit(state, source, recipe, checkpoint, progress)
        torch.save(state.average.state_dict(), finished)
        return state.average.eval()

    def _backbone(self, resume: bool, given: Path | None) -> FrameClassifier:
        """Both still-picture stages, as far as they are asked for and not done yet."""
        first = self.recipe.backbone
        if given:
            model = _read_backbone(given)
        else:
            model = self.fit_stage(FIRST_STAGE, first, self._start(first.dropout), resume=resume)
        if self.recipe.refine is None:
            return model
        refined = self.fit_stage("refined", self.recipe.refine, deepcopy(model).train(), resume=resume)
        update_average(model, refined, 1 - self.recipe.refined_share)
        return model.eval()

    def _start(self, dropout: float) -> FrameClassifier:
        """What the first fit begins with."""
        model = FrameClassifier(dropout)
        if self.recipe.start == "imagenet":
            load_imagenet(model, imagenet_file())
        else:
            stored = load_checkpoint(model_folder(self.recipe.start) / CHECKPOINT_FILE).backbone
            if not isinstance(stored, FrameClassifier):
                raise TrainingError(f"start: {self.recipe.start} has another backbone: name a lite0 model")
            model.load_state_dict(stored.state_dict())
        return model

    def fit_windows(self, backbone: FrameClassifier, faces: FaceSet) -> ModelSpec:
        """The head stage, then calibration and measurement; writes the model folder."""
        folder = self.out / self.recipe.name
        spec = neutral_spec(self.recipe.name, self.recipe.size)
        spec = write_package(folder, spec, TrainedModel(backbone, GruHead(FEATURE_DIM)))
        graph = OnnxRuntimeBackend(folder / BACKBONE_FILE, threads=self.recipe.backbone.threads)
        head = self._fit_head(backbone, self._clips(graph, spec, faces, self._plan("train")))
        spec = write_package(folder, spec, TrainedModel(backbone, head))
        clips = self._clips(graph, spec, faces, self._plan("val"))
        stills = faces.subset(faces.rows("val"))
        spec = calibrated_spec(spec, head, clips, frame_logits(graph, spec, stills), stills.labels)
        write_spec(folder, spec)
        return spec

    def _fit_head(self, backbone: FrameClassifier, clips: ClipFeatures) -> GruHead:
        recipe, weights = self.recipe.head, backbone.frame_head.weight[0].detach().numpy()
        directions = find_directions(clips.features.reshape(-1, FEATURE_DIM), weights, recipe.directions)
        return fit_head(clips, directions, recipe, self.recipe.seed)

    def _plan(self, split: str) -> ClipPlan:
        """Measured on forged faces only: self-blended ones are for training."""
        recipe, trains = self.recipe.head, split == "train"
        clips = recipe.train_clips if trains else recipe.val_clips
        blended, seed = recipe.self_blended if trains else 0.0, self.recipe.seed
        return ClipPlan(split, clips, recipe.rendered, blended, seed, recipe.h264)

    def _clips(self, graph: OnnxRuntimeBackend, spec: ModelSpec, faces: FaceSet, plan: ClipPlan) -> ClipFeatures:
        """Features of the planned clips, kept under the backbone's hash: a second run reads them."""
        name = f"{plan.split}-{plan.clips}-{plan.rendered}-{plan.seed}-{spec.files[BACKBONE_FILE][:12]}"
        name += f"-h264-{plan.h264:g}" if plan.h264 else ""
        path = self.out / f"clips-{name}.npz"
        if path.is_file():
            kept = np.load(path)
            return ClipFeatures(kept["features"], kept["frame_logits"], kept["slots"], kept["labels"])
        log.info("rendering %d %s clips of %d frames", plan.clips, plan.split, plan.rendered)
        clips = embed_clips(graph, spec, faces, plan)
        np.savez(path, **vars(clips))
        return clips


def _read_backbone(path: Path) -> FrameClassifier:
    model = FrameClassifier()
    try:
        model.load_state_dict(read_pickled(path))
    except UNREADABLE as error:
        raise TrainingError(f"{path} holds no backbone of this kind: train one without --backbone") from error
    return model.eval()
