"""``python -m engines.tensorrt.build_process JOB``: builds one engine in a process that may die alone.

Each line on standard output is a JSON object: ``{"progress": [phase, share]}``, ``{"log": line}``, and at the end
``{"done": {versions}}`` or ``{"error": line}``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from engines.errors import EngineError
from engines.tensorrt import driver
from engines.tensorrt.api import load
from engines.tensorrt.building import build_engine
from engines.tensorrt.plan import job_from

PROGRESS_PERIOD_S = 0.1
"""A recurrent head has thousands of steps; nobody reads them all."""
_SPEAKING = threading.Lock()


def say(**line: Any) -> None:
    """From any thread; a line is never torn."""
    with _SPEAKING:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


class Progress:
    """Tells no more than ten steps a second."""

    def __init__(self) -> None:
        self._said_at = 0.0

    def __call__(self, phase: str, share: float) -> None:
        now = time.monotonic()
        if now - self._said_at >= PROGRESS_PERIOD_S:
            self._said_at = now
            say(progress=[phase, share])


def main(job_file: Path) -> int:
    job = job_from(job_file.read_text())
    try:
        gpu = None if job.sms else driver.find_gpu()  # before TensorRT: without a driver it may take us down
        api = load(job.kind, on_line=lambda line: say(log=line))
        build_engine(api, job, Progress())
    except EngineError as error:
        say(error=str(error))
        return 1
    here = {} if gpu is None else {"gpu": gpu.machine, "cuda": gpu.cuda, "driver": gpu.driver, "l4t": gpu.l4t}
    say(done={job.kind: api.version, **{name: value for name, value in here.items() if value}})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
