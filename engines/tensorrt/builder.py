"""Builds an engine in a process of its own, told of its progress; a crash there is one clear line here."""

from __future__ import annotations

import json
import queue
import subprocess  # nosec B404 # this interpreter, again
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from engines.compile.request import BuildRequest, BuiltFiles
from engines.errors import InferenceError
from engines.store import BUILT
from engines.tensorrt import driver
from engines.tensorrt.api import Kind
from engines.tensorrt.plan import BuildJob, checked_options, dla_of, profiles_of, sms_of

ENGINE_FILE, INSPECTION_FILE = "engine.plan", "layers.json"
TIMEOUT_S = 3600.0
"""An Orin takes minutes for the largest backbone; an hour is a hang."""
TOLD_LINES = 3
PROCESS = (sys.executable, "-m", "engines.tensorrt.build_process")


def build(graph: bytes, request: BuildRequest, folder: Path) -> BuiltFiles:
    """Build with TensorRT for the GPU that is here. Raises InferenceError with one line."""
    return build_with("tensorrt", graph, request, folder)


def build_rtx(graph: bytes, request: BuildRequest, folder: Path) -> BuiltFiles:
    """With TensorRT for RTX, which needs no GPU when the option ``sm`` names some."""
    return build_with("tensorrt_rtx", graph, request, folder)


def build_with(
    kind: Kind,
    graph: bytes,
    request: BuildRequest,
    folder: Path,
    *,
    cache_root: Path = BUILT,
    process: Sequence[str] = PROCESS,
    timeout_s: float = TIMEOUT_S,
) -> BuiltFiles:
    """``process`` is started with a job's file. Raises InferenceError; then ``folder`` holds no engine."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as workplace:
        source, job_file = Path(workplace) / "graph.onnx", Path(workplace) / "job.json"
        source.write_bytes(graph)
        job_file.write_text(_job(kind, source, request, folder, cache_root).text)
        toolchain = _run([*process, str(job_file)], request, timeout_s)
    files = (ENGINE_FILE, INSPECTION_FILE)
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise InferenceError(f"the TensorRT build ended well but left no {missing[0]}: is the disk full?")
    return BuiltFiles(ENGINE_FILE, files, toolchain)


def _job(kind: Kind, source: Path, request: BuildRequest, folder: Path, cache_root: Path) -> BuildJob:
    options = request.options
    checked_options(kind, options)
    sms = sms_of(options)
    cache = cache_root / f"timing-{kind}-{'-'.join(map(str, sms)) or 'here'}.cache"
    return BuildJob(
        kind=kind,
        graph=str(source.resolve()),
        engine=str((folder / ENGINE_FILE).resolve()),
        inspection=str((folder / INSPECTION_FILE).resolve()),
        timing_cache=str(cache.resolve()),
        profiles=profiles_of(request.batches, options.get("profiles", "one")),
        workspace_bytes=request.workspace_bytes,
        sms=sms,
        hardware_compatibility=options.get("hardware_compatibility", "none"),
        version_compatible=options.get("version_compatible", "0") == "1",
        dla=dla_of(options),
    )


@dataclass
class _Told:
    """What the process has said so far."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    error: str | None = None
    done: dict[str, str] | None = None

    def hear(self, line: str, request: BuildRequest) -> None:
        message = _message(line)
        if "progress" in message:
            phase, share = message["progress"]
            request.on_progress(str(phase), float(share))
        elif "done" in message:
            self.done = message["done"]
        elif "error" in message:
            self.error = str(message["error"])
        else:
            self.lines.append(str(message.get("log", line.strip())))


def _run(command: Sequence[str], request: BuildRequest, timeout_s: float) -> Mapping[str, str]:
    told, until = _Told(), time.monotonic() + timeout_s
    with subprocess.Popen(  # nosec B603 # our own module and numbers
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=_root()
    ) as process:
        try:
            _listen(process, told, request, until)
        except BaseException:
            process.kill()  # also on Ctrl-C and on an observer's own error: no build goes on unseen
            raise
    if told.error is not None:
        raise InferenceError(told.error)
    if process.returncode != 0 or told.done is None:
        raise InferenceError(_death(process.returncode, told.lines))
    return told.done


def _root() -> Path:
    """Where the process finds this package, installed or not."""
    return Path(__file__).resolve().parents[2]


def _listen(process: subprocess.Popen[str], told: _Told, request: BuildRequest, until: float) -> None:
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_forward, args=(process.stdout, lines), daemon=True).start()
    while (line := _next(lines, until)) is not None:
        told.hear(line, request)
    try:
        process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise _late() from None


def _next(lines: queue.Queue[str | None], until: float) -> str | None:
    try:
        return lines.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        raise _late() from None


def _late() -> InferenceError:
    return InferenceError("the TensorRT build took too long and was stopped: give a smaller --batch or --workspace")


def _forward(output: IO[str] | None, lines: queue.Queue[str | None]) -> None:
    for line in output or ():
        lines.put(line)
    lines.put(None)


def _message(line: str) -> dict[str, Any]:
    """{} of what is no message: what libraries print by themselves."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _death(code: int, lines: deque[str]) -> str:
    said = "; ".join(list(lines)[-TOLD_LINES:]) or "it said nothing"
    how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    hint = " (out of memory? give a smaller --workspace)" if code == -9 else ""
    return f"the TensorRT build {how}{hint}: {said}; the source graph still runs on the CPU"


def unavailable(kind: Kind, options: Mapping[str, str]) -> str | None:
    """Why nothing can be built here, and the way out; None when it can. A build for named SMs needs no driver."""
    from engines.tensorrt.presence import installed

    return installed(kind) or (None if kind == "tensorrt_rtx" and sms_of(options) else driver.unavailable())
