"""The real Prometheus on loopback, with the rules that we ship, in a hurry."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES, ALERTS = FOLDER / "unmask.rules.yml", FOLDER / "unmask.alerts.yml"
TARGET = "127.0.0.1:9108"
HURRY = 20
"""Each second of the shipped files takes 1/20 s: intervals, ``for`` and the ranges of queries alike."""
STARTS_IN_S = 30.0

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_INTERVAL = re.compile(r"(?<=_interval: )(\d+)([smhd])$", re.MULTILINE)
_FOR = re.compile(r"(?<= for: )(\d+)([smhd])$", re.MULTILINE)
_RANGE = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])")


def tool(name: str, *, package: str = "prometheus") -> str:
    """Such as ``promtool``; skips the test where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: apt install {package}")
    return found


def promtool(*words: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [tool("promtool"), *map(str, words)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=100)


def hurried(text: str, by: float = HURRY) -> str:
    """A configuration or a rules file in which nothing but the durations differs."""

    def shorter(found: re.Match[str]) -> str:
        return f"{max(1, round(1000 * int(found[1]) * _SECONDS[found[2]] / by))}ms"

    for durations in (_INTERVAL, _FOR, _RANGE):
        text = durations.sub(shorter, text)
    return text


class Prometheus:
    """A server that runs, and what it knows."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer. Raises AssertionError with Prometheus' own words."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            told = json.load(error)
        assert told["status"] == "success", f"{parameters}: {told.get('error')}"
        return told["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query, each with ``metric`` and ``value``."""
        return list(self.ask("query", query=expression)["result"])

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def firing(self, **labels: str) -> set[str]:
        """Names of the alerts that fire and have these labels."""
        alerts = [alert for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"]
        return {alert["labels"]["alertname"] for alert in alerts if labels.items() <= alert["labels"].items()}

    @property
    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):
                return True
        except OSError:
            return False


@contextmanager
def prometheus(folder: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """What we ship, in ``folder``, pointed at ``targets`` (host:port)."""
    program = tool("prometheus")
    for file in (RULES, ALERTS, FOLDER / "prometheus.yml"):
        (folder / file.name).write_text(hurried(file.read_text()).replace(f'"{TARGET}"', json.dumps(targets)[1:-1]))
    port = _free_port()
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield _ready(Prometheus(f"http://127.0.0.1:{port}"), process, folder / "log")
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _ready(server: Prometheus, process: subprocess.Popen[bytes], log: Path) -> Prometheus:
    deadline = time.monotonic() + STARTS_IN_S
    while not server.is_ready:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"Prometheus does not start:\n{log.read_text()}")
        time.sleep(0.05)
    return server
