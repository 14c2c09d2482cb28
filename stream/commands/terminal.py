"""What a command says beside its answer."""

from __future__ import annotations

import sys


def complain(line: object) -> None:
    """To standard error, in the program's name."""
    print(f"unmask: {line}", file=sys.stderr)
