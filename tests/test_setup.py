"""tools/setup.sh on machines that never were: stand-ins for apt and Python, the script itself for real."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Machine:
    """A checkout with nothing in it but the script, and commands that only write down how they were called."""

    root: Path
    tools: Path

    def has(self, command: str, script: str = "") -> None:
        path = self.tools / command
        path.write_text(f'#!/bin/bash\necho "{command} $*" >> "{self.log}"\n{script}\n')
        path.chmod(0o755)

    @property
    def log(self) -> Path:
        return self.root / "calls.log"

    def calls(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def forget_calls(self) -> None:
        self.log.unlink(missing_ok=True)

    def set_up(self, goal: str = "demo") -> subprocess.CompletedProcess[str]:
        """Runs with the stand-ins and the few plain commands that every machine has."""
        script = self.root / "tools" / "setup.sh"
        environment = {"PATH": str(self.tools), "LC_ALL": "C", "HOME": str(self.root)}
        return subprocess.run(
            ["/bin/bash", str(script), goal], env=environment, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "tools").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "tools" / "setup.sh", tmp_path / "tools" / "setup.sh")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    for name in ("dirname", "cat", "cut", "sha256sum", "mkdir", "rm", "env", "bash"):
        os.symlink(shutil.which(name) or f"/usr/bin/{name}", tmp_path / "bin" / name)
    made = Machine(tmp_path, tmp_path / "bin")
    made.has("dpkg-query", "echo installed")
    made.has("id", "echo 0")
    return made


def with_venv(machine: Machine) -> None:
    """A virtual environment whose Python agrees to everything."""
    folder = machine.root / ".venv" / "bin"
    folder.mkdir(parents=True)
    python = folder / "python"
    python.write_text(f'#!/bin/bash\necho "python $*" >> "{machine.log}"\n')
    python.chmod(0o755)


@pytest.mark.parametrize("goal", ["", "everything"])
def test_an_unknown_goal_is_a_usage_error(machine: Machine, goal: str) -> None:
    ended = machine.set_up(goal)
    assert ended.returncode == 2
    assert "usage" in ended.stderr


def test_a_user_without_root_and_sudo_is_told_the_command(machine: Machine) -> None:
    machine.has("dpkg-query", "echo not-installed")
    machine.has("id", "echo 1000")
    machine.has("apt-get")
    ended = machine.set_up()
    assert ended.returncode == 6
    assert "apt-get install --no-install-recommends" in ended.stderr
    assert "gstreamer1.0-plugins-ugly" in ended.stderr
    assert "apt-get" not in machine.calls()


def test_a_machine_without_apt_is_told_what_it_needs(machine: Machine) -> None:
    machine.has("dpkg-query", "echo not-installed")
    ended = machine.set_up()
    assert ended.returncode == 6
    assert "no apt" in ended.stderr
    assert "python3-gst-1.0" in ended.stderr


def test_a_machine_that_is_offline_is_told_so_in_one_line(machine: Machine) -> None:
    machine.has("dpkg-query", "echo not-installed")
    machine.has("apt-get", "exit 100")
    ended = machine.set_up()
    assert ended.returncode == 6
    assert "online?" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_only_missing_packages_are_installed(machine: Machine) -> None:
    machine.has("dpkg-query", '[[ "${@: -1}" == gstreamer1.0-x ]] && echo not-installed || echo installed')
    machine.has("apt-get")
    with_venv(machine)
    assert machine.set_up().returncode == 0
    installs = [line for line in machine.calls().splitlines() if line.startswith("apt-get install")]
    assert len(installs) == 1
    assert installs[0].split()[-1] == "gstreamer1.0-x"


def test_a_user_with_sudo_installs_through_it(machine: Machine) -> None:
    machine.has("dpkg-query", '[[ "${@: -1}" == gstreamer1.0-x ]] && echo not-installed || echo installed')
    machine.has("id", "echo 1000")
    machine.has("apt-get")
    machine.has("sudo", '"$@"')
    with_venv(machine)
    assert machine.set_up().returncode == 0
    assert "sudo apt-get update" in machine.calls()


@pytest.mark.parametrize(("missing", "turned_off"), [("prometheus", True), ("g++", False)])
def test_a_server_that_was_installed_for_the_tests_is_turned_off_and_one_that_was_there_is_not(
    machine: Machine, missing: str, turned_off: bool
) -> None:
    machine.has("dpkg-query", f'[[ "${{@: -1}}" == {missing} ]] && echo not-installed || echo installed')
    machine.has("apt-get")
    machine.has("systemctl")
    with_venv(machine)
    assert machine.set_up("test").returncode == 0
    assert ("systemctl disable --quiet --now prometheus" in machine.calls()) is turned_off


def test_a_server_that_cannot_be_turned_off_is_told_of(machine: Machine) -> None:
    machine.has("dpkg-query", '[[ "${@: -1}" == prometheus ]] && echo not-installed || echo installed')
    machine.has("apt-get")
    machine.has("systemctl", "exit 1")
    with_venv(machine)
    ended = machine.set_up("test")
    assert ended.returncode == 0
    assert "sudo systemctl disable --now prometheus" in ended.stdout


def test_the_second_run_asks_neither_apt_nor_pip(machine: Machine) -> None:
    machine.has("apt-get")
    with_venv(machine)
    assert machine.set_up().returncode == 0
    assert "pip install" in machine.calls()
    machine.forget_calls()
    assert machine.set_up().returncode == 0
    assert "pip" not in machine.calls()
    assert "apt-get" not in machine.calls()


def test_a_changed_pyproject_is_installed_again(machine: Machine) -> None:
    with_venv(machine)
    machine.set_up()
    machine.forget_calls()
    with (machine.root / "pyproject.toml").open("a") as project:
        project.write("\n# changed\n")
    assert machine.set_up().returncode == 0
    assert "pip install" in machine.calls()


def test_the_demo_needs_no_torch_and_the_tests_do(machine: Machine) -> None:
    with_venv(machine)
    machine.set_up("demo")
    assert ".[demo]" in machine.calls()
    assert "prometheus" not in machine.calls()
    machine.set_up("test")
    assert "train" in machine.calls()


def test_a_failed_pip_is_not_remembered(machine: Machine) -> None:
    with_venv(machine)
    python = machine.root / ".venv" / "bin" / "python"
    works = python.read_text()
    python.write_text('#!/bin/bash\n[[ "$*" == *pip* ]] && exit 1\nexit 0\n')
    ended = machine.set_up()
    assert ended.returncode == 6
    assert "pip failed" in ended.stderr
    python.write_text(works)
    assert machine.set_up().returncode == 0
    assert "pip install" in machine.calls()


def test_ci_runs_the_tests_command_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[-1].split()[-2:] == ["make", "test"]
    assert sum("make" in line for line in commands) == 1
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
