"""Builds that go wrong, in scripted processes; builds that go right are in test_rtx_builds.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from engines.compile.request import BuildRequest
from engines.errors import InferenceError
from engines.tensorrt import builder, driver
from engines.tensorrt.builder import BuiltFiles, build_with

WRITES = """
import json, sys
from pathlib import Path
job = json.load(open(sys.argv[-1]))
print(json.dumps({"progress": ["parse", 0.5]}), flush=True)
for path in (job["engine"], job["inspection"]): Path(path).write_bytes(b"x")
print(json.dumps({"done": {"tensorrt": "10.3.0"}}), flush=True)
"""


def run(folder: Path, script: str, told: list[Any] | None = None, timeout_s: float = 20.0) -> BuiltFiles:
    heard: list[Any] = [] if told is None else told
    request = BuildRequest("fp32", (1, 8), None, {}, lambda phase, share: heard.append((phase, share)))
    process = (sys.executable, "-c", script)
    return build_with("tensorrt", b"graph", request, folder, cache_root=folder, process=process, timeout_s=timeout_s)


def test_a_build_tells_its_progress_and_leaves_the_engine_alone(tmp_path: Path) -> None:
    told: list[Any] = []
    built = run(tmp_path, WRITES, told)
    assert told == [("parse", 0.5)]
    assert built == BuiltFiles("engine.plan", ("engine.plan", "layers.json"), {"tensorrt": "10.3.0"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(built.files)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os; print('about to die', flush=True); os.abort()", r"killed by signal 6: about to die"),
        ("import os; os.kill(os.getpid(), 9)", r"signal 9 \(out of memory\? give a smaller --workspace\)"),
        ("import sys; sys.exit('no such thing')", "ended with status 1: no such thing"),
        ("print('[1, 2]')", "ended with status 0"),
        ("import json; print(json.dumps({'error': 'cannot parse'}))", "^cannot parse$"),
        ("import json; print(json.dumps({'done': {}}))", "left no engine.plan"),
    ],
)
def test_a_build_that_dies_is_one_line_and_leaves_nothing(tmp_path: Path, script: str, reason: str) -> None:
    with pytest.raises(InferenceError, match=reason) as caught:
        run(tmp_path, script)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["import time; time.sleep(60)", "import os, time; os.close(1); time.sleep(60)"])
def test_a_build_that_hangs_is_stopped(tmp_path: Path, script: str) -> None:
    with pytest.raises(InferenceError, match="took too long"):
        run(tmp_path, script, timeout_s=1.0)


@pytest.mark.skipif(driver.unavailable() is None, reason="there is a GPU here")
def test_without_a_driver_the_process_says_so_before_it_touches_tensorrt(tmp_path: Path) -> None:
    request = BuildRequest("fp32", (1,), None, {}, lambda _phase, _share: None)
    with pytest.raises(InferenceError, match="no NVIDIA driver"):
        builder.build(b"graph", request, tmp_path)
