"""Crops to features and windows to logits: one backbone batch and one head batch, whoever the faces belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from engines.cuda.ports import Preprocessor, infer_prepared
from engines.errors import InferenceError, SpecError
from engines.preprocess import Bytes, FaceView, Floats, levels_of, normalise
from engines.runtime.ports import Array, Backend
from engines.spec import ModelSpec

MAX_BATCH = 16
"""Faces in one run of the backbone: bounds memory (16 crops of 224 px are 9.6 MB) and the time a run takes."""


class ModelScorer:
    """A model's two graphs behind its spec. Used by one thread; reads no clock: the caller times its calls."""

    def __init__(self, backbone: Backend, head: Backend, spec: ModelSpec, *, max_batch: int = MAX_BATCH) -> None:
        """The backends stay the caller's to close. Raises SpecError when a graph is not the one the spec describes."""
        self.spec = spec
        self._backbone = backbone
        self._head = head
        self._max_batch = max_batch
        self._preprocessor: Preprocessor | None = None
        size, window = spec.pixels.size, spec.window
        _check_input(backbone, "crops", (3, size, size))
        _check_input(head, "features", (window.slots, window.feature_dim))
        _check_input(head, "mask", (window.slots,))

    @property
    def backend_name(self) -> str:
        """The runtime that runs the backbone, which is nearly all of the work."""
        return self._backbone.name

    def prepare_on(self, preprocessor: Preprocessor | None) -> None:
        """From the next step on cut faces on the GPU that the backbone runs on, or (None) take the caller's crops.

        The preprocessor stays the caller's to close.
        """
        self._preprocessor = preprocessor

    @property
    def cuts_faces(self) -> bool:
        """Whether ``embed_faces`` cuts faces itself, on the GPU, rather than read the caller's crops."""
        return self._preprocessor is not None

    def embed_faces(self, views: Sequence[FaceView], crops: Sequence[Bytes]) -> Floats:
        """(N, F) float32 features of N faces, whose frames are still borrowed. Raises InferenceError as ``embed`` does.

        ``crops``: the same faces as ``embed`` takes them; not looked at when ``cuts_faces``.
        """
        preprocessor = self._preprocessor  # a runtime that fails in this very call takes it away
        if preprocessor is None:
            return self.embed(crops)
        features = np.empty((len(views), self.spec.window.feature_dim), np.float32)
        for rows in self._batches(len(views)):
            features[rows] = self._embed_views(preprocessor, views[rows], features[rows].shape)
        return features

    def forget_frames(self) -> None:
        """The frames of the step are about to go back to their decoders."""
        if self._preprocessor is not None:
            self._preprocessor.forget()

    def embed(self, crops: Sequence[Bytes]) -> Floats:
        """(N, F) float32 features of N crops, each (S, S, 3) RGB uint8.

        Runs the backbone once for every ``max_batch`` crops. Raises InferenceError when the runtime fails or answers
        with anything but finite numbers.
        """
        features = np.empty((len(crops), self.spec.window.feature_dim), np.float32)
        for rows in self._batches(len(crops)):
            arrays = {"crops": normalise(crops[rows], self.spec.pixels)}
            features[rows] = self._answer(self._backbone, arrays, "features", features[rows].shape)
        return features

    def score(self, features: Floats, mask: Floats) -> Floats:
        """(N,) raw logits of N windows: ``features`` (N, T, F), ``mask`` (N, T) with 1 where there is a sample.

        Turn them into probabilities with ``scoring.calibration``. Raises InferenceError as ``embed`` does.
        """
        logits = np.empty((len(features), 1), np.float32)
        for rows in self._batches(len(features)):
            arrays = {"features": features[rows], "mask": mask[rows]}
            logits[rows] = self._answer(self._head, arrays, "logit", logits[rows].shape)
        return logits[:, 0]

    def _embed_views(self, preprocessor: Preprocessor, views: Sequence[FaceView], shape: tuple[int, ...]) -> Array:
        pixels = self.spec.pixels
        batch = preprocessor.faces(views, pixels.size, levels_of(pixels))
        return _checked(self._backbone, infer_prepared(self._backbone, "crops", batch, preprocessor), "features", shape)

    def _batches(self, count: int) -> Iterator[slice]:
        return (slice(first, min(first + self._max_batch, count)) for first in range(0, count, self._max_batch))

    def _answer(self, backend: Backend, arrays: Mapping[str, Array], output: str, shape: tuple[int, ...]) -> Array:
        return _checked(backend, backend.infer(arrays), output, shape)


def _checked(backend: Backend, answers: Mapping[str, Array], output: str, shape: tuple[int, ...]) -> Array:
    """The output of this name. Raises InferenceError unless it has this shape and holds finite numbers."""
    values = answers.get(output)
    if values is None or values.shape != shape:
        given = "nothing" if values is None else list(values.shape)
        raise InferenceError(f"{backend.name} gave {given} as {output!r}, not {list(shape)}: export the model again")
    if not np.isfinite(values).all():
        raise InferenceError(f"{backend.name} gave a {output!r} that is not a number: export the model again")
    return values


def _check_input(backend: Backend, name: str, shape: tuple[int, ...]) -> None:
    """Compare everything but the batch dimension."""
    found = {spec.name: spec.shape[1:] for spec in backend.inputs}
    if name not in found:
        raise SpecError(f"the graph has no input {name!r} but {sorted(found)}: export the model again")
    fits = len(found[name]) == len(shape) and all(
        have in (None, wanted) for have, wanted in zip(found[name], shape, strict=False)
    )
    if not fits:
        raise SpecError(f"{name!r} is {list(found[name])} in the graph, {list(shape)} in spec.json: export it again")
