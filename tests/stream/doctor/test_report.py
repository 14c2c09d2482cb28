"""What the doctor says, to people and to programs, and whether it says yes."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from stream.doctor import document, examine, report, run_doctor
from stream.doctor.finding import Finding, Status, is_well, lack

FOUND = Finding("Video", "GStreamer", Status.FOUND, "1.22.0")
ABSENT = Finding("Video", "H.265 decoder", Status.ABSENT, "none", "sudo apt install gstreamer1.0-libav")
MISSING = Finding("Scoring", "model", Status.MISSING, "no weights", "git checkout -- engines/weights")


def lines(*findings: Finding) -> list[str]:
    return [line.plain for line in report(findings)]


def test_a_lack_that_is_not_needed_leaves_the_machine_well() -> None:
    assert is_well([FOUND, ABSENT])
    assert not is_well([FOUND, MISSING])


@pytest.mark.parametrize(("is_needed", "status"), [(True, Status.MISSING), (False, Status.ABSENT)])
def test_what_is_not_there_is_named_by_its_need(is_needed: bool, status: Status) -> None:
    assert lack(is_needed=is_needed) is status


def test_each_group_is_named_once_and_each_mend_has_a_line_of_its_own() -> None:
    said = lines(FOUND, ABSENT, MISSING)
    assert said[0] == "Video"
    assert said.count("Video") == 1
    assert "      sudo apt install gstreamer1.0-libav" in said
    assert said.index("Scoring") == 4


def test_the_last_line_sums_up() -> None:
    assert lines(FOUND, ABSENT)[-1].startswith("Ready")
    assert "1 missing" in lines(FOUND, MISSING)[-1]


def test_the_document_holds_every_field() -> None:
    told = document([FOUND, MISSING])
    assert told["ok"] is False
    assert told["findings"] == [
        {"group": "Video", "what": "GStreamer", "status": "found", "detail": "1.22.0", "mend": ""},
        {
            "group": "Scoring",
            "what": "model",
            "status": "missing",
            "detail": "no weights",
            "mend": "git checkout -- engines/weights",
        },
    ]


def test_this_machine_is_examined_and_every_lack_is_mendable() -> None:
    findings = examine()
    assert {"Python", "Video"} <= {finding.group for finding in findings}
    assert all(finding.mend for finding in findings if finding.status is Status.MISSING)


def test_the_exit_code_and_the_json_agree() -> None:
    out = io.StringIO()
    code = run_doctor(as_json=True, console=Console(file=out, width=40))
    told = json.loads(out.getvalue())
    assert code == (0 if told["ok"] else 1)
    assert told["ok"] is not any(finding["status"] == "missing" for finding in told["findings"])


def test_commands_stay_whole_on_a_narrow_terminal() -> None:
    out = io.StringIO()
    run_doctor(console=Console(file=out, width=30))
    printed = out.getvalue().splitlines()
    assert all(finding.mend in printed_mends(printed) for finding in examine() if finding.mend)


def printed_mends(printed: list[str]) -> set[str]:
    return {line.strip() for line in printed if line.startswith("      ")}


def test_the_doctor_speaks_where_the_packages_are_missing() -> None:
    """A bare interpreter with nothing but what prints: the doctor must not need what it looks for."""
    hidden = "('onnxruntime', 'cv2', 'gi', 'pydantic', 'yaml', 'numpy', 'onnx')"
    code = (
        "import sys\n"
        f"for name in {hidden}: sys.modules[name] = None\n"
        "from stream.doctor import document\n"
        "from stream.doctor.python import requirement_findings\n"
        "print(document(requirement_findings(['no-such-package-here']))['ok'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
