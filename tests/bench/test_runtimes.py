from __future__ import annotations

import json

import numpy as np
import pytest

from bench.runtimes import BASE, WARM_UPS, interleaved, main, rows_of
from engines.runtime import openvino_cpu


def test_calls_alternate_and_each_is_first_in_its_turn() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}  # type: ignore[misc]
    taken = interleaved(calls, 3)
    assert "".join(order[WARM_UPS * 3 :]) == "abcbcacab"
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_row_is_of_one_crop_and_compares_medians() -> None:
    base, other = rows_of("net", 4, {BASE: [0.4, 0.4, 0.8], "other": [0.1, 0.2, 0.2]})
    assert (base.p50_ms, base.times_faster) == (pytest.approx(100), pytest.approx(1))
    assert (other.p50_ms, other.times_faster) == (pytest.approx(50), pytest.approx(2))
    assert base.p95_ms == pytest.approx(np.percentile([100, 100, 200], 95))


def test_a_short_run_has_a_row_for_every_runtime_that_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--networks", "meso4", "--batches", "1", "2", "--rounds", "2", "--json"])
    told = json.loads(capsys.readouterr().out)
    runtimes = {row["runtime"] for row in told["rows"] if row["batch"] == 2}
    assert {BASE, "torch-cpu fp32"} <= runtimes
    assert ("openvino-cpu fp32" in runtimes) == (openvino_cpu.unavailable() is None)
    assert all(row["p95_ms"] >= row["p50_ms"] > 0 for row in told["rows"])
