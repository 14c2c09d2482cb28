"""Python and its packages."""

from __future__ import annotations

import pytest

from stream.doctor.finding import Status
from stream.doctor.python import python_finding, requirement_findings, requirements


@pytest.mark.parametrize("running", [(3, 10, 0), (3, 13, 1), (3, 14, 0)])
def test_a_new_enough_python_is_found(running: tuple[int, ...]) -> None:
    finding = python_finding(running)
    assert finding.status is Status.FOUND
    assert finding.detail.startswith(".".join(str(number) for number in running))


def test_an_old_python_says_what_brings_a_newer_one() -> None:
    finding = python_finding((3, 9, 2))
    assert finding.status is Status.MISSING
    assert "3.10 or newer" in finding.mend


def test_the_requirements_are_this_projects_without_its_extras() -> None:
    names = requirements()
    assert {"onnxruntime", "opencv-python", "prometheus-client"} <= set(names)
    assert not {"torch", "pytest", "tensorrt"} & set(names)


def test_packages_that_are_all_there_take_one_line() -> None:
    (finding,) = requirement_findings(["numpy", "rich"])
    assert (finding.status, finding.detail) == (Status.FOUND, "all 2 are installed")


def test_each_missing_package_is_named_with_its_command() -> None:
    (finding,) = requirement_findings(["numpy", "no-such-package-here"])
    assert finding.status is Status.MISSING
    assert finding.mend.endswith("pip install no-such-package-here")
