"""A Jetson's files in a folder, as NVIDIA's packages write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.doctor.finding import Status
from stream.doctor.jetson import examine, jetson_findings, l4t_release, power_mode

RELEASE = "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n"
MODES = "< POWER_MODEL ID=0 NAME=MAXN_SUPER >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=15W >\n"


def jetson(root: Path, *, release: str = RELEASE, status: str | None = "pmode:0001") -> Path:
    (root / "etc").mkdir()
    (root / "var/lib/nvpmodel").mkdir(parents=True)
    (root / "etc/nv_tegra_release").write_text(release)
    (root / "etc/nvpmodel.conf").write_text(MODES)
    if status is not None:
        (root / "var/lib/nvpmodel/status").write_text(status)
    return root


def test_a_machine_that_is_no_jetson_says_nothing(tmp_path: Path) -> None:
    assert jetson_findings(tmp_path, has_jtop=False) == []


def test_the_release_is_read_as_nvidia_writes_it(tmp_path: Path) -> None:
    assert l4t_release(jetson(tmp_path) / "etc" / "nv_tegra_release") == "36.4.0"


@pytest.mark.parametrize(("number", "status"), [(36, Status.FOUND), (38, Status.FOUND), (35, Status.ABSENT)])
def test_an_unsupported_release_is_told(tmp_path: Path, number: int, status: Status) -> None:
    root = jetson(tmp_path, release=RELEASE.replace("R36", f"R{number}"))
    assert jetson_findings(root, has_jtop=True)[0].status is status


@pytest.mark.parametrize(
    ("status", "name"), [("pmode:0000", "MAXN_SUPER"), ("pmode:0001", "15W"), ("pmode:0010", "mode 10"), (None, None)]
)
def test_the_power_mode_goes_by_its_name(tmp_path: Path, status: str | None, name: str | None) -> None:
    assert power_mode(jetson(tmp_path, status=status)) == name


@pytest.mark.parametrize(("status", "advises"), [("pmode:0000", False), ("pmode:0001", True), (None, True)])
def test_a_slower_mode_names_the_command_for_the_fastest(tmp_path: Path, status: str | None, advises: bool) -> None:
    finding = jetson_findings(jetson(tmp_path, status=status), has_jtop=True)[1]
    assert ("nvpmodel" in finding.mend) is advises


@pytest.mark.parametrize(("has_jtop", "status"), [(True, Status.FOUND), (False, Status.ABSENT)])
def test_jetson_stats_is_told_and_never_needed(tmp_path: Path, has_jtop: bool, status: Status) -> None:
    assert jetson_findings(jetson(tmp_path), has_jtop=has_jtop)[2].status is status


def test_this_machine_answers_without_raising() -> None:
    examine()
