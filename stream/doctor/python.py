"""Python and its packages: looked at first, without importing any of them."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, version

from stream.doctor.finding import Finding, Status

GROUP = "Python"
OLDEST = (3, 10)
PIP = ".venv/bin/pip install"


def requirements(package: str = "unmask") -> list[str]:
    """Names of the packages that ``package`` cannot do without."""
    required = distribution(package).requires or []
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in required if "extra ==" not in line)
    return [name.group() for name in names if name is not None]


def python_finding(running: tuple[int, ...]) -> Finding:
    """``running``: the interpreter's version."""
    detail = f"{'.'.join(str(number) for number in running)} on {platform.system()} {platform.machine()}"
    if running[:2] >= OLDEST:
        return Finding(GROUP, "Python", Status.FOUND, detail)
    mend = "Python 3.10 or newer: Debian 12, Ubuntu 22.04 and JetPack 6 bring one"
    return Finding(GROUP, "Python", Status.MISSING, f"{detail} is too old", mend)


def requirement_findings(names: Iterable[str]) -> list[Finding]:
    """One finding when all are there; else one for each that is not."""
    names = list(names)
    lacking = [name for name in names if not _is_installed(name)]
    if not lacking:
        return [Finding(GROUP, "packages", Status.FOUND, f"all {len(names)} are installed")]
    return [Finding(GROUP, name, Status.MISSING, "not installed", f"{PIP} {name}") for name in lacking]


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
