"""Engines built for this machine: where they lie, what their manifests say, and whether one is current.

An engine is code-like: only what a manifest names with its hash is loaded, and only when the manifest's key is the one
that this machine would build today. The key holds everything that could make an engine wrong.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from engines.runtime.ports import TensorSpec
from engines.whole_file import write_whole

Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")

BUILT = Path(__file__).parent / "built"
MANIFEST_FILE = "manifest.json"
FORMAT = 2
_TEXTS = ("model", "graph", "source_sha256", "runtime", "runtime_version", "machine", "precision", "recipe")
RECIPE = "2"
"""Counts up when engines must be built anew because the way they are built has changed."""


@dataclass(frozen=True)
class EngineKey:
    """What an engine was made from, how, and for what."""

    model: str
    """A model's or a face detector's name."""
    graph: str
    """File name of the source graph, such as ``backbone.onnx``."""
    source_sha256: str
    runtime: str
    """Of the closed set in ``engines.runtime.table``."""
    runtime_version: str
    """In full: another one builds anew."""
    machine: str
    """Processor, or GPU with its SM (and L4T on a Jetson), or the SMs that an ahead-of-time build is for."""
    precision: Precision = "fp32"
    batches: tuple[int, ...] = (1,)
    """Smallest, usual and largest batch that it is made for; runtimes that take any batch are timed at these."""
    options: tuple[str, ...] = ()
    """Choices that change the engine, each ``name=value``, sorted: ``dla=0``, ``calibration=<sha256>``, …"""
    recipe: str = RECIPE

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Timing:
    """Of one call, in milliseconds, on the machine that built it."""

    batch: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Parity:
    """How far an engine's answers lie from the reference's, over all parity inputs."""

    reference: str
    """Runtime that gave the reference, such as ``torch-cpu`` or ``onnxruntime-cpu``."""
    inputs: int
    """Pictures or windows that were compared, each at least once."""
    max_logit_delta: float
    """Largest |difference| of a logit; of a graph without one, of any output relative to its spread."""
    limit: float
    """What this precision may differ by."""
    verdict_flips: int = 0
    """Items whose logit changed sides by more than noise: see ``engines.export.parity``."""
    rank_correlation: float | None = None
    """Spearman's, over the real crops' logits; None with too few of them."""
    auc_before: float | None = None
    auc_after: float | None = None
    """On a labelled calibration set; None without one."""
    batches: tuple[int, ...] = (1,)
    """Sizes of the batches that the engine was asked in."""


@dataclass(frozen=True)
class Manifest:
    """Written beside an engine once it has proven equal to its source."""

    key: EngineKey
    engine_file: str
    files: Mapping[str, str]
    """File name -> SHA-256 of every file of the engine."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parity: Parity
    timings: tuple[Timing, ...]
    """One for each batch of the key."""
    toolchain: Mapping[str, str] = field(default_factory=dict)
    """Versions and names for people: tool, CUDA, driver, GPU, L4T, ONNX, …"""
    promise: Mapping[str, Any] = field(default_factory=dict)
    """The spec's ``pixels`` and ``calibration`` as they were, for whoever finds the engine alone."""
    format: int = FORMAT

    @property
    def item_ms(self) -> float:
        """Of one item of the smallest batch, median: what engines are compared by."""
        return self.timings[0].p50_ms / self.timings[0].batch


def engine_folder(root: Path, key: EngineKey) -> Path:
    return root / key.model / f"{Path(key.graph).stem}-{key.runtime}-{key.precision}-{key.digest}"


def find_engine(root: Path, key: EngineKey) -> Path | None:
    """The engine file when its manifest fits ``key`` and all hashes hold; None means: use the source graph."""
    folder = engine_folder(root, key)
    manifest = read_manifest(folder)
    if manifest is None or manifest.key != key or damaged(folder, manifest):
        return None
    return folder / manifest.engine_file


def manifests_under(root: Path) -> list[tuple[Path, Manifest]]:
    """Every engine folder below ``root`` with a manifest that can be read and fits its name, sorted by name."""
    folders = sorted(path.parent for path in root.rglob(MANIFEST_FILE) if not _is_hidden(path.relative_to(root)))
    found = ((folder, read_manifest(folder)) for folder in folders)
    return [
        (folder, manifest)
        for folder, manifest in found
        if manifest is not None and folder.name == engine_folder(root, manifest.key).name
    ]


def damaged(folder: Path, manifest: Manifest) -> list[str]:
    """Files that are missing or differ from their hash; [] when the engine is whole."""
    return [name for name, sha256 in manifest.files.items() if _digest(folder / name) != sha256]


def differences(built: EngineKey, here: EngineKey) -> list[str]:
    """What of ``built`` does not fit this machine, a line each: ``runtime_version: built with 10.3, here 10.7``."""
    pairs = ((item.name, getattr(built, item.name), getattr(here, item.name)) for item in fields(EngineKey))
    return [f"{name}: built with {then}, here {now}" for name, then, now in pairs if then != now]


def read_manifest(folder: Path) -> Manifest | None:
    """None when there is no manifest, or one that this version cannot read."""
    try:
        manifest = _manifest(json.loads((folder / MANIFEST_FILE).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    names = (manifest.engine_file, *manifest.files)
    is_plain = all(Path(name).name == name and name not in ("", ".", "..") for name in names)
    return manifest if manifest.format == FORMAT and is_plain and manifest.engine_file in manifest.files else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Last of all, by rename: an engine without a manifest is never picked up."""
    write_whole(folder / MANIFEST_FILE, json.dumps(asdict(manifest), indent=2).encode() + b"\n")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_hidden(path: Path) -> bool:
    """Inside a folder that is still being built."""
    return any(part.startswith(".") for part in path.parts)


def _digest(path: Path) -> str | None:
    """None for what is not there or must not be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _manifest(raw: dict[str, Any]) -> Manifest:
    """Raises ValueError, KeyError, TypeError or AttributeError for what is none."""
    texts = [raw["engine_file"], *raw["files"], *raw["files"].values(), *(raw["key"][name] for name in _TEXTS)]
    times = [(timing["batch"], timing["p50_ms"], timing["p95_ms"]) for timing in raw["timings"]]
    if not all(isinstance(text, str) for text in texts) or not times:
        raise ValueError("a manifest holds what it must not")
    if not all(isinstance(batch, int) and batch > 0 and 0 < p50 < math.inf and p95 > 0 for batch, p50, p95 in times):
        raise ValueError("a manifest's timings are none")
    return Manifest(
        **{
            **raw,
            "key": EngineKey(
                **{**raw["key"], "batches": tuple(raw["key"]["batches"]), "options": tuple(raw["key"]["options"])}
            ),
            "inputs": tuple(_tensor(item) for item in raw["inputs"]),
            "outputs": tuple(_tensor(item) for item in raw["outputs"]),
            "parity": Parity(**{**raw["parity"], "batches": tuple(raw["parity"].get("batches", (1,)))}),
            "timings": tuple(Timing(**item) for item in raw["timings"]),
        }
    )


def _tensor(raw: dict[str, Any]) -> TensorSpec:
    return TensorSpec(**{**raw, "shape": tuple(raw["shape"])})
