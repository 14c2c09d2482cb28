#!/usr/bin/env python3
"""Trained weights to engines for this machine, each proven equal to its source before it is picked up.

Here: ONNX Runtime on the CPU. The shipped graphs (float16 weights) are folded and optimised for this processor,
compared with the unoptimised graph on noise, black and white input, timed, and kept with a manifest under
engines/built/.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

from engines.catalog import BACKBONE_FILE, CATALOG, SPEC_FILE, graphs_of, model_folder, models_here
from engines.errors import EngineError, InferenceError
from engines.preprocess import normalise
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.runtime.ports import Array, Backend
from engines.spec import ModelSpec, load_spec, verify_files
from engines.store import (
    BUILT,
    EngineKey,
    Manifest,
    engine_folder,
    find_engine,
    key_for,
    read_manifest,
    sha256_of,
    write_manifest,
)

TIMED_RUNS = 20
PARITY_SEED = 20


def main(argv: list[str] | None = None) -> int:
    """Build, list or verify; returns the exit code (0 fine, 3 when an engine cannot be built or is not current)."""
    options = _parser().parse_args(argv)
    try:
        names = options.model or sorted(models_here())
        if options.verify or options.list:
            current = [manifest for name in names for manifest in _current(name, options.root)]
            return _report(current, sum(len(_graphs(name)) for name in names), options)
        manifests = [_ensure(key, graph, spec, options) for name in names for key, graph, spec in _graphs(name)]
    except EngineError as error:
        print(f"build_engines.py: {error}", file=sys.stderr)
        return 3
    return _report(manifests, len(manifests), options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_engines.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="a catalog name; default: every model with weights here"
    )
    parser.add_argument("--root", type=Path, default=BUILT, help="where engines are kept (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="build again even when a current engine is there")
    parser.add_argument("--list", action="store_true", help="show the current engines and build nothing")
    parser.add_argument("--verify", action="store_true", help="as --list, and exit 3 when one is missing or damaged")
    parser.add_argument("--json", action="store_true", help="print manifests as JSON")
    return parser


def _graphs(name: str) -> list[tuple[EngineKey, Path, ModelSpec]]:
    folder = model_folder(name)
    spec = load_spec(folder / SPEC_FILE)
    graphs = graphs_of(spec)
    verify_files(folder, spec, graphs)
    return [(key_for(spec.name, folder / file, spec.files[file]), folder / file, spec) for file in graphs]


def _current(name: str, root: Path) -> list[Manifest]:
    manifests = [
        read_manifest(engine_folder(root, key)) for key, _, _ in _graphs(name) if find_engine(root, key) is not None
    ]
    return [manifest for manifest in manifests if manifest is not None]


def _ensure(key: EngineKey, graph: Path, spec: ModelSpec, options: argparse.Namespace) -> Manifest:
    folder = engine_folder(options.root, key)
    manifest = read_manifest(folder)
    if manifest is not None and not options.force and find_engine(options.root, key) is not None:
        return manifest
    return _build(key, graph, spec, folder)


def _build(key: EngineKey, graph: Path, spec: ModelSpec, folder: Path) -> Manifest:
    """Into a temporary folder beside the final one; a failure leaves nothing behind."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as scratch:
        engine = Path(scratch) / "engine.onnx"
        _optimise(graph, engine)
        manifest = _prove(key, graph, engine, spec)
        write_manifest(Path(scratch), manifest)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scratch, folder)
    return manifest


def _optimise(graph: Path, engine: Path) -> None:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(engine)
    options.log_severity_level = 3  # the warning that the file is machine-specific is the very point
    try:
        ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise EngineError(f"optimise: {graph.name}: {error}; restore the weights and try again") from error


def _prove(key: EngineKey, graph: Path, engine: Path, spec: ModelSpec) -> Manifest:
    source, built = OnnxRuntimeBackend(graph), OnnxRuntimeBackend(engine)
    delta = max(_delta(source, built, arrays) for arrays in parity_inputs(graph.name, spec))
    limit = CATALOG[key.model].max_logit_delta if key.model in CATALOG else 0.02
    if not delta <= limit:
        raise EngineError(f"parity: {graph.name} differs by {delta:.3g} (limit {limit}); keep using the shipped graph")
    p50, p95 = _latency_ms(built, parity_inputs(graph.name, spec)[0])
    return Manifest(key, engine.name, sha256_of(engine), delta, p50, p95)


def parity_inputs(graph: str, spec: ModelSpec) -> list[dict[str, Array]]:
    """Noise, black and white crops for the backbone; noise with full, partial and empty masks for the head."""
    rng = np.random.default_rng(PARITY_SEED)
    window, size = spec.window, spec.pixels.size
    if graph == BACKBONE_FILE:
        shape = (size, size, 3)
        crops = [rng.integers(0, 256, shape, np.uint8), np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]
        return [{"crops": normalise([crop], spec.pixels)} for crop in crops]
    features = np.abs(rng.standard_normal((1, window.slots, window.feature_dim))).astype(np.float32)
    masks = [np.ones((1, window.slots)), rng.random((1, window.slots)) < 0.5, np.zeros((1, window.slots))]
    return [{"features": features, "mask": mask.astype(np.float32)} for mask in masks]


def _delta(source: Backend, built: Backend, arrays: Mapping[str, Array]) -> float:
    expected, actual = source.infer(arrays), built.infer(arrays)
    deltas = [float(np.max(np.abs(expected[name] - actual[name]))) for name in expected]
    if not np.all(np.isfinite(deltas)):
        raise InferenceError("parity: the graph gives NaN or infinity; export the model again")
    return max(deltas)


def _latency_ms(backend: Backend, arrays: Mapping[str, Array]) -> tuple[float, float]:
    taken = []
    for _ in range(TIMED_RUNS):
        began = time.perf_counter()
        backend.infer(arrays)
        taken.append((time.perf_counter() - began) * 1e3)
    p50, p95 = np.percentile(taken, [50, 95])
    return float(p50), float(p95)


def _report(manifests: list[Manifest], wanted: int, options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps([asdict(manifest) for manifest in manifests], indent=2))
    else:
        Console().print(_table(manifests))
    missing = wanted - len(manifests)
    if options.verify and missing:
        print(f"build_engines.py: {missing} engine(s) missing or damaged: run build_engines.py", file=sys.stderr)
        return 3
    return 0


def _table(manifests: list[Manifest]) -> Table:
    table = Table(title=None if manifests else "no engine built yet: run build_engines.py")
    for heading in ("model", "graph", "runtime", "p50 ms", "p95 ms", "max |Δ|"):
        table.add_column(heading)
    for item in manifests:
        figures = (f"{item.p50_ms:.2f}", f"{item.p95_ms:.2f}", f"{item.max_delta:.1e}")
        table.add_row(item.key.model, item.key.graph, item.key.runtime, *figures)
    return table


if __name__ == "__main__":
    sys.exit(main())
