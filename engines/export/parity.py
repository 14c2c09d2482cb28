"""Whether an engine still answers as its source did.

Both are given real crops where there are any, and pictures that no camera makes: that is where float16 overflows and
where int8's calibrated ranges end. A logit may move by what its precision costs; a verdict may change only where the
reference lay within that precision's noise of the edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.catalog import BACKBONE_FILE, CatalogRow
from engines.errors import InferenceError
from engines.preprocess import Bytes, normalise
from engines.ranking import area_under_roc, rank_correlation
from engines.runtime.ports import Array, Backend
from engines.spec import Calibration, ModelSpec
from engines.store import Parity, Precision

SEED = 20
FRAME_LOGIT, HEAD_LOGIT, FEATURES = "frame_logit", "logit", "features"
FEWEST_RANKED = 10
"""Real crops below which a rank correlation says nothing."""
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Limit:
    """What one precision may cost."""

    logit: float
    """Largest |Δlogit|, over all inputs."""
    noise: float
    """A verdict may change where the reference's logit was nearer than this to the edge."""
    relative: float
    """Largest |Δ| of a graph without logits, in spreads: of an output's largest minus its smallest value."""


LIMITS: Mapping[Precision, Limit] = {
    "fp32": Limit(logit=1.0, noise=1.0, relative=0.001),
    "fp16": Limit(logit=5.0, noise=2.5, relative=0.02),
    "bf16": Limit(logit=25.0, noise=15.0, relative=0.1),
    "int8": Limit(logit=50.0, noise=25.0, relative=0.25),
}
"""``logit`` and ``noise`` in units of the row's ``max_logit_delta``, which is what float32 may cost."""


def limit_of(precision: Precision, row: CatalogRow | None = None) -> Limit:
    """Of a catalog model; without a row (a user's own model, a face detector) by the catalog's default."""
    unit = CatalogRow.max_logit_delta if row is None else row.max_logit_delta
    limit = LIMITS[precision]
    return Limit(limit.logit * unit, limit.noise * unit, limit.relative)


@dataclass(frozen=True)
class Side:
    """How a logit becomes a verdict."""

    calibration: Calibration
    edges: tuple[float, ...]
    """Probabilities at which the verdict changes."""

    def at(self, logits: Array) -> Array:
        """How many edges lie below each logit."""
        return np.asarray(np.searchsorted(self._logits, logits, side="right"))

    def distance(self, logits: Array) -> Array:
        """From each logit to the nearest edge."""
        return np.asarray(np.abs(np.subtract.outer(logits, self._logits)).min(axis=-1))

    @property
    def _logits(self) -> Array:
        p = np.array(sorted(self.edges), np.float64)
        return np.asarray(np.log(p / (1 - p)) * self.calibration.temperature - self.calibration.bias)


def sides_of(spec: ModelSpec) -> dict[str, Side]:
    """Of each logit that the spec calibrates: even odds, and where a verdict begins."""
    edges = tuple(edge for edge in (spec.verdict.real_at, 0.5, spec.verdict.fake_at) if 0 < edge < 1)
    calibrations = {HEAD_LOGIT: spec.calibration, FRAME_LOGIT: spec.frame_calibration}
    return {name: Side(found, edges) for name, found in calibrations.items() if found is not None}


def parity_inputs(graph_file: str, spec: ModelSpec, crops: Sequence[Bytes] = ()) -> list[dict[str, Array]]:
    """Batches of one: the given crops ((S, S, 3) RGB of the spec's size) first, then ``hard_pictures``.

    For a head: features of no face in particular, under full, half, alternating, single and empty masks.
    """
    if graph_file != BACKBONE_FILE:
        return _windows(spec)
    size = spec.pixels.size
    return [{"crops": normalise([crop], spec.pixels)} for crop in (*crops, *hard_pictures((size, size)))]


def hard_pictures(size_wh: tuple[int, int]) -> list[Bytes]:
    """(H, W, 3) black, white, noise, checks, red, blue, and a gradient that clips at both ends; the same each time."""
    width, height = size_wh
    shape = (height, width, 3)
    ramp = np.clip(np.linspace(-200, 455, width), 0, 255).astype(np.uint8)
    checks = ((np.indices((height, width)).sum(axis=0) // 4) % 2 * 255).astype(np.uint8)
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)]
    return [
        *(np.full(shape, colour, np.uint8) for colour in colours),
        np.random.default_rng(SEED).integers(0, 256, shape, np.uint8),
        np.repeat(checks[..., None], 3, axis=2),
        np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], shape)),
    ]


def _windows(spec: ModelSpec) -> list[dict[str, Array]]:
    rng = np.random.default_rng(SEED)
    slots, size = spec.window.slots, spec.window.feature_dim
    features = np.abs(rng.standard_normal((1, slots, size))).astype(np.float32)
    slot = np.arange(slots)
    masks = [slot >= 0, rng.random(slots) < 0.5, slot % 2 == 0, slot == slots - 1, slot < 0]
    return [{"features": features, "mask": mask[None].astype(np.float32)} for mask in masks]


def compare(
    reference: Backend,
    built: Backend,
    inputs: Sequence[Mapping[str, Array]],
    limit: Limit,
    *,
    spec: ModelSpec | None = None,
    head: Backend | None = None,
    labels: Labels | Sequence[int] = (),
    real: int = 0,
    batches: Sequence[int] = (1,),
) -> Parity:
    """Ask both for the same answers. Raises InferenceError with one line where they differ too much.

    The reference is asked for one item at a time; the engine for all of them in its smallest batch, and once more in
    each larger one and in a ragged one: see ``asked_in``. ``batches``: that it was built for. ``spec`` says where
    verdicts change; ``head`` reads a backbone's features, each held for a whole window, so that what the live path
    shows is compared too. The first ``real`` inputs are pictures of faces, and ``labels`` theirs, 1 = fake.
    """
    asked = list(asked_in(batches, len(inputs)))
    rows = [item for batch in asked for item in batch]
    before = {name: values[rows] for name, values in _answers(reference, inputs, head, _one_by_one(inputs)).items()}
    after = _answers(built, inputs, head, asked)
    broken = [name for name, values in after.items() if not np.isfinite(values).all()]
    if broken:
        raise InferenceError(f"parity: {built.name} gives NaN or infinity for {broken[0]}: use a wider precision")
    parity = _measured(before, after, limit, sides_of(spec) if spec else {}, real, np.asarray(labels, np.int64))
    parity = replace(parity, reference=reference.name, inputs=len(inputs), batches=tuple(sorted(set(map(len, asked)))))
    _refuse(built.name, parity)
    return parity


def asked_in(batches: Sequence[int], count: int) -> Iterator[tuple[int, ...]]:
    """The numbers of the inputs that each call is asked, all of them in order first.

    Smallest batches come first, the last one filled up from the start; then one of each larger size, and one of a size
    between them, which no profile is best at. They end with the last inputs, which are the hardest.
    """
    sizes = sorted(set(batches))
    smallest, usual = sizes[0], sizes[len(sizes) // 2]
    for start in range(0, count, smallest):
        yield tuple(item % count for item in range(start, start + smallest))
    ragged = usual // 2 + 1
    between = {ragged} if smallest < ragged < sizes[-1] else set()
    for size in sorted({*sizes[1:], *between}):
        yield tuple(item % count for item in range(count - size, count))


def _one_by_one(inputs: Sequence[Mapping[str, Array]]) -> list[tuple[int, ...]]:
    return [(item,) for item in range(len(inputs))]


def _answers(
    backend: Backend, inputs: Sequence[Mapping[str, Array]], head: Backend | None, calls: Sequence[tuple[int, ...]]
) -> dict[str, Array]:
    """Output -> (items asked for, …), the calls one after another."""
    answers = [_items(_answer(backend, _batch_of(inputs, call), head), len(call)) for call in calls]
    return {name: np.concatenate([answer[name] for answer in answers]).astype(np.float64) for name in answers[0]}


def _batch_of(inputs: Sequence[Mapping[str, Array]], call: tuple[int, ...]) -> dict[str, Array]:
    return {name: np.concatenate([inputs[item][name] for item in call]) for name in inputs[0]}


def _items(answer: Mapping[str, Array], count: int) -> dict[str, Array]:
    """An item first, whatever its answer's shape: detectors' answers may have no dimension for the batch."""
    return {name: values[None] if count == 1 else values[:, None] for name, values in answer.items()}


def _answer(backend: Backend, arrays: Mapping[str, Array], head: Backend | None) -> dict[str, Array]:
    answer = backend.infer(arrays)
    if head is None or FEATURES not in answer:
        return answer
    slots = next(spec.shape[1] for spec in head.inputs if spec.name == "mask") or 1
    window = np.repeat(answer[FEATURES][:, None], slots, axis=1)
    return answer | head.infer({"features": window, "mask": np.ones(window.shape[:2], np.float32)})


def _measured(
    before: dict[str, Array], after: dict[str, Array], limit: Limit, sides: dict[str, Side], real: int, labels: Labels
) -> Parity:
    logits = [name for name in (HEAD_LOGIT, FRAME_LOGIT) if name in before]
    if not logits:
        delta = max(_relative(before[name], after[name]) for name in before)
        return Parity("", 0, delta, limit.relative)
    pairs = {name: (before[name].ravel(), after[name].ravel()) for name in logits}
    flips = sum(_flips(*pairs[name], sides[name], limit.noise) for name in logits if name in sides)
    one, other = (logit[:real] for logit in pairs[logits[0]])
    aucs = [area_under_roc(labels, scores) for scores in (one, other)] if _can_rank(labels, real) else [None, None]
    return Parity(
        reference="",
        inputs=0,
        max_logit_delta=max(float(np.abs(a - b).max()) for a, b in pairs.values()),
        limit=limit.logit,
        verdict_flips=flips,
        rank_correlation=rank_correlation(one, other) if real >= FEWEST_RANKED else None,
        auc_before=aucs[0],
        auc_after=aucs[1],
    )


def _relative(before: Array, after: Array) -> float:
    spread = float(before.max() - before.min()) or 1.0
    return float(np.abs(before - after).max()) / spread


def _flips(before: Array, after: Array, side: Side, noise: float) -> int:
    changed = side.at(before) != side.at(after)
    return int((changed & (side.distance(before) > noise)).sum())


def _can_rank(labels: Labels, real: int) -> bool:
    return len(labels) == real and len(np.unique(labels)) == 2


def _refuse(name: str, parity: Parity) -> None:
    """Raise InferenceError for an engine that is not to be used."""
    if not parity.max_logit_delta <= parity.limit:
        what = f"differs by {parity.max_logit_delta:.3g} (limit {parity.limit:.3g})"
        raise InferenceError(f"parity: {name} {what} from {parity.reference}: use a wider precision")
    if parity.verdict_flips:
        raise InferenceError(f"parity: {name} changes {parity.verdict_flips} verdict(s): use a wider precision")
