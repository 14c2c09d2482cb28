"""``build_engines.py``: every graph that this machine needs, in the fastest form that is proven to answer alike.

Also ``python -m stream.engine_builds``, where only the package is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from engines.catalog import BACKBONE_FILE, DEFAULT_MODEL, HEAD_FILE, models_here
from engines.compile.leftovers import clear_leftovers
from engines.engine_choice import READS_GRAPHS, is_from_elsewhere
from engines.errors import BuildError, EngineError
from engines.export.calibration_crops import PICTURES
from engines.runtime.processor import has_bf16
from engines.runtime.table import ALWAYS, RUNTIMES, require, runtimes_here
from engines.store import (
    BUILT,
    PRECISIONS,
    EngineKey,
    Manifest,
    Precision,
    engine_folder,
    find_engine,
    read_manifest,
)
from stream.config import load_config
from stream.engine_check import current, engine_folders, findings
from stream.engine_sources import (
    DEFAULT_DETECTOR,
    detector_source,
    model_sources,
    sources_here,
    verify_source,
)
from stream.engine_table import StageBoard, print_engines, report_line
from stream.engine_upkeep import removed, useless
from stream.engine_wish import Wish
from stream.errors import UnmaskError, UsageError
from stream.faces.network import fixed_size
from stream.faces.open import DEFAULT_WIDTH

SHORT = {"onnxruntime": "onnxruntime-cpu", "openvino": "openvino-cpu"}
"""What people call a runtime, and its full name."""
AUTO = "auto"
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
FEWEST_CROPS = 20
"""Fewer say nothing about the range of a face's values."""


@dataclass(frozen=True)
class Outcome:
    """What became of one engine that was asked for."""

    key: EngineKey
    manifest: Manifest | None
    error: str = ""
    is_new: bool = False
    """Whether this run has built it."""
    is_missed: bool = False
    """Whether somebody asked for it by name, so that the run has failed without it."""


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
    add(
        "--verify",
        action="store_true",
        help="judge every engine of the store: current, stale or broken; exit 3 when one is broken",
    )
    add("--prune", action="store_true", help="remove engines that do not fit this machine, and leftovers")
    add("--dry-run", action="store_true", help="say what would be built or removed")
    add("--json", action="store_true", help="print manifests, findings or plans as JSON")
    return parser


def _run(options: argparse.Namespace, closing: ExitStack) -> int:
    if options.prune:
        return _prune(options)
    if options.list:
        return _list(options)
    named = _named(options, closing)
    if options.verify:
        return _verify(options, named)
    plan = list(_plan(options, named))
    if options.dry_run:
        return _say_plan(plan, options)
    clear_leftovers(options.root)
    with StageBoard(Console(stderr=True), quiet=options.json) as board:
        outcomes = _compared(plan, [_ensure(wish, options, board) for wish in plan], options, board)
        if not board.has_built:
            print("every engine is in place: nothing was built", file=sys.stderr)
    return _report(outcomes, options)


def _list(options: argparse.Namespace) -> int:
    found = current(options.root)
    others = len(engine_folders(options.root)) - len(found)
    if others:
        print(f"{others} more do not fit this machine or are not whole: --verify says why", file=sys.stderr)
    return _report([Outcome(manifest.key, manifest) for _, manifest in found], options)


def _plan(options: argparse.Namespace, named: Named) -> Iterator[Wish]:
    batches = _batches(options.batch)
    for name in named.models:
        for source in model_sources(name):
            verify_source(source)
            yield from _wishes(replace(source, key=replace(source.key, batches=batches)), options)
    if named.detector:
        yield from _wishes(detector_source(named.detector, named.weights, named.width), options)


@dataclass(frozen=True)
class Named:
    """What engines are wanted of."""

    models: tuple[str, ...]
    """Names or folders."""
    detector: str = ""
    weights: Path | None = None
    """The detector's, where they are not its own."""
    width: int = DEFAULT_WIDTH
    """Of the pictures that it searches."""
    is_asked_for: bool = True
    """False of what is here anyway."""


def _named(options: argparse.Namespace, closing: ExitStack) -> Named:
    if options.checkpoint is not None:
        return Named((str(_exported(options.checkpoint, closing)),))
    if options.config is not None:
        model, detector = (config := load_config(options.config)).model, config.detector
        name = str(model.folder or model.name or DEFAULT_MODEL)
        return Named((name,), detector.name, detector.weights, detector.width)
    if options.model:
        return Named(tuple(dict.fromkeys(options.model)))
    return Named(tuple(sorted(models_here())), DEFAULT_DETECTOR, is_asked_for=False)


def _exported(checkpoint: Path, closing: ExitStack) -> Path:
    """A model folder made of a checkpoint; needs torch."""
    try:
        from engines.export.package import exported_folder
    except ImportError as error:
        raise UsageError(f"--checkpoint needs torch ({error}): pip install -e '.[train]'") from None
    return exported_folder(checkpoint, Path(closing.enter_context(tempfile.TemporaryDirectory())))


def _wishes(blank: Wish, options: argparse.Namespace) -> Iterator[Wish]:
    """The engines of one graph, by runtime and precision."""
    is_small = blank.file == HEAD_FILE
    wanted = SHORT.get(options.runtime, options.runtime)
    if wanted != AUTO:
        require(wanted)
    names = [wanted] if wanted != AUTO else list(runtimes_here())
    for name in names:
        if is_small and wanted == AUTO and name != ALWAYS:
            continue  # a millisecond's tenth: not worth a second runtime
        for precision in _precisions(name, blank, options):
            yield replace(blank, key=_key(blank, name, precision, options), is_bonus=wanted == AUTO and name != ALWAYS)


def _precisions(name: str, wanted: Wish, options: argparse.Namespace) -> tuple[Precision, ...]:
    if wanted.file == HEAD_FILE:
        return ("fp32",)
    if options.precision == AUTO:
        if wanted.detector:
            return ("fp32",)  # boxes are exponentials of what the network says: bf16 moves them by pixels
        return AUTO_PRECISIONS[name] if name != "openvino-cpu" or has_bf16() else ("fp32",)
    if wanted.detector and options.precision == "int8":
        return ("fp32",)  # calibrated on crops of faces, which is not what a detector sees
    if options.precision not in RUNTIMES[name].precisions:
        if options.runtime == AUTO and _somebody_has(options.precision):
            return ()
        known = ", ".join(RUNTIMES[name].precisions)
        raise UsageError(f"{name} has no {options.precision}: take one of {known}")
    if options.precision == "int8" and options.calibration is None:
        raise UsageError("int8 is calibrated on faces: give a folder of crops with --calibration DIR")
    return (options.precision,)


def _somebody_has(precision: str) -> bool:
    return any(precision in RUNTIMES[name].precisions for name in runtimes_here())


def _key(blank: Wish, name: str, precision: Precision, options: argparse.Namespace) -> EngineKey:
    module = require(name)
    choices = dict(_choice(text) for text in (*blank.key.options, *options.option))
    if blank.file != BACKBONE_FILE:
        choices.pop("dla", None)  # recurrent heads and detectors run on none
    if blank.detector and name not in READS_GRAPHS and _takes_any_size(blank):
        choices["size"] = blank.size
    if options.workspace is not None:
        choices["workspace"] = _workspace(options.workspace)
    if options.calibration is not None and blank.spec is not None:
        choices["calibration"] = _fingerprint(options.calibration)
    return replace(
        blank.key,
        runtime=name,
        runtime_version=module.version(),
        machine=module.machine(),
        precision=precision,
        options=tuple(sorted(f"{key}={value}" for key, value in choices.items())),
    )


def _takes_any_size(detector: Wish) -> bool:
    from engines.export.sanitise import graph_inputs

    source = detector.source if isinstance(detector.source, bytes) else detector.source.read_bytes()
    return fixed_size(graph_inputs(source)[0]) is None


def _workspace(gib: float) -> str:
    if not 0 < gib < 1024:
        raise UsageError(f"--workspace {gib:g}: give GiB, such as 2")
    return str(round(gib * 2**30))


def _choice(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value) or name in ("workspace", "calibration"):
        raise UsageError(f"--option {text}: write NAME=VALUE, such as dla=0")
    return name, value


def _fingerprint(folder: Path) -> str:
    """Of the calibration pictures: their names, sizes and times of change."""
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}: give one of face crops with --calibration")
    if sum(path.suffix.lower() in PICTURES for path in folder.rglob("*")) < FEWEST_CROPS:
        raise UsageError(f"{folder} holds fewer than {FEWEST_CROPS} pictures: give more face crops")
    facts = [
        f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}"
        for path in sorted(folder.rglob("*"))
    ]
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
    if not options.force and find_engine(options.root, wish.key) is not None:
        return Outcome(wish.key, read_manifest(engine_folder(options.root, wish.key)))
    from stream.engine_workshop import build_wish  # imports ONNX: a second run needs none of it

    try:
        board.begin(report_line(wish.key))
        built = build_wish(wish, options.root, options.calibration, board.stage)
        return Outcome(wish.key, built, is_new=True)
    except BuildError as error:
        return Outcome(wish.key, None, str(error), is_missed=not wish.is_bonus)


def _compared(
    plan: Sequence[Wish], outcomes: Sequence[Outcome], options: argparse.Namespace, board: StageBoard
) -> list[Outcome]:
    """Engines of one graph, of which one is new, timed against each other: what ``auto`` chooses by."""
    new = {outcome.key for outcome in outcomes if outcome.is_new}
    graphs = {_graph(wish.key): wish for wish in plan if wish.key in new}
    for graph, wish in graphs.items():
        rivals = [(folder, found) for folder, found in _built_here(options) if _graph(found.key) == graph]
        if len(rivals) > 1:
            _time_in_turns(wish, rivals, options, board)
    again = {outcome.key: read_manifest(engine_folder(options.root, outcome.key)) for outcome in outcomes}
    return [replace(outcome, manifest=outcome.manifest and again[outcome.key]) for outcome in outcomes]


def _time_in_turns(
    wish: Wish, rivals: Sequence[tuple[Path, Manifest]], options: argparse.Namespace, board: StageBoard
) -> None:
    from stream.engine_workshop import time_in_turns

    board.begin(f"{wish.key.model} {Path(wish.key.graph).stem}, {len(rivals)} engines in turns")
    board.stage("benchmark", 0)
    try:
        time_in_turns(wish, rivals, options.calibration)
    except EngineError as error:
        board.say(f"engines were not compared, each keeps its own time: {error}")
    board.stage("benchmark", 1)


def _graph(key: EngineKey) -> tuple[str, str, str, str]:
    """What engines of the same question share."""
    promise = next((option for option in key.options if option.startswith("promise=")), "")
    return key.model, key.graph, key.source_sha256, promise


def _built_here(options: argparse.Namespace) -> list[tuple[Path, Manifest]]:
    return [(folder, found) for folder, found in current(options.root) if not is_from_elsewhere(found.key)]


def _verify(options: argparse.Namespace, named: Named) -> int:
    """Every engine of the store, whatever was asked for; of what was named, besides, those that are missing."""
    if options.calibration is not None:
        _fingerprint(options.calibration)  # says what it lacks
    sources, found = sources_here(named.models, named.detector, named.weights), []
    for finding in findings(engine_folders(options.root), sources, options.calibration):
        found.append(finding)
        if not options.json:
            print(finding.line, flush=True)
    if options.json:
        print(json.dumps([{**asdict(finding), "folder": str(finding.folder)} for finding in found], indent=2))
    elif not found:
        print("no engine built yet: run build_engines.py")
    wanted = [wish.key for wish in _plan(options, named) if not wish.is_bonus] if named.is_asked_for else []
    missing = [key for key in wanted if not engine_folder(options.root, key).exists()]
    for key in missing:
        print(f"build_engines.py: {report_line(key)}: missing: run build_engines.py", file=sys.stderr)
    return FAILED if missing or any(finding.state == "broken" for finding in found) else 0


def _prune(options: argparse.Namespace) -> int:
    doomed = useless(options.root, options.model or ())
    failures = {folder: None if options.dry_run else removed(folder) for folder in doomed}
    gone = [folder for folder, reason in failures.items() if reason is None]
    if options.json:
        print(json.dumps([{"folder": str(folder), "is_removed": not options.dry_run} for folder in gone], indent=2))
    else:
        for folder in gone:
            print(f"{'would remove' if options.dry_run else 'removed'} {folder}")
    for folder in set(doomed) - set(gone):
        print(f"build_engines.py: {folder} cannot be removed ({failures[folder]})", file=sys.stderr)
    return FAILED if len(gone) < len(doomed) else 0


def _say_plan(plan: Sequence[Wish], options: argparse.Namespace) -> int:
    kept = [not options.force and find_engine(options.root, wish.key) is not None for wish in plan]
    if options.json:
        told = [{"is_kept": is_kept, "key": asdict(wish.key)} for is_kept, wish in zip(kept, plan, strict=True)]
        print(json.dumps(told, indent=2))
        return 0
    for is_kept, wish in zip(kept, plan, strict=True):
        print(f"{'keeps' if is_kept else 'builds'} {report_line(wish.key)}")
    return 0


def _report(outcomes: Sequence[Outcome], options: argparse.Namespace) -> int:
    manifests = [outcome.manifest for outcome in outcomes if outcome.manifest is not None]
    if options.json:
        print(json.dumps([asdict(manifest) for manifest in manifests], indent=2))
    else:
        print_engines(manifests, [_size(options.root, manifest) for manifest in manifests])
    for outcome in outcomes:
        if outcome.manifest is None:
            print(f"build_engines.py: {report_line(outcome.key)}: {outcome.error}", file=sys.stderr)
    return FAILED if any(outcome.is_missed for outcome in outcomes) else 0


def _size(root: Path, manifest: Manifest) -> int:
    """Of all files, in bytes."""
    folder = engine_folder(root, manifest.key)
    return sum((folder / name).stat().st_size for name in manifest.files)


if __name__ == "__main__":
    sys.exit(main())
