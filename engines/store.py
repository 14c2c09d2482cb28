"""Engines built for this machine: where they lie, what their manifests say, and whether one is current.

An engine is keyed by everything that could make it wrong: the source graph's hash, the runtime's full version and the
processor. ``find_engine`` trusts only what a manifest names with its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import onnxruntime as ort

BUILT = Path(__file__).parent / "built"
FORMAT = 1


@dataclass(frozen=True)
class EngineKey:
    """What an engine was made from and for."""

    model: str
    graph: str
    """File name of the source graph, such as ``backbone.onnx``."""
    source_sha256: str
    runtime: str
    """Name and full version."""
    machine: str
    """Architecture and processor model."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Manifest:
    """Written beside an engine once it has proven equal to its source."""

    key: EngineKey
    engine_file: str
    engine_sha256: str
    max_delta: float
    """Largest absolute difference of any output against the source graph, on the parity inputs."""
    p50_ms: float
    p95_ms: float
    """Of one item, on the machine that built it."""
    format: int = FORMAT


def key_for(model: str, graph: Path, source_sha256: str) -> EngineKey:
    """The key of ``graph`` on this machine with this ONNX Runtime."""
    return EngineKey(model, graph.name, source_sha256, f"onnxruntime-cpu {ort.__version__}", _machine())


def engine_folder(root: Path, key: EngineKey) -> Path:
    return root / key.model / f"{Path(key.graph).stem}-{key.digest}"


def find_engine(root: Path, key: EngineKey) -> Path | None:
    """The engine file when its manifest fits ``key`` and its hash holds; None means: use the source graph."""
    manifest = read_manifest(engine_folder(root, key))
    if manifest is None or manifest.key != key:
        return None
    engine = engine_folder(root, key) / manifest.engine_file
    return engine if engine.is_file() and sha256_of(engine) == manifest.engine_sha256 else None


def read_manifest(folder: Path) -> Manifest | None:
    """None when there is no manifest, or one that this version cannot read."""
    try:
        fields = json.loads((folder / "manifest.json").read_bytes())
        manifest = Manifest(**{**fields, "key": EngineKey(**fields["key"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if manifest.format == FORMAT else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Last of all, by rename: an engine without a manifest is never picked up."""
    partial = folder / "manifest.json.partial"
    partial.write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    os.replace(partial, folder / "manifest.json")


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _machine() -> str:
    return f"{platform.machine()} {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags", "Features"))]
    return hashlib.sha256("\n".join(names[:2]).encode()).hexdigest()[:12] if names else platform.processor()
