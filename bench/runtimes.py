"""How fast each runtime of the CPU runs the backbones, all in turn in one run, so that ratios hold on a busy machine.

    python -m bench.runtimes [--networks lite0-gru xception inception-v3] [--batches 1 8] [--threads 1] [--json]

``lite0-gru`` is the shipped graph; the others have random weights, which time alike. Calls of all runtimes alternate;
told are milliseconds a crop and how many times faster than ONNX Runtime's float32 that is, medians of one run. int8 is
calibrated on made-up pictures: its speed counts here, its answers don't. Needs the extras train and openvino.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from engines.catalog import BACKBONE_FILE, CATALOG, model_folder
from engines.checkpoints.own import TrainedModel, fresh_model, load_checkpoint
from engines.errors import EngineError
from engines.export.calibration_crops import stand_in_crops
from engines.export.graph import backbone_graph
from engines.export.package import neutral_spec
from engines.export.precision import with_precision
from engines.export.reference import reference_of
from engines.export.sanitise import sanitised
from engines.preprocess import normalise
from engines.runtime import onnxruntime_cpu, openvino_cpu
from engines.runtime.ports import Array, Backend
from engines.runtime.processor import processor
from engines.store import Precision

SHIPPED = "lite0-gru"
BASE = "onnxruntime-cpu fp32"
WARM_UPS = 3
CALIBRATION_CROPS = 8


@dataclass(frozen=True)
class Row:
    """One runtime on one network at one batch."""

    network: str
    batch: int
    runtime: str
    p50_ms: float
    """A crop."""
    p95_ms: float
    times_faster: float
    """Than ``BASE``, by medians."""


@dataclass(frozen=True)
class Surroundings:
    """What the numbers depend on besides the code."""

    processor: str
    cores: int
    threads: int
    load_before: float
    load_after: float
    """Processes that wanted a core, averaged over the last minute."""


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call; each round runs all of them in turn, beginning with another one."""
    for call in calls.values():
        for _ in range(WARM_UPS):
            call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            began = time.perf_counter()
            calls[name]()
            taken[name].append(time.perf_counter() - began)
    return taken


def rows_of(network: str, batch: int, taken: dict[str, list[float]]) -> list[Row]:
    base = float(np.median(taken[BASE]))
    return [
        Row(network, batch, name, *_per_crop(seconds, batch), base / float(np.median(seconds)))
        for name, seconds in taken.items()
    ]


def _per_crop(seconds: Sequence[float], batch: int) -> tuple[float, float]:
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3 / batch
    return float(p50), float(p95)


def backends(network: str, threads: int, closing: ExitStack, say: Callable[[str], None]) -> dict[str, Backend]:
    """By runtime and precision; what cannot be had here is said and left out."""
    model, graph, size = _network(network)
    clean = sanitised(graph)
    calibration = [{"crops": pictures(CALIBRATION_CROPS, size)}]
    found: dict[str, Backend] = {BASE: onnxruntime_cpu.open_graph(clean, threads=threads)}
    for precision in ("fp32", "bf16", "int8"):
        try:
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
            found[f"openvino-cpu {precision}"] = _openvino(clean, precision, calibration, folder, threads)
        except EngineError as error:
            say(f"{network} on openvino-cpu {precision} is left out: {error}")
    backbone = reference_of(model, neutral_spec(network), "cpu").backbone
    if backbone is not None:
        found["torch-cpu fp32"] = backbone
    for backend in found.values():
        closing.callback(backend.close)
    return found


def _network(name: str) -> tuple[TrainedModel, bytes, int]:
    if name == SHIPPED:
        folder = model_folder(name)
        checkpoint = next(folder.glob("*.safetensors"), None)
        model = load_checkpoint(checkpoint) if checkpoint is not None else fresh_model(name)
        return model, (folder / BACKBONE_FILE).read_bytes(), CATALOG[name].pixels.size
    torch.manual_seed(1)
    model, size = fresh_model(name), CATALOG[name].pixels.size
    if model.backbone is None:
        raise SystemExit(f"{name} is a head alone: name a network with a backbone")
    return model, backbone_graph(model.backbone, size), size


def _openvino(
    graph: bytes, precision: Precision, calibration: Sequence[dict[str, Array]], folder: Path, threads: int
) -> Backend:
    files = openvino_cpu.save_engine(with_precision(graph, precision, calibration), precision, folder)
    return openvino_cpu.open_graph(folder / files[0], threads=threads)


def pictures(count: int, size: int) -> Array:
    """(count, 3, size, size) float32 as a network takes them: smooth noise."""
    return normalise(list(stand_in_crops(count, size).crops), CATALOG["xception"].pixels)


def measured(network: str, options: argparse.Namespace, say: Callable[[str], None]) -> Iterator[Row]:
    with ExitStack() as closing:
        say(f"{network}: preparing")
        opened = backends(network, options.threads, closing, say)
        size = opened[BASE].inputs[0].shape[-1] or 0
        for batch in options.batches:
            say(f"{network}: batches of {batch}")
            arrays = {"crops": pictures(batch, size)}
            calls: dict[str, Callable[[], object]] = {
                name: lambda backend=backend, arrays=arrays: backend.infer(arrays)  # type: ignore[misc]
                for name, backend in opened.items()
            }
            yield from rows_of(network, batch, interleaved(calls, options.rounds))


def table_of(rows: Sequence[Row]) -> Table:
    table = Table("network", "batch", "runtime", "ms a crop", "95 %", "times", caption=f"times: faster than {BASE}")
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        numbers = (f"{row.p50_ms:.1f}", f"{row.p95_ms:.1f}", f"{row.times_faster:.2f}")
        table.add_row(row.network, str(row.batch), row.runtime, *numbers)
    return table


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.runtimes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=[SHIPPED, "xception", "inception-v3"], choices=list(CATALOG))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="calls of each runtime (default: 40)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    console, before = Console(stderr=True), os.getloadavg()[0]
    rows = [row for network in options.networks for row in measured(network, options, console.print)]
    around = Surroundings(processor(), os.cpu_count() or 0, options.threads, before, os.getloadavg()[0])
    if options.json:
        print(json.dumps({"surroundings": asdict(around), "rows": [asdict(row) for row in rows]}, indent=2))
        return
    Console().print(table_of(rows))
    load = f"load {around.load_before:.1f} before, {around.load_after:.1f} after"
    print(f"{platform.machine()}, {around.cores} cores, {around.threads} threads a runtime, {load}")


if __name__ == "__main__":
    main()
