"""The demo's page end to end on a short clip: real camera, real server, scripted model."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from rich.console import Console

from stream.demo.page import run_page
from stream.demo.run import DemoFiles
from stream.errors import OutputError
from tests.stream.demo.test_run import HALF_S, folder, scripted_parts
from tests.stream.evidence.logs import opened

__all__ = ["folder"]
PATIENCE_S = 40.0


def asked_until(url: str, is_right: Callable[[Any], bool]) -> Any:
    """What the API answers once it is as it should be."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with urlopen(url, timeout=5) as reply:
            answer = json.load(reply)
        if is_right(answer):
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)


def test_the_page_shows_the_camera_and_the_alert_of_its_swapped_half(folder: Path) -> None:
    stop, seen, output = threading.Event(), dict[str, Any](), io.StringIO()

    def look(page: str | None) -> None:
        try:
            seen["alerts"] = asked_until(f"{page}api/v1/alerts", lambda found: bool(found))
            seen["streams"] = asked_until(f"{page}api/v1/streams", lambda found: bool(found))
        finally:
            stop.set()

    looker: list[threading.Thread] = []

    def start(page: str | None) -> None:
        looker.append(threading.Thread(target=look, args=(page,)))
        looker[0].start()

    result = run_page(
        folder,
        stop=stop,
        port=0,
        console=Console(file=output),
        half_s=HALF_S,
        parts=scripted_parts(lambda _: 4.0),
        on_started=lambda started: start(started.page_url),
    )
    looker[0].join()
    assert result.exit_code == 0, result.failures
    assert [stream["name"] for stream in seen["streams"]] == ["demo"]
    assert seen["alerts"][0]["kind"] == "fake"
    assert seen["alerts"][0]["stream"] == "demo"
    assert "open http://127.0.0.1:" in output.getvalue()
    assert DemoFiles(folder).clip.is_file()
    assert any((folder / "evidence").glob("*/manifest.json"))


def second_page(folder: Path, port: int = 0) -> None:
    """One that must not come up."""
    stop = threading.Event()
    run_page(
        folder,
        stop=stop,
        port=port,
        console=Console(file=io.StringIO()),
        half_s=HALF_S,
        parts=scripted_parts(lambda _: 4.0),
        on_started=lambda _: stop.set(),
    )


def test_a_second_page_says_that_one_runs_already(folder: Path) -> None:
    log = opened(folder / "evidence", folder / "log.pem")
    try:
        with pytest.raises(OutputError, match=r"^the page runs already, with its evidence in .*: end that one"):
            second_page(folder)
    finally:
        log.close()


def test_a_port_that_is_taken_names_the_demo_s_own_option(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=rf"^port {port} cannot be used, .* choose another with --port$"):
            second_page(folder, port)


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    from stream.cli import main

    with pytest.raises(SystemExit):
        main(["demo", "--page", "--port", port])
    assert "--port" in capsys.readouterr().err
