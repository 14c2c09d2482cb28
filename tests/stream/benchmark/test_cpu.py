"""CPU time told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import cast

import numpy as np
import pytest

from engines.errors import InferenceError
from engines.runtime.ports import Array, Backend
from stream.benchmark.cpu import CpuReading, Meter, MeteredBackend, read_cpu, shares_by_name
from stream.benchmark.trial import networks_of, stages_of
from tests.fakes import FEATURES, SIZE, backbone_of


def reading(at_s: float, threads: dict[int, tuple[str, float]]) -> CpuReading:
    return CpuReading(round(at_s * 1e9), 0.0, threads, 0.0, 0.0)


def test_threads_of_one_name_are_added_up_and_known_names_win() -> None:
    before = reading(0, {1: ("pool", 1.0), 2: ("pool", 2.0), 3: ("in:src", 0.0)})
    after = reading(2, {1: ("pool", 2.0), 2: ("pool", 4.0), 3: ("in:src", 1.0), 4: ("new", 0.5)})
    assert shares_by_name(before, after, {3: "overlay"}) == {"pool": 1.5, "overlay": 0.5, "new": 0.25}


def test_stages_add_up_to_all_threads() -> None:
    threads = {"analysis": 0.5, "decode": 0.2, "in:src": 0.1, "overlay": 0.1, "queue1:src": 0.05, "MainThread": 0.01}
    stages = stages_of(threads, {"detect": 0.2, "embed": 0.15, "head": 0.05})
    assert stages["analysis"] == pytest.approx(0.1)
    assert (stages["encode"], stages["overlay"], stages["receive"], stages["other"]) == (0.1, 0.1, 0.05, 0.01)
    assert sum(stages.values()) == pytest.approx(sum(threads.values()))


def test_a_meter_counts_runs_and_rows_and_failures_too() -> None:
    meter = Meter()
    backend = MeteredBackend(backbone_of(), meter, "embed")
    before = meter.copy()
    features = backend.infer({"crops": np.zeros((3, 3, SIZE, SIZE), np.float32)})["features"]
    assert features.shape == (3, FEATURES)
    with pytest.raises(InferenceError):
        backend.infer({"crops": np.zeros((1, 1), np.float32)})
    used = meter.since(before)
    assert (used.runs["embed"], used.rows["embed"]) == (2, 4)
    assert used.wall_s["embed"] > 0


def test_a_reading_knows_pythons_threads_by_their_names() -> None:
    names = {name for name, _ in read_cpu().by_thread.values()}
    assert "MainThread" in names


def test_a_runtimes_own_threads_count_for_the_networks_that_waited_for_them() -> None:
    used = Meter(Counter(detect=0.2, embed=0.1), Counter(detect=1.2, embed=3.1, head=0.0))  # type: ignore[call-overload]
    networks = networks_of(used, 2.0, helpers=0.8)
    assert networks == pytest.approx({"detect": 0.1 + 0.2, "embed": 0.05 + 0.6, "head": 0.0})
    stages = stages_of({"analysis": 0.5, "inference": 0.8}, networks)
    assert stages["analysis"] == pytest.approx(0.35)
    assert sum(stages.values()) == pytest.approx(1.3)


def test_device_inference_is_offered_only_where_the_inner_one_has_it() -> None:
    class OnDevice:
        def infer_device(self, pointers: Mapping[str, int], batch: int) -> dict[str, Array]:  # noqa: ARG002
            return {"features": np.zeros((batch, 1), np.float32)}

    meter = Meter()
    assert MeteredBackend(backbone_of(), meter, "embed").infer_device is None
    infer = MeteredBackend(cast("Backend", OnDevice()), meter, "embed").infer_device
    assert infer is not None
    infer({"crops": 1}, 3)
    assert (meter.runs["embed"], meter.rows["embed"]) == (1, 3)
