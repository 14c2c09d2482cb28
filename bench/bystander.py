"""A process that only sleeps: how late it wakes is how long this machine keeps anybody waiting.

Its owner holds a ``Bystander``; the process behind it answers each line with the longest wait since the one before.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from stream.errors import UnmaskError

ROOT = Path(__file__).parents[1]
NAP_S = 0.01


class Bystander:
    """The process; a context manager."""

    def __enter__(self) -> Bystander:
        command = [sys.executable, "-m", "bench.bystander"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        return self

    def longest_ms(self) -> float:
        """That it woke too late since it was last asked. Raises UnmaskError when its process has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the bystander has no pipes")
        with suppress(BrokenPipeError):
            stdin.write("\n")
            stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise UnmaskError("the process that tells of the machine's waits has ended: measure again")
        return float(answer)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._process.communicate()  # its input ends, and with it the process


class _Napper:
    def __init__(self) -> None:
        self._longest_s = 0.0
        threading.Thread(target=self._nap, daemon=True).start()

    def _nap(self) -> None:
        while True:
            began_s = time.monotonic()
            time.sleep(NAP_S)
            self._longest_s = max(self._longest_s, time.monotonic() - began_s - NAP_S)

    def longest_s(self) -> float:
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s


def main() -> int:
    napper = _Napper()
    for _ in sys.stdin:
        print(f"{1e3 * napper.longest_s():.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
