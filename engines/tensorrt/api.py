"""TensorRT's Python API from 10.3 to 11.x, and TensorRT for RTX: what differs between them, and failures as errors.

TensorRT reports failure by returning None or False and says why only to its logger, so every result is checked here
and the logger's last lines go into the error. Precision lives in the graph: no precision flag is ever set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

from engines.errors import InferenceError, RuntimeMissingError

Kind = Literal["tensorrt", "tensorrt_rtx"]
KEPT_LINES = 200
TOLD_LINES = 3
OLDEST = (10, 3)
WAYS_OUT = {
    "tensorrt": (
        "its libraries are not on PyPI (the wheel there is a stub): install NVIDIA's tensorrt from apt, or JetPack on "
        "a Jetson, and make the virtual environment with --system-site-packages"
    ),
    "tensorrt_rtx": "pip install tensorrt-rtx (x86 only, for desktop RTX cards)",
}


class Api:
    """One TensorRT module with a logger that keeps its lines."""

    def __init__(self, module: Any, kind: Kind, on_line: Callable[[str], None] | None = None) -> None:
        """``on_line`` is told each line that the logger gets, warnings and worse."""
        self.module = module
        self.kind: Kind = kind
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.logger = _logger(module, self.lines, on_line)

    @property
    def version(self) -> str:
        """In full."""
        return str(self.module.__version__)

    @property
    def is_rtx(self) -> bool:
        return self.kind == "tensorrt_rtx"

    def checked(self, value: Any, what: str) -> Any:
        """``value``, or InferenceError with the logger's last errors where TensorRT gave None or False."""
        if value is None or value is False:
            raise InferenceError(self.failure(what))
        return value

    def failure(self, what: str) -> str:
        """One line: what went wrong, and what the logger said last."""
        said = "; ".join(list(self.lines)[-TOLD_LINES:]) or "it does not say why"
        return f"TensorRT {self.version} could not {what}: {said}"

    def network_flags(self) -> int:
        """Strongly typed, where that is a choice; from 11 on every network is."""
        flag = getattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None else 1 << int(flag)

    def flag(self, name: str) -> Any:
        """A BuilderFlag by name. Raises InferenceError where this generation has none of that name."""
        value = getattr(self.module.BuilderFlag, name, None)
        return self.checked(value, f"find the builder flag {name}, which this version lacks")

    def engine_memory(self, engine: Any) -> int:
        """Bytes of scratch memory that one execution context takes."""
        value = getattr(engine, "device_memory_size_v2", None)
        return int(engine.device_memory_size if value is None else value)

    def runtime(self) -> Any:
        return self.checked(self.module.Runtime(self.logger), "start its runtime")


def load(
    kind: Kind,
    *,
    importer: Callable[[str], Any] = import_module,
    on_line: Callable[[str], None] | None = None,
) -> Api:
    """The module, imported. Raises RuntimeMissingError that says where its libraries come from."""
    try:
        module = importer(kind)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RuntimeMissingError(f"no {kind} that can be imported ({reason}): {WAYS_OUT[kind]}") from error
    if not hasattr(module, "Builder"):
        raise RuntimeMissingError(f"{kind} is installed without its libraries: {WAYS_OUT[kind]}")
    if kind == "tensorrt" and version_pair(str(module.__version__)) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise RuntimeMissingError(f"TensorRT {module.__version__} is too old: install {oldest} or newer")
    return Api(module, kind, on_line)


def version_pair(version: str) -> tuple[int, int]:
    """Major and minor number."""
    major, minor, *_ = [*version.split("."), "0"]
    return int(major), int(minor)


def _logger(module: Any, lines: deque[str], on_line: Callable[[str], None] | None) -> Any:
    severity = module.ILogger.Severity
    told = {severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING}

    class KeepingLogger(module.ILogger):  # type: ignore[misc]  # a base class known only once TensorRT is imported
        """Called from TensorRT's own threads too; a deque takes that."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level in told:
                line = " ".join(message.split())
                lines.append(line)
                if on_line is not None:
                    on_line(line)

    return KeepingLogger()
