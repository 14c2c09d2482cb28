"""The systemd unit: to systemd itself where it is installed, and against what the program and its files really are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stream.cli import _parser
from stream.config import load_config
from stream.errors import MissingPartError, UsageError

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "deploy" / "systemd"
UNIT = SYSTEMD / "unmask.service"
WORST_EXPOSURE = 30
"""In tenths, as --threshold takes it; systemd calls up to 4.0 OK."""


def settings(path: Path = UNIT) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if (match := re.fullmatch(r"(\w+)=(.*)", line)) is not None:
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is missing: apt install systemd")
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here, and the drop-ins beside it."""
    path = tmp_path / "unmask.service"
    path.write_text(UNIT.read_text().replace("/opt/unmask/venv/bin/unmask", "/bin/true"))
    return path


@pytest.mark.parametrize("drop_in", [None, "jetson.conf", "credentials.conf"])
def test_systemd_understands_every_line(analyze: str, unit: Path, drop_in: str | None) -> None:
    if drop_in is not None:
        (unit.parent / "unmask.service.d").mkdir()
        shutil.copy(SYSTEMD / drop_in, unit.parent / "unmask.service.d" / drop_in)
    ended = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, "unmask" in ended.stderr) == (0, False), ended.stderr


def test_systemd_calls_it_well_protected(analyze: str, unit: Path) -> None:
    command = [analyze, "security", "--offline=true", f"--threshold={WORST_EXPOSURE}", "--no-pager", str(unit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "unrecognized option" in ended.stderr:
        pytest.skip("this systemd-analyze cannot judge a file: systemd 250 can")
    assert ended.returncode == 0, ended.stdout[-300:]


def test_it_runs_a_command_that_the_program_understands() -> None:
    (command,) = settings()["ExecStart"]
    program, *words = command.split()
    assert program == "/opt/unmask/venv/bin/unmask"
    options = _parser().parse_args(words)
    assert str(options.config) == "/etc/unmask/unmask.yaml"


def test_what_a_person_must_mend_is_not_tried_again() -> None:
    codes = {int(code) for code in settings()["RestartPreventExitStatus"][0].split()}
    assert codes == {UsageError.exit_code, MissingPartError.exit_code}


def test_the_watchdog_is_fed_and_starving_it_kills() -> None:
    unit = settings()
    assert (unit["Type"], unit["NotifyAccess"]) == (["notify"], ["main"])
    assert (unit["WatchdogSec"], unit["Restart"]) == (["60s"], ["on-failure"])


def test_it_has_a_user_of_its_own_whom_the_installer_makes() -> None:
    unit, script = settings(), (ROOT / "deploy" / "jetson" / "install.sh").read_text()
    assert unit["User"] == unit["Group"] == ["unmask"]
    assert "owner=unmask\n" in script
    assert f"for group in {unit['SupplementaryGroups'][0]};" in script
    assert f"state=/var/lib/{unit['StateDirectory'][0]} " in script


@pytest.mark.parametrize(
    "line", ["NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "DevicePolicy=closed"]
)
def test_the_doors_that_matter_are_shut(line: str) -> None:
    assert line in UNIT.read_text().splitlines()


@pytest.mark.parametrize("group", ["char-video4linux", "char-nvidia*", "char-drm"])
def test_cameras_and_gpus_can_be_opened(group: str) -> None:
    assert f"{group} rw" in settings()["DeviceAllow"]


def test_the_first_configuration_runs_as_it_is() -> None:
    config = load_config(SYSTEMD / "unmask.yaml")
    assert [stream.source for stream in config.streams] == ["test"]
    assert config.display is False


def test_a_credential_lies_where_the_configurations_say() -> None:
    (credential,) = settings(SYSTEMD / "credentials.conf")["LoadCredential"]
    path = f"/run/credentials/{UNIT.name}/{credential.partition(':')[0]}"
    for text in (SYSTEMD / "unmask.yaml", SYSTEMD / "credentials.conf", ROOT / "configs" / "jetson.yaml"):
        assert f"password_file: {path}" in text.read_text()


def test_the_environment_file_holds_no_secret() -> None:
    lines = (SYSTEMD / "environment").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
