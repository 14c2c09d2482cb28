"""One engine from its graph, in stages: export, sanitise, precision, build, parity, benchmark.

Everything happens in a hidden folder beside the final one. A failure removes it; a kill leaves it, and nothing looks
into hidden folders. The manifest is written last, then the folder is renamed into its place.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from engines.catalog import CATALOG
from engines.compile.builders import builder_for
from engines.compile.jobs import BuildJob
from engines.compile.leftovers import building_folder
from engines.compile.request import BuildRequest, BuiltFiles
from engines.compile.timing import timed
from engines.errors import BuildError, EngineError, InferenceError
from engines.export.parity import compare, limit_of
from engines.export.precision import recipe_of, with_precision
from engines.export.sanitise import sanitised
from engines.runtime.ports import Array, Backend
from engines.runtime.table import ALWAYS, runtime
from engines.store import Manifest, Parity, Precision, Timing, engine_folder, sha256_of, write_manifest

Stage = Literal["export", "sanitise", "precision", "build", "parity", "benchmark"]
OnStage = Callable[[Stage, float], None]
"""Told a stage and its share that is done, 0-1."""
NEED_MANIFESTS = ("tensorrt", "tensorrt-rtx")
"""Runtimes that open a file only by its manifest, which an engine under proof has not got yet."""
KEY_OPTIONS = ("workspace", "calibration", "promise", "size")
"""Options that tell engines apart, and are not the runtime's own."""
_ADVICE = {
    "sanitise": "export the model again",
    "precision": "take --precision fp32",
    "build": "take another --runtime or --precision",
    "parity": "take a wider --precision",
    "benchmark": "take another --runtime",
}


def build(
    job: BuildJob,
    root: Path,
    *,
    reference: Backend | None = None,
    head: Backend | None = None,
    calibration: Sequence[Mapping[str, Array]] = (),
    on_stage: OnStage = lambda *_: None,
) -> Manifest:
    """Build, prove, measure and keep one engine.

    ``reference``: what answers as the model should; None takes the source graph on ONNX Runtime. ``head`` reads a
    backbone's features, so that verdicts are compared. Raises BuildError that names the stage and the way out.
    """
    folder = engine_folder(root, job.key)
    scratch: Path | None = None
    try:
        scratch = building_folder(folder.parent)
        manifest = _made(job, scratch, reference, head, calibration, on_stage)
        write_manifest(scratch, manifest)
        _settle(scratch, folder)
    except OSError as error:
        reason = (
            f"{folder.parent} cannot be written ({error.strerror or error}): free some space, or give another --root"
        )
        raise BuildError("build", reason) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _made(
    job: BuildJob,
    folder: Path,
    reference: Backend | None,
    head: Backend | None,
    calibration: Sequence[Mapping[str, Array]],
    on_stage: OnStage,
) -> Manifest:
    subject = job.subject
    with _stage("export", on_stage):
        source = subject.source
    with _stage("sanitise", on_stage):
        clean = sanitised(source)
    with _stage("precision", on_stage):
        graph = with_precision(clean, job.key.precision, calibration)
    with _stage("build", on_stage):
        request = _request(job, lambda share: on_stage("build", min(share, 0.99)))
        files = builder_for(job.key.runtime)(graph, request, folder)
        hashes = {name: sha256_of(folder / name) for name in files.files}
    with _opened(job, folder / files.engine_file) as engine:
        with _stage("parity", on_stage):
            parity = proven(job, engine, head, reference=reference)
        with _stage("benchmark", on_stage):
            timings = tuple(timed(engine, batch_of(subject.inputs[0], size)) for size in job.key.batches)
        return _manifest(job, files, hashes, engine, parity, timings)


def _request(job: BuildJob, on_share: Callable[[float], None]) -> BuildRequest:
    key = job.key
    options = {name: value for name, value in job.options.items() if name not in KEY_OPTIONS}
    return BuildRequest(key.precision, key.batches, job.workspace_bytes, options, lambda _, share: on_share(share))


def _manifest(
    job: BuildJob,
    files: BuiltFiles,
    hashes: Mapping[str, str],
    engine: Backend,
    parity: Parity,
    timings: tuple[Timing, ...],
) -> Manifest:
    return Manifest(
        key=job.key,
        engine_file=files.engine_file,
        files=hashes,
        inputs=engine.inputs,
        outputs=engine.outputs,
        parity=parity,
        timings=timings,
        toolchain={**_made_by(job.key.precision), **files.toolchain},
        promise=job.subject.promise,
    )


def _made_by(precision: Precision) -> dict[str, str]:
    """This tool, what it made the graph with, and how."""
    try:
        tool = version("unmask")
    except PackageNotFoundError:  # a checkout that nobody installed
        tool = "unknown"
    return {"unmask": tool, "onnx": onnx.__version__, "precision": recipe_of(precision)}


@contextmanager
def _stage(name: Stage, on_stage: OnStage) -> Iterator[None]:
    on_stage(name, 0.0)
    try:
        yield
    except BuildError:
        raise
    except InferenceError as error:  # says its own stage
        raise BuildError(name, str(error).removeprefix(f"{name}: ")) from error
    except (EngineError, OSError, RuntimeError) as error:  # OpenVINO raises the last, for a full disk too
        raise BuildError(name, f"{error}; {_ADVICE.get(name, 'restore the file')}") from error
    on_stage(name, 1.0)


@contextmanager
def _opened(job: BuildJob, engine: Path) -> Iterator[Backend]:
    given = engine.read_bytes() if job.key.runtime in NEED_MANIFESTS else engine
    try:
        backend = runtime(job.key.runtime).open_graph(given, threads=0)
    except EngineError as error:
        raise BuildError("build", f"{error}; {_ADVICE['build']}") from error
    try:
        yield backend
    finally:
        backend.close()


def proven(job: BuildJob, engine: Backend, head: Backend | None, *, reference: Backend | None = None) -> Parity:
    """Raises InferenceError when the engine answers otherwise than its source."""
    subject = job.subject
    with nullcontext(reference) if reference else closing(runtime(ALWAYS).open_graph(subject.source)) as answers:
        return compare(
            answers,
            engine,
            subject.inputs,
            limit_of(job.key.precision, CATALOG.get(subject.graph.model)),
            spec=subject.spec,
            head=head,
            labels=subject.labels,
            real=subject.real,
            batches=job.key.batches,
        )


def batch_of(one: Mapping[str, Array], size: int) -> dict[str, Array]:
    """The first item so many times."""
    return {name: np.repeat(values[:1], size, axis=0) for name, values in one.items()}


def _settle(scratch: Path, folder: Path) -> None:
    """Onto the disk, then into its place; where another builder was faster, its engine stays."""
    for path in scratch.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.chmod(0o644)
    scratch.chmod(0o755)  # mkdtemp's are private
    old = building_folder(folder.parent)
    try:
        if folder.exists():
            folder.rename(old / "old")
        scratch.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or not folder.exists():
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
