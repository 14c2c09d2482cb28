"""What sparse windows cost, and what sampling calm faces slowly saves, on pseudo-clips and the shipped model.

    python -m bench.sampling [--faces ../shared/data/deepfake-faces] [--clips 200] [--cache clips.npz]

First, complete windows against the same ones with only every n-th slot left: AUC and how far a probability moves. Then
traces through the live path's own windows, verdicts and sampler: a real face for half a minute, which then turns into
its fake. Told are samples per face-minute while it is real, how long the change takes to show, and false alarms.
``--made-up`` needs neither data nor model: features are one noisy number, which the head averages.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.catalog import open_model
from engines.runtime.ports import Backend
from engines.spec import Calibration, ModelSpec, PixelSpec, WindowSpec
from engines.training.faces import open_faces
from engines.training.metrics import roc_auc
from engines.training.windows import ClipFeatures, ClipPlan, embed_clips
from stream.scheduling.plan import CalmPolicy, StreamPlan
from stream.scheduling.sampling import FaceSampler
from stream.scoring.calibration import fake_probability
from stream.scoring.track_book import TrackBook
from stream.types import FaceBox, TrackedFace, TrackId, Verdict

Floats = NDArray[np.float32]
Score = Callable[[Floats, Floats], Floats]
"""(N, T, F) windows and (N, T) masks to (N,) raw logits."""

SCRATCH = Path("build/training")
"""Where pictures are kept decoded; ``unmask train`` uses the same ones."""
STRIDES = (1, 2, 3, 4)
LOOKS_HZ = 10
REAL_S, FAKE_S = 30.0, 15.0
FACE = TrackId(1)


@dataclass(frozen=True)
class Material:
    """Complete windows in pairs, a real and its fake in turn, and what scores them."""

    spec: ModelSpec
    windows: Floats
    """(N, T, F)"""
    labels: NDArray[np.int64]
    score: Score


@dataclass(frozen=True)
class Trace:
    """What happened to one face."""

    samples: int
    """While it was real."""
    alarms: int
    """Looks at which it was called fake while it was real."""
    shown_after_s: float | None
    """From its change to the verdict fake; None when that never came."""


def main(argv: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.sampling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faces", type=Path, default=Path("../shared/data/deepfake-faces"))
    parser.add_argument("--clips", type=int, default=200, help="half of them real")
    parser.add_argument("--cache", type=Path, help="where the clips' features are kept between runs (.npz)")
    parser.add_argument("--made-up", action="store_true")
    options = parser.parse_args(argv)
    material = made_up(options.clips) if options.made_up else rendered(options.faces, options.clips, options.cache)
    print("every n-th slot | AUC | mean |dp| | 95th percentile")
    for stride in STRIDES:
        print(sparse_line(material, stride))
    print("calm faces every | samples a face-minute | fake shown: share, median s, 95 % s | false alarms")
    for every in STRIDES[:3]:
        print(trace_line(traces_of(material, every), every))


def rendered(faces: Path, count: int, cache: Path | None) -> Material:
    """Pseudo-clips of the validation split with every slot rendered, through the shipped backbone."""
    model = open_model()
    spec = model.spec
    if cache is not None and cache.is_file():
        kept = np.load(cache)
        clips = ClipFeatures(kept["features"], kept["frame_logits"], kept["slots"], kept["labels"])
    else:
        pictures = open_faces(faces, SCRATCH)
        clips = embed_clips(model.backbone, spec, pictures, ClipPlan("val", count, spec.window.slots, 0.0, seed=3))
        if cache is not None:
            np.savez(cache, **vars(clips))
    return Material(spec, clips.features, clips.labels, scorer_of(model.head))


def scorer_of(head: Backend) -> Score:
    return lambda windows, masks: np.asarray(
        head.infer({"features": np.ascontiguousarray(windows), "mask": masks})["logit"][:, 0], np.float32
    )


def made_up(count: int) -> Material:
    """One noisy number a sample, whose mean over the window is the logit."""
    spec = ModelSpec(
        name="made-up",
        pixels=PixelSpec(size=8, mean=(0, 0, 0), std=(1, 1, 1)),
        window=WindowSpec(feature_dim=1),
        calibration=Calibration(temperature=1.0),
        files={},
    )
    rng, labels = np.random.default_rng(0), np.tile(np.array([0, 1], np.int64), count // 2)
    centres = np.where(labels == 1, 2.0, -2.0) + rng.normal(0, 1.0, count)
    windows = (centres[:, None, None] + rng.normal(0, 1.5, (count, spec.window.slots, 1))).astype(np.float32)
    return Material(spec, windows, labels, lambda given, masks: (given[..., 0] * masks).sum(1) / masks.sum(1))


def sparse_mask(slots: int, stride: int) -> Floats:
    """(T,) with the newest slot filled, and every ``stride``-th before it: as a window is when it is scored."""
    mask = np.zeros(slots, np.float32)
    mask[::-stride] = 1
    return mask


def sparse_line(material: Material, stride: int) -> str:
    """AUC of the sparse windows, and how far their probabilities lie from those of complete ones."""
    slots = material.spec.window.slots
    complete = probabilities(material, np.ones(slots, np.float32))
    sparse = probabilities(material, sparse_mask(slots, stride))
    moved = np.abs(sparse - complete)
    area = roc_auc(material.labels, sparse)
    return f"{stride} | {area:.4f} | {moved.mean():.4f} | {np.quantile(moved, 0.95):.4f}"


def probabilities(material: Material, mask: Floats) -> NDArray[np.float64]:
    """(N,) calibrated probabilities of all windows under one mask; what is masked is zero, as live."""
    masks = np.broadcast_to(mask, material.windows.shape[:2]).copy()
    return np.asarray(fake_probability(material.score(material.windows * mask[:, None], masks), material.spec))


def traces_of(material: Material, every: int) -> list[Trace]:
    """Every pair as one face over time, all in step so that their windows share the head's batches."""
    pairs = [(material.windows[row], material.windows[row + 1]) for row in range(0, len(material.labels) - 1, 2)]
    faces = [_Face(material.spec, *pair, every) for pair in pairs]
    for look in range(round((REAL_S + FAKE_S) * LOOKS_HZ)):
        pts_ns = look * 1_000_000_000 // LOOKS_HZ
        ready = [(face, *face.look(pts_ns)) for face in faces]
        ready = [entry for entry in ready if len(entry[1])]
        if ready:
            logits = material.score(np.concatenate([e[1] for e in ready]), np.concatenate([e[2] for e in ready]))
            for (face, *_), logit in zip(ready, logits, strict=True):
                face.book.set_scores((FACE,), np.array([logit]), pts_ns)
        for face in faces:
            face.learn(pts_ns)
    return [face.trace for face in faces]


class _Face:
    """One pair's trace: its real clip to and fro for ``REAL_S``, then its fake."""

    def __init__(self, spec: ModelSpec, real: Floats, fake: Floats, every: int) -> None:
        self.book = TrackBook(spec)
        self._sampler = FaceSampler(StreamPlan(is_live=True), spec.window, CalmPolicy(every))
        self._real, self._fake, self._period_ns = real, fake, round(spec.window.period_s * 1e9)
        self._samples = self._alarms = 0
        self._shown_ns: int | None = None

    def look(self, pts_ns: int) -> tuple[Floats, Floats]:
        """Sample if it is time; (1, T, F) window and (1, T) mask to score, or none of either."""
        if self.book.due([FACE], pts_ns):
            _, steps = self.book.slot_at(FACE, pts_ns)
            if self._sampler.stride(FACE, pts_ns).skips(steps) is None:
                self.book.remember(FACE, pts_ns, self._feature(pts_ns))
                self._samples += pts_ns < REAL_S * 1e9
        return self.book.windows_to_score()[1:]

    def learn(self, pts_ns: int) -> None:
        face = TrackedFace(FACE, FaceBox((0, 0, 9, 9), 0.9), detected=True)
        scores = self.book.face_scores([face], {}, pts_ns)
        self._sampler.learn(scores, pts_ns)
        is_fake, is_called = pts_ns >= REAL_S * 1e9, scores[0].verdict is Verdict.FAKE
        self._alarms += is_called and not is_fake
        if is_called and is_fake and self._shown_ns is None:
            self._shown_ns = pts_ns

    @property
    def trace(self) -> Trace:
        after = None if self._shown_ns is None else self._shown_ns / 1e9 - REAL_S
        return Trace(self._samples, self._alarms, after)

    def _feature(self, pts_ns: int) -> Floats:
        clip = self._fake if pts_ns >= REAL_S * 1e9 else self._real
        turn, slot = divmod(pts_ns // self._period_ns, len(clip))
        return np.asarray(clip[slot if turn % 2 == 0 else len(clip) - 1 - slot], np.float32)


def trace_line(traces: list[Trace], every: int) -> str:
    """Of faces that were not already called fake while they were real: those can change no more."""
    quiet = [trace for trace in traces if not trace.alarms]
    shown = [trace.shown_after_s for trace in quiet if trace.shown_after_s is not None]
    rate = sum(trace.samples for trace in traces) / len(traces) / (REAL_S / 60)
    share = len(shown) / max(1, len(quiet))
    middle, late = (np.quantile(shown, q) if shown else float("nan") for q in (0.5, 0.95))
    false = len(traces) - len(quiet)
    return f"{every} | {rate:.0f} | {share:.3f}, {middle:.1f}, {late:.1f} | {false} of {len(traces)}"


if __name__ == "__main__":
    main()
