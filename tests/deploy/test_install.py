"""deploy/jetson/install.sh on machines that never were: their files in a folder, stand-ins for what changes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "jetson" / "install.sh"
JETPACK_6 = "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n"
JETPACK_7 = "# R38 (release), REVISION: 2.1, GCID: 42061081, BOARD: generic, EABI: aarch64\n"
PLAIN = ("dirname", "sed", "id", "cat", "env", "bash")
"""Commands that every machine has and that change nothing."""


@dataclass(frozen=True)
class Machine:
    """A machine whose releases lie in a folder, and on which nothing can be changed."""

    root: Path

    def is_system(self, name: str, version: str) -> None:
        (self.root / "etc" / "os-release").write_text(f'ID={name}\nVERSION_ID="{version}"\n')

    def is_jetson(self, release: str) -> None:
        (self.root / "etc" / "nv_tegra_release").write_text(release)

    def has(self, command: str, script: str = "exit 0") -> None:
        path = self.root / "bin" / command
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/bash\necho "{command} $*" >> "{self.root}/calls.log"\n{script}\n')
        path.chmod(0o755)

    def calls(self) -> str:
        log = self.root / "calls.log"
        return log.read_text() if log.exists() else ""

    def install(self, *options: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.root / "bin"), "LC_ALL": "C", "INSTALL_ETC": str(self.root / "etc")}
        return subprocess.run(
            ["/bin/bash", str(SCRIPT), *options],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for folder in ("etc", "bin"):
        (tmp_path / folder).mkdir()
    for name in PLAIN:
        os.symlink(shutil.which(name) or f"/usr/bin/{name}", tmp_path / "bin" / name)
    made = Machine(tmp_path)
    made.is_system("ubuntu", "22.04")
    made.has("dpkg-query", "echo not-installed")
    made.has("getent", "exit 2")
    made.has("apt-get")
    return made


def packages_of(script: Path) -> set[str]:
    found = re.search(r"^packages=\((.*?)\)", script.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return set(found[1].split())


def test_shellcheck_has_nothing_to_say() -> None:
    checker = shutil.which("shellcheck")
    if checker is None:
        pytest.skip("shellcheck is missing: apt install shellcheck")
    ended = subprocess.run([checker, str(SCRIPT)], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_it_installs_at_least_what_a_checkout_needs() -> None:
    assert packages_of(ROOT / "tools" / "setup.sh") <= packages_of(SCRIPT)


@pytest.mark.parametrize(("release", "version"), [(JETPACK_6, "22.04"), (JETPACK_7, "24.04")])
def test_both_jetpacks_are_known(machine: Machine, release: str, version: str) -> None:
    machine.is_system("ubuntu", version)
    machine.is_jetson(release)
    ended = machine.install("--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert "python3-libnvinfer" in ended.stdout
    assert "/opt/unmask/app[gpu]" in ended.stdout
    assert "10-jetson.conf" in ended.stdout
    assert "configs/jetson.yaml /etc/unmask/unmask.yaml" in ended.stdout


@pytest.mark.parametrize(
    ("release", "version", "told"),
    [
        ("", "22.04", "--no-nvidia"),
        ("# R35 (release), REVISION: 4.1\n", "20.04", "L4T 35.4.1 is not supported"),
        (JETPACK_6, "24.04", "JetPack 6 has Ubuntu 22.04"),
        (JETPACK_7, "22.04", "JetPack 7 has Ubuntu 24.04"),
        ("something else\n", "22.04", "--no-nvidia"),
    ],
)
def test_a_machine_that_does_not_fit_is_one_line_and_nothing_is_changed(
    machine: Machine, release: str, version: str, told: str
) -> None:
    machine.is_system("ubuntu", version)
    if release:
        machine.is_jetson(release)
    ended = machine.install()
    assert ended.returncode == 6
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert machine.calls() == ""


def test_a_dry_run_changes_nothing(machine: Machine) -> None:
    ended = machine.install("--dry-run", "--no-nvidia")
    assert ended.returncode == 0, ended.stderr
    changing = [line for line in machine.calls().splitlines() if not line.startswith(("dpkg-query", "getent"))]
    assert changing == []
    for step in ("apt-get install", "useradd --system", "-m venv --system-site-packages", "unmask.service"):
        assert step in ended.stdout


def test_without_nvidia_nothing_of_nvidias_is_asked_for(machine: Machine) -> None:
    told = machine.install("--dry-run", "--no-nvidia").stdout
    assert "libnvinfer" not in told
    assert "[gpu]" not in told
    assert "jetson.conf" not in told


def test_nobody_but_root_may_install(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    ended = machine.install("--no-nvidia")
    assert ended.returncode == 6
    assert "sudo" in ended.stderr


@pytest.mark.parametrize("step", ["update", "install"])
def test_apt_that_fails_is_told_with_what_to_do(machine: Machine, step: str) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get", f'[[ "$*" != *{step}* ]] || exit 100')
    ended = machine.install("--no-nvidia", "--only-packages")
    assert ended.returncode == 6
    assert f"apt-get {step} failed" in ended.stderr


def test_packages_that_are_there_are_left_alone(machine: Machine) -> None:
    machine.has("id", "echo 0")
    machine.has("dpkg-query", "echo installed")
    ended = machine.install("--no-nvidia", "--only-packages")
    assert ended.returncode == 0, ended.stderr
    assert "apt-get" not in machine.calls()


@pytest.mark.parametrize(("option", "code"), [("--nonsense", 2), ("--help", 0)])
def test_usage_is_told(machine: Machine, option: str, code: int) -> None:
    ended = machine.install(option)
    assert ended.returncode == code
    assert "usage:" in ended.stdout + ended.stderr
