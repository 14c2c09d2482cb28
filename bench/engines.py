"""What our path around a runtime costs, and a second run of build_engines.py.

    .venv/bin/python -m bench.engines [--rounds 200]

by hand   ONNX Runtime called on the graph directly, session options as ours
ours      the same graph through ``OnnxRuntimeBackend``; the two take turns, call by call, in one process
warm      ``build_engines.py`` when every engine is there (it is run once before, to build what is missing)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

from engines.catalog import BACKBONE_FILE, DEFAULT_MODEL, SPEC_FILE, model_folder
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend
from engines.spec import load_spec

ROOT = Path(__file__).parents[1]
BATCHES = (1, 8)


def main(argv: list[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="calls of each at batch 1; an eighth at batch 8")
    rounds: int = parser.parse_args(argv).rounds
    table = Table("what", "by hand", "ours", "ratio")
    for batch in BATCHES:
        by_hand, ours = _backbone(batch, max(1, rounds // batch))
        table.add_row(f"backbone, batch {batch}, ms", f"{by_hand:.2f}", f"{ours:.2f}", f"{ours / by_hand:.3f}")
    table.add_row("warm build_engines.py, s", "", f"{_warm_s():.2f}", "")
    Console().print(table)
    return 0


def _backbone(batch: int, rounds: int) -> tuple[float, float]:
    """Median ms of a call by hand and of ours."""
    folder = model_folder(DEFAULT_MODEL)
    size = load_spec(folder / SPEC_FILE).pixels.size
    crops = np.random.default_rng(0).standard_normal((batch, 3, size, size)).astype(np.float32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(folder / BACKBONE_FILE), options, providers=["CPUExecutionProvider"])
    backend = OnnxRuntimeBackend(folder / BACKBONE_FILE, threads=1)
    ways: list[Callable[[], object]] = [
        lambda: session.run(None, {"crops": crops}),
        lambda: backend.infer({"crops": crops}),
    ]
    taken: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        for way in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            ways[way]()
            taken[way].append((time.perf_counter() - began) * 1e3)
    return median(taken[0][1:]), median(taken[1][1:])


def _warm_s() -> float:
    command = [sys.executable, str(ROOT / "build_engines.py")]
    for _ in range(2):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
