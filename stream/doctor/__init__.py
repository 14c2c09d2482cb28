"""``unmask doctor``: what this machine has and lacks, and the command that mends each lack.

Each check takes what it looks at as an argument and returns findings; only ``examine`` looks at the machine itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.text import Text

from stream.doctor.finding import Finding, Status, is_well
from stream.doctor.python import python_finding, requirement_findings, requirements

MARKS = {Status.FOUND: ("✓", "green"), Status.ABSENT: ("–", "yellow"), Status.MISSING: ("✗", "bold red")}
NAME_WIDTH = 29


def run_doctor(*, as_json: bool = False, console: Console | None = None) -> int:
    """Examine this machine and print the findings. Returns 0 when everything that is needed was found, else 1."""
    findings = examine()
    console = console or Console()
    if as_json:
        console.out(json.dumps(document(findings), indent=2), highlight=False)
    else:
        for line in report(findings):
            console.print(line, soft_wrap=True)  # commands stay whole, to be copied
    return 0 if is_well(findings) else 1


def examine() -> list[Finding]:
    """Look at this machine. Opens codecs and ports for a moment; changes nothing."""
    findings = [python_finding(sys.version_info[:3]), *requirement_findings(requirements())]
    if not is_well(findings):
        return findings  # the other checks need these packages themselves
    from stream.doctor import jetson, scoring, surroundings, video

    return [*findings, *video.examine(), *scoring.examine(), *jetson.examine(), *surroundings.examine()]


def document(findings: Sequence[Finding]) -> dict[str, object]:
    """For ``--json``: ``ok`` and ``findings[] {group, what, status, detail, mend}``."""
    rows = [{**asdict(finding), "status": finding.status.value} for finding in findings]
    return {"ok": is_well(findings), "findings": rows}


def report(findings: Sequence[Finding]) -> list[Text]:
    """For people: a line for each finding, one below it for what mends it, and the sum of it all."""
    lines = []
    for group, members in groupby(findings, key=lambda finding: finding.group):
        lines.append(Text(group, style="bold"))
        lines += [line for finding in members for line in _lines(finding)]
    return [*lines, _summary(findings)]


def _lines(finding: Finding) -> list[Text]:
    mark, style = MARKS[finding.status]
    line = Text.assemble("  ", (mark, style), f" {finding.what:{NAME_WIDTH}} ", finding.detail)
    return [line, Text(f"      {finding.mend}", "cyan")] if finding.mend else [line]


def _summary(findings: Sequence[Finding]) -> Text:
    missing = sum(finding.status is Status.MISSING for finding in findings)
    if missing:
        return Text(f"Not ready: of what is needed, {missing} missing (✗).", style="bold red")
    return Text("Ready: unmask watch SOURCE. What is marked – is optional.", style="green")
