"""From a wish to an engine: what ``engine_builds`` does when something is really to be built.

Apart from it, for this imports ONNX and NumPy's friends, and a run that finds everything in place needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from engines.catalog import BACKBONE_FILE, CHECKPOINT_FILE, HEAD_FILE
from engines.compile.build import OnStage, batch_of, build, proven
from engines.compile.jobs import BuildJob, Subject
from engines.compile.timing import timed_in_turns
from engines.engine_choice import Graph, size_of
from engines.errors import CheckpointError
from engines.export.calibration_crops import CalibrationSet, read_crops
from engines.export.parity import hard_pictures, parity_inputs
from engines.export.sanitise import graph_inputs, with_picture_size
from engines.preprocess import normalise
from engines.runtime.ports import Array, Backend
from engines.runtime.table import ALWAYS, runtime
from engines.spec import ModelSpec, verify_file
from engines.store import Manifest, Parity, Timing, read_manifest, write_manifest
from stream.engine_wish import Wish
from stream.faces.network import fixed_size
from stream.faces.open import network_named

DETECTOR_WH = (320, 192)
"""Size of the pictures that face detectors are judged on: what a 720p frame is reduced to."""
CALIBRATION_BATCH = 8


def build_wish(wish: Wish, root: Path, crops: Path | None, on_stage: OnStage) -> Manifest:
    """Raises BuildError that names the stage."""
    faces = _faces(wish, crops)
    with _head_of(wish) as head:
        return build(
            BuildJob(_subject(wish, faces), wish.key),
            root,
            reference=_reference(wish),
            head=head,
            calibration=_calibration(wish.spec, faces),
            on_stage=on_stage,
        )


def prove_again(wish: Wish, folder: Path, crops: Path | None) -> Parity:
    """Ask the engine in ``folder`` once more. Raises EngineError when it answers otherwise than its source."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise CheckpointError(f"{folder} has no manifest that can be read")
    faces, engine = _faces(wish, crops), _opened(folder, manifest)
    with closing(engine), _head_of(wish) as head:
        return proven(BuildJob(_subject(wish, faces), wish.key), engine, head, reference=_reference(wish))


def time_in_turns(wish: Wish, engines: Sequence[tuple[Path, Manifest]], crops: Path | None) -> None:
    """Measure engines of one graph against each other, and write it into their manifests.

    Raises EngineError when one does not open or run; then all keep what was measured when they were built.
    """
    question = _questions(wish, _faces(wish, crops))[0]
    timings: dict[Path, list[Timing]] = {folder: [] for folder, _ in engines}
    with ExitStack() as closing_all:
        opened = {folder: closing_all.enter_context(closing(_opened(folder, found))) for folder, found in engines}
        for size in sorted({size for _, manifest in engines for size in manifest.key.batches}):
            built_for = [folder for folder, manifest in engines if size in manifest.key.batches]
            measured = timed_in_turns([opened[folder] for folder in built_for], batch_of(question, size))
            for folder, timing in zip(built_for, measured, strict=True):
                timings[folder].append(timing)
    for folder, manifest in engines:
        write_manifest(folder, replace(manifest, timings=tuple(timings[folder])))


def _opened(folder: Path, manifest: Manifest) -> Backend:
    return runtime(manifest.key.runtime).open_graph(folder / manifest.engine_file, threads=0)


def _reference(wish: Wish) -> Backend | None:
    """The trained network itself, where its checkpoint is here and torch is; None leaves it to the source graph."""
    if wish.folder is None or wish.spec is None or find_spec("torch") is None:
        return None
    checkpoint = wish.folder / CHECKPOINT_FILE
    if not checkpoint.is_file():
        return None
    verify_file(checkpoint, wish.spec.files.get(CHECKPOINT_FILE))
    from engines.export.reference import open_reference  # torch: seconds, and not on every machine

    reference = open_reference(checkpoint, wish.spec)
    return reference.backbone if wish.file == BACKBONE_FILE else reference.head


def _subject(wish: Wish, faces: CalibrationSet | None) -> Subject:
    key = wish.key
    source = _detector_source(wish) if wish.folder is None else wish.folder / wish.file
    labels = () if faces is None or faces.labels is None else tuple(int(label) for label in faces.labels)
    is_backbone = wish.file == BACKBONE_FILE and wish.spec is not None
    return Subject(
        Graph(key.model, key.graph, source, key.source_sha256),
        _questions(wish, faces),
        wish.spec,
        real=len(faces) if faces is not None and is_backbone else 0,
        labels=labels if is_backbone else (),
    )


def _questions(wish: Wish, faces: CalibrationSet | None) -> list[dict[str, Array]]:
    if wish.spec is None:
        return _detector_pictures(wish)
    return parity_inputs(wish.file, wish.spec, () if faces is None else list(faces.crops))


def _detector_pictures(wish: Wish) -> list[dict[str, Array]]:
    """As its network takes them; a graph of one size is given that."""
    tensor, network = graph_inputs(_detector_source(wish))[0], network_named(wish.detector)
    pictures = hard_pictures(fixed_size(tensor) or DETECTOR_WH)
    return [{tensor.name: network.input_array(picture)} for picture in pictures]


def _detector_source(wish: Wish) -> bytes:
    """Of the one size that the engine takes, where it takes one."""
    source = wish.source if isinstance(wish.source, bytes) else wish.source.read_bytes()
    size = size_of(wish.key)
    if size is None:
        return source
    width, height = map(int, size.split("x"))
    return with_picture_size(source, (width, height))


def _faces(wish: Wish, folder: Path | None) -> CalibrationSet | None:
    if folder is None or wish.spec is None:
        return None
    return read_crops(folder, wish.spec.pixels.size)


def _calibration(spec: ModelSpec | None, faces: CalibrationSet | None) -> list[Mapping[str, Array]]:
    if spec is None or faces is None:
        return []
    rows = range(0, len(faces), CALIBRATION_BATCH)
    return [{"crops": normalise(list(faces.crops[row : row + CALIBRATION_BATCH]), spec.pixels)} for row in rows]


def _head_of(wish: Wish) -> closing[Backend] | nullcontext[None]:
    """What reads this backbone's features; nothing for other graphs."""
    if wish.folder is None or wish.file != BACKBONE_FILE or not (wish.folder / HEAD_FILE).is_file():
        return nullcontext(None)
    return closing(runtime(ALWAYS).open_graph(wish.folder / HEAD_FILE, threads=1))
