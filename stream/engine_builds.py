"""``build_engines.py``: every graph that this machine needs, in the fastest form that is proven to answer alike.

Also ``python -m stream.engine_builds``, where only the package is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from engines.catalog import (
    DEFAULT_MODEL,
    HEAD_FILE,
    SPEC_FILE,
    graph_of,
    graphs_of,
    model_folder,
    models_here,
)
from engines.engine_choice import READS_GRAPHS, misfits
from engines.errors import BuildError, EngineError
from engines.runtime.table import ALWAYS, RUNTIMES, require, runtime
from engines.spec import ModelSpec, load_spec, verify_files
from engines.store import (
    BUILT,
    PRECISIONS,
    EngineKey,
    Manifest,
    Precision,
    engine_folder,
    find_engine,
    manifests_under,
    read_manifest,
)
from stream.config import load_config
from stream.engine_table import StageBoard, print_engines, report_line
from stream.engine_wish import Wish
from stream.errors import UnmaskError, UsageError
from stream.faces.open import detector_graph

SHORT = {"onnxruntime": "onnxruntime-cpu", "openvino": "openvino-cpu"}
"""What people call a runtime, and its full name."""
AUTO = "auto"
DEFAULT_DETECTOR = "centerface"
AUTO_PRECISIONS: dict[str, tuple[Precision, ...]] = {
    "tensorrt": ("fp16",),
    "tensorrt-rtx": ("fp16",),
    "onnxruntime-cuda": ("fp32",),
    "openvino-cpu": ("bf16",),
    "onnxruntime-cpu": ("fp32",),
}
"""What ``auto`` builds for each runtime: float32 where nothing narrower pays; int8 only when it is asked for,
for it needs faces to be calibrated on."""
FAILED = 3


@dataclass(frozen=True)
class Outcome:
    """What became of one engine that was asked for."""

    key: EngineKey
    manifest: Manifest | None
    error: str = ""
    was_there: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 when everything asked for is there, 2 for bad options, 3 for what cannot be built or is not current."""
    options = _parser().parse_args(argv)
    try:
        with ExitStack() as closing:
            return _run(options, closing)
    except UnmaskError as error:
        print(f"build_engines.py: {error}", file=sys.stderr)
        return error.exit_code
    except EngineError as error:
        print(f"build_engines.py: {error}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_engines.py", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add(
        "--model", nargs="+", action="extend", metavar="NAME", help="catalog names or model folders (default: all here)"
    )
    add("--config", type=Path, metavar="FILE", help="build what this configuration needs")
    add("--checkpoint", type=Path, metavar="FILE", help="a .safetensors beside its spec.json, in place of --model")
    add("--runtime", default=AUTO, choices=[AUTO, *SHORT, *RUNTIMES], help="default: every one here that can pay")
    add("--precision", default=AUTO, choices=[AUTO, *PRECISIONS], help="of backbones and detectors; heads are fp32")
    add("--batch", default="1,8,32", metavar="1,8,32", help="smallest, usual and largest batch (default: %(default)s)")
    add("--workspace", type=float, metavar="GiB", help="most scratch memory of a TensorRT layer")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="of the runtime, such as dla=0")
    add("--calibration", type=Path, metavar="DIR", help="face crops for int8 and parity; real/ and fake/ label them")
    add("--root", type=Path, default=BUILT, help="where engines are kept (default: %(default)s)")
    add("--force", action="store_true", help="build again even when a current engine is there")
    add("--list", action="store_true", help="show the current engines and build nothing")
    add("--verify", action="store_true", help="hash every engine again, compare its answers; exit 3 when one fails")
    add("--prune", action="store_true", help="remove engines that do not fit this machine, and leftovers")
    add("--dry-run", action="store_true", help="say what would be built or removed")
    add("--json", action="store_true", help="print manifests as JSON")
    return parser


def _run(options: argparse.Namespace, closing: ExitStack) -> int:
    if options.prune:
        return _prune(options)
    if options.list:
        return _report([_listed(manifest) for _, manifest in _current(options)], options)
    plan = list(_plan(options, closing))
    if options.verify:
        return _verify(plan, options)
    if options.dry_run:
        return _say_plan(plan, options)
    with StageBoard(Console(stderr=True), quiet=options.json) as board:
        outcomes = [_ensure(wish, options, board) for wish in plan]
    return _report(outcomes, options)


def _plan(options: argparse.Namespace, closing: ExitStack) -> Iterator[Wish]:
    batches = _batches(options.batch)
    names, detector, weights = _names(options, closing)
    for name in names:
        folder = model_folder(name)
        spec = load_spec(folder / SPEC_FILE)
        verify_files(folder, spec, graphs_of(spec))
        for file in graphs_of(spec):
            yield from _wishes(Wish(folder, file, spec, _blank(spec, folder, file, batches)), options)
    if detector:
        yield from _wishes(_detector_wish(detector, weights), options)


def _names(options: argparse.Namespace, closing: ExitStack) -> tuple[list[str], str, Path | None]:
    """Models, and the face detector with its weights or nothing."""
    if options.checkpoint is not None:
        return [str(_exported(options.checkpoint, closing))], "", None
    if options.config is not None:
        model, detector = (config := load_config(options.config)).model, config.detector
        return [str(model.folder or model.name or DEFAULT_MODEL)], detector.name, detector.weights
    if options.model:
        return list(dict.fromkeys(options.model)), "", None
    return sorted(models_here()), DEFAULT_DETECTOR, None


def _exported(checkpoint: Path, closing: ExitStack) -> Path:
    """A model folder made of a checkpoint; needs torch."""
    try:
        from engines.export.package import exported_folder
    except ImportError as error:
        raise UsageError(f"--checkpoint needs torch ({error}): pip install -e '.[train]'") from None
    return exported_folder(checkpoint, Path(closing.enter_context(tempfile.TemporaryDirectory())))


def _blank(spec: ModelSpec, folder: Path, file: str, batches: tuple[int, ...]) -> EngineKey:
    graph = graph_of(spec, folder, file)
    return EngineKey(graph.model, graph.file, graph.sha256, "", "", "", batches=batches)


def _detector_wish(name: str, weights: Path | None) -> Wish:
    graph = detector_graph(name, weights)
    return Wish(
        None,
        graph.file,
        None,
        EngineKey(graph.model, graph.file, graph.sha256, "", "", "", batches=(1,)),
        detector=name,
        source=graph.source,
    )


def _wishes(blank: Wish, options: argparse.Namespace) -> Iterator[Wish]:
    """The engines of one graph, by runtime and precision."""
    is_small = blank.file == HEAD_FILE
    wanted = SHORT.get(options.runtime, options.runtime)
    if wanted != AUTO:
        require(wanted)
    names = [wanted] if wanted != AUTO else [name for name in RUNTIMES if runtime(name).unavailable() is None]
    for name in names:
        if is_small and wanted == AUTO and name != ALWAYS:
            continue  # a millisecond's tenth: not worth a second runtime
        if blank.detector and name not in READS_GRAPHS:
            if wanted != AUTO:
                raise UsageError(f"face detectors take pictures of any size, {name} does not: name models with --model")
            continue
        for precision in _precisions(name, blank, options):
            yield replace(blank, key=_key(blank, name, precision, options), is_bonus=wanted == AUTO and name != ALWAYS)


def _precisions(name: str, wanted: Wish, options: argparse.Namespace) -> tuple[Precision, ...]:
    if wanted.file == HEAD_FILE:
        return ("fp32",)
    if options.precision == AUTO:
        if wanted.detector:
            return ("fp32",)  # boxes are exponentials of what the network says: bf16 moves them by pixels
        return AUTO_PRECISIONS[name]
    if options.precision not in RUNTIMES[name].precisions:
        known = ", ".join(RUNTIMES[name].precisions)
        raise UsageError(f"{name} has no {options.precision}: take one of {known}")
    if options.precision == "int8" and options.calibration is None:
        raise UsageError("int8 is calibrated on faces: give a folder of crops with --calibration DIR")
    return (options.precision,)


def _key(blank: Wish, name: str, precision: Precision, options: argparse.Namespace) -> EngineKey:
    module = require(name)
    choices = dict(_choice(text) for text in options.option)
    if options.workspace is not None:
        choices["workspace"] = str(round(options.workspace * 2**30))
    if precision == "int8":
        choices["calibration"] = _fingerprint(options.calibration)
    return replace(
        blank.key,
        runtime=name,
        runtime_version=module.version(),
        machine=module.machine(),
        precision=precision,
        options=tuple(sorted(f"{key}={value}" for key, value in choices.items())),
    )


def _choice(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--option {text}: write NAME=VALUE, such as dla=0")
    return name, value


def _fingerprint(folder: Path) -> str:
    """Of the calibration pictures: their names, sizes and times."""
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}: give one of face crops with --calibration")
    facts = [f"{path.relative_to(folder)} {path.stat().st_size}" for path in sorted(folder.rglob("*"))]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _batches(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        sizes = ()
    if not sizes or sizes[0] < 1:
        raise UsageError(f"--batch {text}: write sizes from 1 on, such as 1,8,32")
    return sizes


def _ensure(wish: Wish, options: argparse.Namespace, board: StageBoard) -> Outcome:
    """The engine that is there, or a new one."""
    folder = engine_folder(options.root, wish.key)
    if not options.force and find_engine(options.root, wish.key) is not None:
        return Outcome(wish.key, read_manifest(folder), was_there=True)
    from stream.engine_workshop import build_wish  # imports ONNX: a second run needs none of it

    try:
        board.begin(wish.key)
        return Outcome(wish.key, build_wish(wish, options.root, options.calibration, board.stage))
    except BuildError as error:
        return Outcome(wish.key, None, str(error)) if wish.is_bonus else _give_up(wish.key, error)


def _give_up(key: EngineKey, error: BuildError) -> Outcome:
    raise BuildError(error.stage, f"{key.model} {key.graph} for {key.runtime}: {str(error).partition(': ')[2]}")


def _verify(plan: Sequence[Wish], options: argparse.Namespace) -> int:
    """Hashes, then answers; what is missing or fails is an error."""
    from stream.engine_workshop import prove_again

    outcomes = []
    for wish in plan:
        if find_engine(options.root, wish.key) is None:
            if not wish.is_bonus:
                outcomes.append(Outcome(wish.key, None, "missing or damaged: run build_engines.py"))
            continue
        manifest = read_manifest(engine_folder(options.root, wish.key))
        try:
            prove_again(wish, options.root, options.calibration)
            outcomes.append(Outcome(wish.key, manifest, was_there=True))
        except EngineError as error:
            outcomes.append(Outcome(wish.key, None, f"{error}; build it again with --force"))
    return _report(outcomes, options)


def _current(options: argparse.Namespace) -> list[tuple[Path, Manifest]]:
    return [(folder, found) for folder, found in manifests_under(options.root) if not misfits(folder, found)]


def _listed(manifest: Manifest) -> Outcome:
    return Outcome(manifest.key, manifest, was_there=True)


def _prune(options: argparse.Namespace) -> int:
    from engines.compile.build import leftovers

    kept = {folder for folder, _ in _current(options)}
    stale = [path.parent for path in sorted(options.root.glob("*/*/manifest.json")) if path.parent not in kept]
    strange = [
        path for path in sorted(options.root.glob("*/*")) if path.is_dir() and not (path / "manifest.json").is_file()
    ]
    for folder in dict.fromkeys([*stale, *strange, *leftovers(options.root)]):
        print(f"{'would remove' if options.dry_run else 'removed'} {folder}")
        if not options.dry_run:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _say_plan(plan: Sequence[Wish], options: argparse.Namespace) -> int:
    for wish in plan:
        there = not options.force and find_engine(options.root, wish.key) is not None
        print(f"{'keeps' if there else 'builds'} {report_line(wish.key)}")
    return 0


def _report(outcomes: Sequence[Outcome], options: argparse.Namespace) -> int:
    manifests = [outcome.manifest for outcome in outcomes if outcome.manifest is not None]
    if options.json:
        print(json.dumps([asdict(manifest) for manifest in manifests], indent=2))
    else:
        print_engines(manifests, [_size(options.root, manifest) for manifest in manifests])
    failed = [outcome for outcome in outcomes if outcome.manifest is None]
    for outcome in failed:
        print(f"build_engines.py: {report_line(outcome.key)}: {outcome.error}", file=sys.stderr)
    return FAILED if options.verify and failed else 0


def _size(root: Path, manifest: Manifest) -> int:
    """Of all files, in bytes."""
    folder = engine_folder(root, manifest.key)
    return sum((folder / name).stat().st_size for name in manifest.files)


if __name__ == "__main__":
    sys.exit(main())
