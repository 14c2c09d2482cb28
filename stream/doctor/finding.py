"""What a check says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Status(str, Enum):
    """What a check came to."""

    FOUND = "found"
    ABSENT = "absent"
    """Not there, and not needed for the usual way."""
    MISSING = "missing"
    """Not there, and the usual way fails without it."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer."""

    group: str
    what: str
    status: Status
    detail: str
    mend: str = ""
    """The command that mends it, or what to do; empty when there is nothing to mend."""


def is_well(findings: Iterable[Finding]) -> bool:
    return all(finding.status is not Status.MISSING for finding in findings)


def lack(*, is_needed: bool) -> Status:
    """What it is called when something is not there."""
    return Status.MISSING if is_needed else Status.ABSENT
