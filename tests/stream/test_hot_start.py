"""Builds are small scripts here: what matters is what becomes of the watch that goes on meanwhile."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from engines.engine_choice import Opened
from engines.errors import CheckpointError, InferenceError
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.runtime.swappable import RuntimeChange, SwappableBackend
from stream.hot_start import HotStart

X = {"x": np.ones((2, 3), np.float32)}
LONG_S = 30.0


class Named(ScriptedBackend):
    """Answers with one value, and knows whether it was closed."""

    def __init__(self, name: str, value: float, width: int = 3) -> None:
        def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
            if value < 0:
                raise InferenceError("no such device: restart it")
            return {"y": np.full((len(arrays["x"]), 1), value, np.float32)}

        super().__init__((TensorSpec("x", (None, width)),), (TensorSpec("y", (None, 1)),), run)
        self.name = name
        self.is_closed = False

    def close(self) -> None:
        super().close()
        self.is_closed = True


class House:
    """A backbone that runs on the CPU, and what it is told."""

    def __init__(self) -> None:
        self.told: list[RuntimeChange] = []
        self.first = Named("cpu", 1)
        self.backbone = SwappableBackend(self.first, self.told.append, model="m", graph="backbone.onnx")

    def build(
        self, script: str, engine: Callable[[], Opened] | None = None, running: tuple[str, str] = ("", "")
    ) -> HotStart:
        command = (sys.executable, "-c", textwrap.dedent(script))
        return HotStart(self.backbone, command, engine or opener(Named("gpu", 2)), running=running)

    @property
    def answer(self) -> float:
        return float(self.backbone.infer(X)["y"][0, 0])


def opener(backend: Named, why: str = "gpu fp16: the fastest") -> Callable[[], Opened]:
    return lambda: Opened(backend, why, "fp16")


@pytest.fixture
def house() -> House:
    return House()


def wait_for(path: Path) -> str:
    ends = time.monotonic() + LONG_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < ends, f"{path.name} never came"
        time.sleep(0.01)
    return path.read_text()


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> None:
    ends = time.monotonic() + LONG_S
    while is_running(pid):
        assert time.monotonic() < ends, f"process {pid} goes on"
        time.sleep(0.01)


def test_what_was_built_takes_over_while_calls_go_on(house: House, tmp_path: Path) -> None:
    may_end = tmp_path / "may_end"
    script = f"import pathlib, time\nwhile not pathlib.Path({str(may_end)!r}).exists(): time.sleep(0.01)"
    build = house.build(script)
    build.start()
    assert [house.answer for _ in range(20)] == [1] * 20
    may_end.touch()
    assert build.join(LONG_S)
    assert house.answer == 2
    assert house.first.is_closed
    assert house.told == [RuntimeChange("m", "backbone.onnx", "cpu", "gpu", "built", "gpu fp16: the fastest", "fp16")]
    build.close()


def test_an_engine_is_warm_before_frames_depend_on_it(house: House) -> None:
    engine = Named("gpu", 2)
    build = house.build("", opener(engine))
    build.start()
    assert build.join(LONG_S)
    assert engine.calls == 1


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; sys.exit('build: no room left')", "exit 1: build: no room left"),
        ("1/0", "ZeroDivisionError"),
    ],
)
def test_a_build_that_fails_is_one_warning(
    house: House, script: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    build = house.build(script)
    build.start()
    assert build.join(LONG_S)
    assert (house.answer, house.told) == (1, [])
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert said in warning.getMessage()
    assert "going on with cpu" in warning.getMessage()


def cannot_be_opened() -> Opened:
    raise CheckpointError("engine.xml was changed: build it again")


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (None, "was changed"),
        (Named("gpu", -1), "no such device"),
        (Named("gpu", 2, width=4), "gpu has x"),
    ],
)
def test_an_engine_that_cannot_be_used_is_one_warning_and_is_closed(
    house: House, engine: Named | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    build = house.build("", opener(engine) if engine is not None else cannot_be_opened)
    build.start()
    assert build.join(LONG_S)
    assert (house.answer, house.told) == (1, [])
    assert engine is None or engine.is_closed
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert said in warning.getMessage()


def test_a_command_that_is_not_there_is_a_warning(house: House, caplog: pytest.LogCaptureFixture) -> None:
    build = HotStart(house.backbone, ("/no/such/builder",), opener(Named("gpu", 2)))
    build.start()
    assert build.join(LONG_S)
    assert house.answer == 1
    assert "no engine was built" in caplog.text


def test_the_engine_that_runs_already_is_left_alone(house: House) -> None:
    """Though it was measured again meanwhile, and is the fastest for another reason."""
    engine = Named("cpu", 1)
    build = house.build(
        "", lambda: Opened(engine, "cpu fp32: the fastest, 2 ms", "fp32", "0ab1"), running=("cpu", "0ab1")
    )
    build.start()
    assert build.join(LONG_S)
    assert (house.told, engine.is_closed, house.first.is_closed) == ([], True, False)


def test_a_build_has_low_priority(house: House, tmp_path: Path) -> None:
    build = house.build(f"import os, pathlib; pathlib.Path({str(tmp_path / 'nice')!r}).write_text(str(os.nice(0)))")
    build.start()
    assert build.join(LONG_S)
    assert int((tmp_path / "nice").read_text()) >= 10


STUBBORN = """
    import os, pathlib, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, {reaction})
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    partial = pathlib.Path({path!r} + ".partial")
    partial.write_text(f"{{os.getpid()}} {{child.pid}}")
    partial.rename({path!r})
    time.sleep(100)
"""


@pytest.mark.parametrize("reaction", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_nothing_of_a_build_outlives_the_watch(
    house: House, tmp_path: Path, reaction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.hot_start.GRACE_S", 0.3)
    pids = tmp_path / "pids"
    build = house.build(STUBBORN.format(reaction=reaction, path=str(pids)))
    build.start()
    builder, child = map(int, wait_for(pids).split())
    build.close()
    build.close()
    wait_until_gone(builder)
    wait_until_gone(child)
    assert (house.answer, house.told) == (1, [])


def test_a_builder_that_dies_before_what_it_started_does_not_hold_the_watch(house: House, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    build = house.build(STUBBORN.format(reaction="signal.SIG_DFL", path=str(pids)))
    build.start()
    builder, child = map(int, wait_for(pids).split())
    os.kill(builder, signal.SIGKILL)
    closing = threading.Thread(target=build.close, daemon=True)
    closing.start()
    closing.join(LONG_S)
    assert not closing.is_alive()
    wait_until_gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is told by Linux only")
def test_a_build_ends_with_a_watch_that_was_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    inner = (
        f"import os, pathlib, time; p = pathlib.Path({str(pids)!r}); p.write_text(str(os.getpid())); time.sleep(100)"
    )
    watch = f"""
        import sys, time
        from tests.stream.test_hot_start import House
        House().build({inner!r}).start()
        time.sleep(100)
    """
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(watch)], cwd=root, env=environment)
    try:
        builder = int(wait_for(pids))
    finally:
        parent.kill()
        parent.wait()
    wait_until_gone(builder)


def test_closed_before_it_has_begun_it_builds_nothing(house: House, tmp_path: Path) -> None:
    build = house.build(f"import pathlib; pathlib.Path({str(tmp_path / 'built')!r}).touch()")
    build.close()
    build.start()
    assert build.join(LONG_S)
    assert not (tmp_path / "built").exists()
