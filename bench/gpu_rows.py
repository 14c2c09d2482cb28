"""The rows of ``bench.gpu_check``: each is run for real, or skipped with what is missing.

A row takes the ``Lab`` and answers with what it found, in words; it raises ``MissingPartError`` to be skipped and
anything else to have failed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from engines.cuda import host, nvrtc, pycuda_device
from engines.cuda.host import HostKernels
from engines.cuda.layout import face_records, grid_over, levels_record, matrices_record, packed
from engines.cuda.ports import Device, DeviceBatch, infer_prepared
from engines.cuda.preprocessor import GpuPreprocessor
from engines.errors import RuntimeMissingError
from engines.preprocess import (
    Bytes,
    FaceView,
    Floats,
    Levels,
    Planes,
    Square,
    crop_planes,
    levels_of,
    normalise,
    reduced_rgb,
)
from engines.runtime.ports import Backend
from engines.spec import ModelSpec
from stream.scoring.scorer import ModelScorer

ROOT = Path(__file__).parents[1]
FRAME_WH = (1920, 1080)
FACES, FRAMES = 64, 8
"""Due faces of a full batch, and the frames that they are on."""
ONE_BYTE = 1.0
"""Largest difference between kernels and OpenCV, in bytes: 1/255."""
SHARE_LIMIT = 0.10
"""Most that preparing 64 crops may take, of the backbone's time for them."""
END_TO_END_LIMIT = 0.85
"""Least throughput from frames to features, of the engine's own."""
LOGIT_LIMIT = 0.02
CHUNK, WARM_UP = 32, 3
"""Faces in one run of the backbone, within the largest batch that engines are built for; runs before timing."""
LEAK_CALLS, LEAK_WARM_UP = 1000, 100
LEAK_LIMIT = 8 * 2**20
"""Most bytes that may be gone after all those calls, on either side: allocators round, leaks add up."""
BUILD_TIMEOUT_S = 3600
GENERATIONS = (75, 87, 90, 120)
GPU_RUNTIMES = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")

Kind = tuple[Literal["bt601", "bt709"], bool, bool]
MATRICES: tuple[Literal["bt601", "bt709"], ...] = ("bt601", "bt709")
KINDS: list[Kind] = [(matrix, full, nv12) for matrix in MATRICES for full in (False, True) for nv12 in (False, True)]


class MissingPartError(Exception):
    """A row cannot run here; the message says what is missing."""


@dataclass(frozen=True)
class GpuModel:
    """A model whose backbone runs on the GPU."""

    spec: ModelSpec
    backbone: Backend
    head: Backend

    def close(self) -> None:
        self.backbone.close()
        self.head.close()


@dataclass(frozen=True)
class Lab:
    """What rows are run with; tests give their own."""

    open_device: Callable[[], Device]
    """Raises MissingPartError without a GPU."""
    open_model: Callable[[], GpuModel]
    """Raises MissingPartError when no runtime here runs the default model on a GPU."""
    clock: Callable[[], float] = time.perf_counter
    frame_wh: tuple[int, int] = FRAME_WH
    repeats: int = 20
    leak_calls: int = LEAK_CALLS

    def preprocessor(self) -> GpuPreprocessor:
        return GpuPreprocessor(self.open_device())


def open_device() -> Device:
    if (reason := pycuda_device.unavailable()) is not None:
        raise MissingPartError(reason)
    return pycuda_device.PycudaDevice()


def open_gpu_model() -> GpuModel:
    """The default model on the first GPU runtime that is here."""
    reasons = []
    for name in GPU_RUNTIMES:
        if (reason := _why_not(name)) is None:
            from engines.catalog import open_model

            model = open_model(backend=name)
            return GpuModel(model.spec, model.backbone, model.head)
        reasons.append(f"{name}: {reason}")
    raise MissingPartError("; ".join(reasons))


def _why_not(runtime: str) -> str | None:
    from engines.runtime.table import require

    try:
        require(runtime)
    except RuntimeMissingError as error:
        return str(error).partition(": ")[2] or str(error)
    return None


# The kernels


def host_kernels(lab: Lab) -> str:
    """The kernels' arithmetic on this machine's processor against OpenCV."""
    if (reason := host.unavailable()) is not None:
        raise MissingPartError(reason)
    with tempfile.TemporaryDirectory() as folder:
        kernels = host.build(Path(folder))
        views = _views(_frames(lab), 32)
        found = _cut_on_host(kernels, views, 128)
    return _told(found, [crop_planes(view.planes, view.square, 128) for view in views])


def compiled_kernels(_: Lab) -> str:
    """Machine code for every generation, by NVRTC."""
    if (reason := nvrtc.unavailable()) is not None:
        raise MissingPartError(reason)
    compiler = nvrtc.compiler_for()
    sizes = [f"sm_{sm} {len(compiler.machine_code(sm)) >> 10} KiB" for sm in GENERATIONS]
    return f"CUDA {compiler.version[0]}.{compiler.version[1]}: {', '.join(sizes)}"


def context(lab: Lab) -> str:
    """A context, memory and a copy there and back."""
    device = lab.open_device()
    try:
        sent = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
        up, down, address = device.staging(sent.size), device.staging(sent.size), device.allocate(sent.size)
        up.memory[:] = sent
        device.copy_in(address, up, sent.size)
        device.copy_out(down, address, sent.size)
        device.synchronise()
        if not np.array_equal(down.memory, sent):
            raise ValueError("a copy there and back came back changed")
        free = device.free_bytes()
    finally:
        device.close()
    return f"1 MiB there and back; {free >> 20} MiB free"


def faces_on_gpu(lab: Lab) -> str:
    """A full batch of every layout, matrix and range against OpenCV."""
    preprocessor = lab.preprocessor()
    try:
        views = _views(_frames(lab), FACES)
        found = preprocessor.to_host(preprocessor.faces(views, 224, Levels()))
    finally:
        preprocessor.close()
    return _told(found, [crop_planes(view.planes, view.square, 224) for view in views])


def canvases_on_gpu(lab: Lab) -> str:
    """Whole frames for a detector against OpenCV."""
    inner_wh, preprocessor = (320, 180), lab.preprocessor()
    try:
        frames = _frames(lab)
        found = [preprocessor.to_host(preprocessor.letterbox(one, inner_wh, (320, 192), Levels())) for one in frames]
    finally:
        preprocessor.close()
    wanted = [np.pad(reduced_rgb(one, inner_wh), ((0, 12), (0, 0), (0, 0))) for one in frames]
    return _told(np.concatenate(found), wanted)


# Engines and runtimes


def engines_of(runtime: str) -> Callable[[Lab], str]:
    """Built and proven equal by build_engines.py, as a user does it."""

    def check(_: Lab) -> str:
        if (reason := _why_not(runtime)) is not None:
            raise MissingPartError(reason)
        command = [sys.executable, str(ROOT / "build_engines.py"), "--runtime", runtime, "--force"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S)
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        if done.returncode:
            raise ValueError(lines[-1] if lines else f"build_engines.py gave {done.returncode}")
        return f"built and proven: {lines[-1].strip()}" if lines else "built and proven"

    return check


def onnxruntime_cuda(_: Lab) -> str:
    """The default model's backbone on both providers."""
    if (reason := _why_not("onnxruntime-cuda")) is not None:
        raise MissingPartError(reason)
    from engines.catalog import open_model

    there, here = open_model(backend="onnxruntime-cuda"), open_model(backend="onnxruntime-cpu")
    try:
        return _same_logits(there.backbone, here.backbone, here.spec)
    finally:
        there.close()
        here.close()


def torch_cuda(_: Lab) -> str:
    """The default model's checkpoint on torch beside its exported graph."""
    try:
        import torch
    except ImportError:
        raise MissingPartError("torch is missing: pip install -e '.[train]'") from None
    if not torch.cuda.is_available():
        raise MissingPartError("torch sees no CUDA device: install torch for CUDA")
    from engines.catalog import CHECKPOINT_FILE, model_folder, open_model
    from engines.checkpoints.own import load_checkpoint
    from engines.training.device import TorchBackend

    here = open_model(backend="onnxruntime-cpu")
    try:
        network = load_checkpoint(model_folder(here.spec.name) / CHECKPOINT_FILE).backbone
        if network is None:
            raise MissingPartError(f"{here.spec.name} has no backbone of its own")
        return _same_logits(TorchBackend(network, torch.device("cuda")), here.backbone, here.spec)
    finally:
        here.close()


def _same_logits(there: Backend, here: Backend, spec: ModelSpec) -> str:
    crops = _crops(spec)
    logits = [backend.infer({"crops": crops})["frame_logit"] for backend in (there, here)]
    delta = float(np.abs(logits[0] - logits[1]).max())
    if not delta <= LOGIT_LIMIT:
        raise ValueError(f"largest |Δlogit| {delta:.4f} against ONNX Runtime's CPU, more than {LOGIT_LIMIT}")
    return f"largest |Δlogit| {delta:.5f} of {len(crops)} crops"


# Speed and memory


def preparing_share(lab: Lab) -> str:
    """Kernels of 64 faces, their frames already up, beside the backbone on them."""
    with _Bench(lab) as bench:
        kernels = bench.time(bench.cut_again)
        backbone = bench.time(bench.backbone)
        uploads = bench.time(bench.upload)
    share = kernels / backbone
    told = (
        f"{FACES} crops: {1e3 * kernels:.2f} ms, {100 * share:.1f} % of the backbone's {1e3 * backbone:.2f} ms "
        f"({FACES / kernels:.0f} crops/s); {FRAMES} frames up: {1e3 * uploads:.2f} ms"
    )
    if share > SHARE_LIMIT:
        raise ValueError(f"{told}; at most {100 * SHARE_LIMIT:.0f} %")
    return told


def end_to_end(lab: Lab) -> str:
    """Frames to features beside the backbone alone on a batch that lies there."""
    with _Bench(lab) as bench:
        alone, whole = bench.time(bench.backbone), bench.time(bench.step)
    ratio, told = alone / whole, f"{FACES / whole:.0f} faces/s of the engine's own {FACES / alone:.0f}"
    if ratio < END_TO_END_LIMIT:
        raise ValueError(f"{told}: {100 * ratio:.0f} %, at least {100 * END_TO_END_LIMIT:.0f} %")
    return f"{told}: {100 * ratio:.0f} %"


def streams_per_gpu(lab: Lab) -> str:
    """Streams with one face each, each with a frame of its own to send up, by due crops; the detector is not in it."""
    with _Bench(lab, frames=FACES) as bench:
        seconds = bench.time(bench.step)
        period_s = bench.model.spec.window.period_s
    return f"{int(FACES / seconds * period_s)} streams of one face, {1 / period_s:g} crops/s each (embedding alone)"


def leaks(lab: Lab) -> str:
    """Device memory and this process's own over a thousand steps."""
    with _Bench(lab) as bench:
        for _ in range(LEAK_WARM_UP):
            bench.step()
        before = bench.held()
        for _ in range(lab.leak_calls):
            bench.step()
        after = bench.held()
    lost_device, lost_host = (later - earlier for later, earlier in zip(after, before, strict=True))
    told = f"{lab.leak_calls} steps: {lost_device / 2**20:+.1f} MiB on the GPU, {lost_host / 2**20:+.1f} MiB here"
    if max(lost_device, lost_host) > LEAK_LIMIT:
        raise ValueError(f"{told}; at most {LEAK_LIMIT >> 20} MiB")
    return told


class _Bench:
    """A model and a preprocessor on one GPU, with 64 faces to work on."""

    def __init__(self, lab: Lab, *, frames: int = FRAMES) -> None:
        self._clock, self._repeats = lab.clock, lab.repeats
        self._device = lab.open_device()
        self._preprocessor = GpuPreprocessor(self._device)
        with ExitStack() as undo:
            undo.callback(self._preprocessor.close)
            self.model = lab.open_model()
            undo.pop_all()
        self._scorer = ModelScorer(self.model.backbone, self.model.head, self.model.spec, max_batch=CHUNK)
        self._scorer.prepare_on(self._preprocessor)
        self._views = _views(_frames(lab, frames), FACES)
        self._batch = self._cut(self._views)

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._preprocessor.close()
        self.model.close()

    def cut_again(self) -> None:
        """Of frames that went up in this step, and so do not go again."""
        self._batch = self._cut(self._views)
        self._preprocessor.wait()

    def upload(self) -> None:
        self._preprocessor.forget()
        for view in self._views:
            self._preprocessor.upload(view.planes)
        self._preprocessor.wait()

    def backbone(self) -> None:
        """All faces, from where they lie."""
        rows = DeviceBatch(self._batch.address, (CHUNK, *self._batch.shape[1:]))
        for first in range(0, FACES, CHUNK):
            part = replace(rows, address=rows.address + first * rows.size // CHUNK)
            infer_prepared(self.model.backbone, "crops", part, self._preprocessor)

    def step(self) -> None:
        """As the live path does it."""
        self._scorer.embed_faces(self._views, ())
        self._scorer.forget_frames()

    def time(self, work: Callable[[], object]) -> float:
        """Seconds of one run: the median, after a few to warm up."""
        seconds = []
        for _ in range(WARM_UP + self._repeats):
            began = self._clock()
            work()
            seconds.append(self._clock() - began)
        return float(np.median(seconds[WARM_UP:]))

    def held(self) -> tuple[int, int]:
        """Bytes of the device that are not free, from an origin of its own, and of this process."""
        return -self._device.free_bytes(), psutil.Process().memory_info().rss

    def _cut(self, views: Sequence[FaceView]) -> DeviceBatch:
        pixels = self.model.spec.pixels
        return self._preprocessor.faces(views, pixels.size, levels_of(pixels))


# Pictures


def _frames(lab: Lab, count: int = FRAMES) -> list[Planes]:
    """Noise, the hardest picture to resize alike, in every layout, matrix and range."""
    return [_frame(lab.frame_wh, KINDS[number % len(KINDS)], number) for number in range(count)]


def _frame(size_wh: tuple[int, int], kind: Kind, seed: int) -> Planes:
    rng, (width, height) = np.random.default_rng(seed), size_wh
    half = (height + 1) // 2, (width + 1) // 2
    matrix, full, nv12 = kind
    shapes: list[tuple[int, ...]] = [(*half, 2)] if nv12 else [half, half]
    y = rng.integers(0, 256, (height, width), np.uint8)
    return Planes(y, tuple(rng.integers(0, 256, shape, np.uint8) for shape in shapes), matrix, full)


def _views(frames: Sequence[Planes], count: int) -> list[FaceView]:
    """Squares of every usual size, some over the border."""
    rng = np.random.default_rng(1)
    return [
        FaceView(
            frame,
            Square(rng.uniform(0, frame.width), rng.uniform(0, frame.height), frame.height * rng.uniform(0.05, 0.6)),
        )
        for frame in (frames[number % len(frames)] for number in range(count))
    ]


def _crops(spec: ModelSpec) -> Floats:
    rng = np.random.default_rng(2)
    size = spec.pixels.size
    return normalise(list(rng.integers(0, 256, (8, size, size, 3), np.uint8)), spec.pixels)


def _cut_on_host(kernels: HostKernels, views: Sequence[FaceView], size: int) -> Floats:
    """(N, 3, size, size) bytes as floats."""
    memories, faces = [], []
    for view in views:
        layout = packed(view.planes)
        memory = np.empty(layout.size, np.uint8)
        layout.fill(memory, view.planes)
        memories.append(memory)
        faces.append((layout.record(memory.ctypes.data), view.square))
    out = np.empty((len(views), 3, size, size), np.float32)
    records = face_records(faces), matrices_record(), levels_record(Levels()), out
    arguments = [*(np.uint64(record.ctypes.data) for record in records), np.int32(size)]
    kernels.launch("crop_faces", grid_over(size, size, len(views)), arguments)
    return out


def _told(found: Floats, wanted: Sequence[Bytes]) -> str:
    """Largest and mean difference in bytes. Raises ValueError beyond one."""
    difference = np.abs(found.transpose(0, 2, 3, 1) - np.stack(wanted).astype(np.float32))
    worst, mean = float(difference.max()), float(difference.mean())
    if not worst <= ONE_BYTE:
        raise ValueError(f"off by {worst:g}/255, at most {ONE_BYTE:g}/255")
    return f"{len(wanted)} pictures: at most {worst:g}/255 off, {mean:.2g}/255 on average"


ROWS: dict[str, Callable[[Lab], str]] = {
    "kernels on this processor": host_kernels,
    "kernels compiled": compiled_kernels,
    "CUDA context": context,
    "faces cut on the GPU": faces_on_gpu,
    "frames reduced on the GPU": canvases_on_gpu,
    "TensorRT engines": engines_of("tensorrt"),
    "TensorRT for RTX engines": engines_of("tensorrt-rtx"),
    "ONNX Runtime on CUDA": onnxruntime_cuda,
    "torch on CUDA": torch_cuda,
    "preparing beside the backbone": preparing_share,
    "end to end beside the engine": end_to_end,
    "streams per GPU": streams_per_gpu,
    "leaks": leaks,
}
