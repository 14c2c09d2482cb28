"""From a trained backbone to a model's folder: windows, the head, calibration, measurement."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engines.checkpoints.networks import Head
from engines.checkpoints.own import TrainedModel
from engines.export.graph import backbone_graph
from engines.export.package import NEUTRAL, neutral_spec, write_package
from engines.models.backbone import Backbone
from engines.models.gru_head import mean_logit_head
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.runtime.ports import Backend
from engines.spec import ModelSpec
from engines.store import sha256_of
from engines.training.datasets.splits import refuse_leaks
from engines.training.device import TorchBackend
from engines.training.errors import TrainingError
from engines.training.faces import FaceSet
from engines.training.head import find_directions, fit_head
from engines.training.measure import Stills, calibrated_spec, track_numbers
from engines.training.recipe import Recipe
from engines.training.still_scores import frame_logits
from engines.training.track_windows import embed_tracks, joined
from engines.training.tracks import FaceTrack, read_tracks
from engines.training.windows import ClipFeatures, ClipPlan, embed_clips

log = logging.getLogger(__name__)
GRAPH_FILE = "backbone.onnx"
"""Of the backbone with its frame head, as windows are made through it."""
_NOTHING = "nothing to fit the head on: set head.train_clips, or head.tracks with a train split"


@dataclass(frozen=True, repr=False)
class Finish:
    """The end of a run: what comes after the still-picture fits."""

    recipe: Recipe
    faces: FaceSet
    out: Path
    device: torch.device
    force_leaky_split: bool = False

    def check(self) -> None:
        """Before any fit: raise TrainingError for tracks that the end of the run could not use."""
        tracks = self._tracks()
        for split, found in tracks.items():
            if len({track.label for track in found}) == 1:
                raise TrainingError(
                    f"head.tracks holds one class only in its {split} split: extract real and fake videos"
                )
        fits_head = self.recipe.row.head != "mean_logit"
        if fits_head and not self.recipe.head.train_clips and not tracks["train"]:
            raise TrainingError(_NOTHING)

    def package(self, backbone: Backbone, *, says_frames: bool) -> ModelSpec:
        """Write the model's folder. ``says_frames``: whether its frame head was ever fitted."""
        spec, tracks = working_spec(self.recipe), self._tracks()
        graph, digest = self._graph(backbone, spec)
        head = self._head(backbone, spec, graph, digest, tracks["train"], says_frames)
        clips = self._clips(graph, spec, self._plan("val"), digest)
        stills = self.faces.subset(self.faces.rows("val"))
        sources = tuple(face.source for face in stills.faces)
        said = Stills(frame_logits(graph, spec, stills), stills.labels, sources) if says_frames else None
        spec = calibrated_spec(spec, head, clips, said)
        if tracks["val"]:
            windows = self._track_windows(graph, spec, tracks["val"])
            spec = spec.model_copy(update={"measured": spec.measured | track_numbers(spec, head, windows)})
        return write_package(self.out / self.recipe.name, spec, TrainedModel(self._shipped(backbone), head))

    def _graph(self, backbone: Backbone, spec: ModelSpec) -> tuple[Backend, str]:
        """What windows are made through, and its fingerprint: the exported graph, or on a GPU the network itself."""
        path = self.out / GRAPH_FILE
        path.write_bytes(backbone_graph(backbone.cpu(), spec.pixels.size))
        digest = sha256_of(path)[:12]
        if self.device.type == "cuda":
            return TorchBackend(deepcopy(backbone), self.device), digest
        return OnnxRuntimeBackend(path, threads=self.recipe.backbone.threads), digest

    def _head(
        self,
        backbone: Backbone,
        spec: ModelSpec,
        graph: Backend,
        digest: str,
        tracks: list[FaceTrack],
        says_frames: bool,
    ) -> Head:
        """The mean of frame logits, or a GRU fitted on the train split's windows."""
        if self.recipe.row.head == "mean_logit":
            return mean_logit_head(_frame_head(backbone)).eval()
        recipe, parts = self.recipe.head, []
        if recipe.train_clips:
            parts.append(self._clips(graph, spec, self._plan("train"), digest))
        if tracks:
            parts.append(self._track_windows(graph, spec, tracks))
        if not parts:
            raise TrainingError(_NOTHING)
        clips = joined(parts)
        if not recipe.directions:
            return fit_head(clips, None, recipe, self.recipe.seed)
        if not says_frames:
            raise TrainingError("head.directions begin with a fitted frame head: set them to 0, or backbone.draws")
        weights = _frame_head(backbone).weight[0].detach().numpy()
        features = clips.features.reshape(-1, backbone.feature_dim)
        return fit_head(clips, find_directions(features, weights, recipe.directions), recipe, self.recipe.seed)

    def _shipped(self, backbone: Backbone) -> Backbone:
        """Without the frame head where the catalog's row has none."""
        shipped = deepcopy(backbone).eval()
        if not self.recipe.row.frame_head:
            shipped.frame_head = None
        return shipped

    def _plan(self, split: str) -> ClipPlan:
        """Measured on forged faces only: self-blended ones are for training."""
        recipe, trains = self.recipe.head, split == "train"
        clips = recipe.train_clips if trains else recipe.val_clips
        blended, seed = recipe.self_blended if trains else 0.0, self.recipe.seed
        return ClipPlan(split, clips, recipe.rendered, blended, seed, recipe.h264)

    def _clips(self, graph: Backend, spec: ModelSpec, plan: ClipPlan, digest: str) -> ClipFeatures:
        """Features of the planned clips, kept under the backbone's fingerprint: a second run reads them."""
        drawn = f"{plan.clips}-{plan.rendered}-{plan.self_blended:g}-{plan.seed}"
        name = f"{plan.split}-{drawn}-{spec.window.period_s:g}s-{digest}"
        name += f"-h264-{plan.h264:g}" if plan.h264 else ""
        path = self.out / f"clips-{name}.npz"
        if path.is_file():
            kept = np.load(path)
            return ClipFeatures(kept["features"], kept["frame_logits"], kept["slots"], kept["labels"])
        log.info("rendering %d %s clips of %d frames", plan.clips, plan.split, plan.rendered)
        clips = embed_clips(graph, spec, self.faces, plan)
        np.savez(path, **vars(clips))
        return clips

    def _tracks(self) -> dict[str, list[FaceTrack]]:
        """Real tracks by split. Raises TrainingError where a source lies on both sides."""
        folder = self.recipe.head.tracks
        found = [] if folder is None else read_tracks(folder.expanduser())
        places = [(track.source, track.split) for track in found]
        places += [(face.source, face.split) for face in self.faces.faces if found]
        refuse_leaks(places, force=self.force_leaky_split)
        return {split: [track for track in found if track.split == split] for split in ("train", "val")}

    def _track_windows(self, graph: Backend, spec: ModelSpec, tracks: list[FaceTrack]) -> ClipFeatures:
        log.info("reading the windows of %d tracks", len(tracks))
        return embed_tracks(graph, spec, tracks, rendered=self.recipe.head.rendered, seed=self.recipe.seed)


def working_spec(recipe: Recipe, size: int | None = None) -> ModelSpec:
    """The model's promise while it is made, at ``size`` pixels or the size it ships at: every network says frames."""
    spec = neutral_spec(recipe.name, size or recipe.pixels.size, of=recipe.row.name)
    window = spec.window.model_copy(update={"period_s": recipe.head.period_s})
    return spec.model_copy(update={"window": window, "frame_calibration": NEUTRAL, "still_mirror": recipe.still_mirror})


def _frame_head(backbone: Backbone) -> torch.nn.Linear:
    if backbone.frame_head is None:
        raise TrainingError("the network has no frame head: begin with another")
    return backbone.frame_head
