"""Batches made ahead of the fit by worker processes, in order of their steps."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.training.augment import Framing, Odds, View, random_view, through_a_stream
from engines.training.changes import cells, changed_part, unknown, untouched
from engines.training.degrade import Floats, Rgb, Rng
from engines.training.errors import TrainingError
from engines.training.faces import FaceSet, open_faces
from engines.training.landmarks import Points, known, open_landmarks
from engines.training.pairing import Pair, Pairing, Shuffle
from engines.training.recipe import BackboneRecipe
from engines.training.self_blend import blended_with_itself
from engines.training.swap import Donors, Still, swapped

_AHEAD = 8
_PATIENCE_S = 120.0
_LOOK_UP_S = 2.0


@dataclass(frozen=True)
class BatchPlan:
    """All a worker needs to make any batch by itself."""

    root: Path
    scratch: Path
    recipe: BackboneRecipe
    seed: int
    force_leaky_split: bool = False

    def open_faces(self) -> FaceSet:
        return open_faces(self.root, self.scratch, force_leaky_split=self.force_leaky_split)


@dataclass(frozen=True, repr=False)
class Batch:
    """Pictures and labels of one step."""

    rgb: NDArray[np.uint8]
    """(N, S, S, 3)"""
    labels: NDArray[np.float32]
    """(N,) 1 = fake."""
    changed: NDArray[np.float32]
    """(N, G, G) where a forgery changed the picture, 0-1; NaN where that is unknown."""

    def rows(self, rows: NDArray[np.int64]) -> Batch:
        """The given pictures of it."""
        return Batch(self.rgb[rows], self.labels[rows], self.changed[rows])


class BatchMaker:
    """Makes the batch of any step from the training split: a function of (seed, step)."""

    def __init__(self, faces: FaceSet, recipe: BackboneRecipe, seed: int, landmarks: Points | None = None) -> None:
        """``landmarks``: (N, 68, 2) of all faces, where the recipe needs them."""
        rows = faces.rows("train")
        self._pixels, self._rows = faces.pixels, rows
        self._size, self._degradation, self._seed = recipe.size, recipe.degradation, seed
        self._odds = Odds(recipe.h264, recipe.exposure, recipe.colour)
        self._points = None if landmarks is None else landmarks[rows]
        self._landmark_masks = recipe.sampling.landmark_masks
        chosen = [faces.faces[row] for row in rows]
        donors = None if self._points is None else Donors(chosen, self._points)
        self._is_whole = recipe.framing == "whole"
        self._labels = np.array([face.is_fake for face in chosen], np.float32)
        self._pairing = Pairing(chosen, recipe.sampling, seed, donors)
        self._shuffle = None
        if recipe.sampling.balance == "shuffled":
            self._shuffle = Shuffle(len(chosen), recipe.sampling.pictures, seed)

    def batch(self, step: int) -> Batch:
        """Real and fake alternate, pair by pair, unless the recipe shuffles them."""
        rng = np.random.default_rng((self._seed, 3, step))
        if self._shuffle is not None:
            return self._shuffled(rng, self._shuffle.batch(step))
        items = [item for pair in self._pairing.batch(step) for item in self._items(rng, pair)]
        pictures, changes = zip(*items, strict=True)
        labels = np.tile(np.array([0, 1], np.float32), len(pictures) // 2)
        return Batch(np.stack(pictures), labels, np.stack(changes))

    def _shuffled(self, rng: Rng, rows: list[int]) -> Batch:
        faces = [self._face(row) for row in rows]
        pictures = [self._sent(rng, self._view(rng, face.shape[0]).of(face, self._size)) for face in faces]
        maps = [unknown(self._size) if self._labels[row] else untouched(self._size) for row in rows]
        return Batch(np.stack(pictures), self._labels[rows], np.stack(maps))

    def _items(self, rng: Rng, pair: Pair) -> list[tuple[Rgb, Floats]]:
        """The real and the fake, each with its map of changes."""
        real = self._face(pair.real)
        fake, part = self._fake(rng, real, pair)
        view = self._view(rng, real.shape[0])
        genuine = self._sent(rng, view.of(real, self._size)), untouched(self._size)
        view = self._view(rng, fake.shape[0])
        forged = self._sent(rng, view.of(fake, self._size))
        if part is None:
            return [genuine, (forged, unknown(self._size))]
        return [genuine, (forged, cells(view.of_mask(part, fake.shape[0], self._size), self._size))]

    def _view(self, rng: Rng, side: int) -> View:
        if self._is_whole:
            return View(Framing(side / 2, side / 2, side), mirrored=False)
        return random_view(rng, side)

    def _sent(self, rng: Rng, rgb: Rgb) -> Rgb:
        return through_a_stream(rng, rgb, self._degradation, self._odds)

    def _fake(self, rng: Rng, real: Rgb, pair: Pair) -> tuple[Rgb, Floats | None]:
        if pair.fake is not None:
            fake = self._face(pair.fake)
            return fake, changed_part(real, fake)
        if pair.donor is not None and self._points is not None:
            donor = Still(self._face(pair.donor), self._points[pair.donor])
            return swapped(rng, Still(real, self._points[pair.real]), donor)
        return blended_with_itself(rng, real, self._mask_points(rng, pair.real))

    def _mask_points(self, rng: Rng, row: int) -> Points | None:
        """The landmarks that a self-blending mask is to follow, if it is to follow any."""
        if self._points is None or not known(self._points)[row] or rng.random() >= self._landmark_masks:
            return None
        return np.asarray(self._points[row], np.float32)

    def _face(self, row: int) -> NDArray[np.uint8]:
        return np.array(self._pixels[self._rows[row]])


def needed_landmarks(faces: FaceSet, plan: BatchPlan) -> Points | None:
    """The landmarks that the plan's recipe asks for, if it asks for any; the first call finds them all."""
    return open_landmarks(faces, plan.scratch) if plan.recipe.sampling.needs_landmarks else None


@contextmanager
def batches(plan: BatchPlan, start: int, stop: int) -> Iterator[Iterator[Batch]]:
    """The batches of steps ``start`` to ``stop``; the workers, who take turns, end with the ``with``."""
    context, count = mp.get_context("spawn"), plan.recipe.workers
    queues = [context.Queue(max(1, _AHEAD // count)) for _ in range(count)]
    turns = [(plan, range(start + number, stop, count), queue) for number, queue in enumerate(queues)]
    workers = [context.Process(target=_produce, args=turn, daemon=True) for turn in turns]
    for worker in workers:
        worker.start()
    try:
        places = (step % count for step in range(stop - start))
        yield (_next(queues[place], workers[place]) for place in places)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _next(queue: mp.Queue[Batch], worker: mp.process.BaseProcess) -> Batch:
    while True:
        try:
            return queue.get(timeout=_PATIENCE_S)
        except Empty:
            if not worker.is_alive():
                raise TrainingError("the batch worker died: free some memory and --resume") from None


def _produce(plan: BatchPlan, steps: range, queue: mp.Queue[Batch]) -> None:
    cv2.setNumThreads(1)
    faces = plan.open_faces()
    maker = BatchMaker(faces, plan.recipe, plan.seed, needed_landmarks(faces, plan))
    for step in steps:
        if not _put(queue, maker.batch(step)):
            queue.cancel_join_thread()  # nobody is left to take what is queued
            return


def _put(queue: mp.Queue[Batch], batch: Batch) -> bool:
    """Wait for room; False when the parent was killed, which must not leave the worker behind."""
    parent = mp.parent_process()
    while parent is None or parent.is_alive():
        try:
            queue.put(batch, timeout=_LOOK_UP_S)
        except Full:
            continue
        return True
    return False
