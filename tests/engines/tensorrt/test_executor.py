from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engines.errors import CheckpointError, InferenceError
from engines.runtime.ports import TensorSpec
from engines.tensorrt.api import Api
from engines.tensorrt.engine import LoadedEngine
from engines.tensorrt.executor import TensorRtBackend
from tests.engines.tensorrt.fake_cuda import FakeCuda
from tests.engines.tensorrt.fake_tensorrt import World, plan


def opened(world: World, content: bytes | None = None) -> TensorRtBackend:
    api = Api(world.module, "tensorrt")
    return TensorRtBackend("tensorrt", lambda: (world.cuda, LoadedEngine(api, content or plan())))


@pytest.fixture(params=[10, 11])
def world(request: Any) -> World:
    return World(request.param)


@pytest.fixture
def backend(world: World) -> Iterator[TensorRtBackend]:
    found = opened(world)
    yield found
    found.close()


def rows(count: int, start: float = 0) -> dict[str, np.ndarray]:
    return {"x": np.arange(start, start + 3 * count, dtype=np.float32).reshape(count, 3)}


def test_an_engine_says_its_tensors_and_runs(backend: TensorRtBackend) -> None:
    assert backend.inputs == (TensorSpec("x", (None, 3)),)
    assert backend.outputs == (TensorSpec("y", (None, 3)),)
    np.testing.assert_array_equal(backend.infer(rows(2))["y"], 2 * rows(2)["x"])


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 11])
def test_any_batch_is_cut_to_the_profile(backend: TensorRtBackend, count: int) -> None:
    for _ in range(4):
        np.testing.assert_array_equal(backend.infer(rows(count))["y"], 2 * rows(count)["x"])


@pytest.mark.parametrize("shares_memory", [False, True])
def test_an_answer_may_have_more_rows_than_its_one_picture(shares_memory: bool) -> None:
    """SCRFD's answers have a row for each anchor and no dimension for the batch."""
    world = World(cuda=FakeCuda(shares_memory=shares_memory))
    backend = opened(world, plan(profiles=((1, 1, 1),), width=6, shape0=1, y_shape=(6, 1)))
    assert backend.outputs == (TensorSpec("y", (6, 1)),)
    for start in range(5):
        x = np.arange(start, start + 6, dtype=np.float32)
        np.testing.assert_array_equal(backend.infer({"x": x[None]})["y"], 2 * x[:, None])
    backend.close()
    assert world.cuda.leftovers == 0


def test_outputs_belong_to_the_caller(backend: TensorRtBackend) -> None:
    first = backend.infer(rows(2))["y"]
    kept = first.copy()
    for start in range(5):
        backend.infer(rows(2, start + 50.0))
    np.testing.assert_array_equal(first, kept)


def test_nan_passes_through(backend: TensorRtBackend) -> None:
    assert np.isnan(backend.infer({"x": np.full((1, 3), np.nan, np.float32)})["y"]).all()


def test_a_fixed_batch_is_replayed_from_a_graph_and_another_one_is_not(world: World) -> None:
    backend = opened(world)
    for start in range(8):
        np.testing.assert_array_equal(backend.infer(rows(2, start))["y"], 2 * rows(2, start)["x"])
    assert world.cuda.launched == 6  # the first run of each buffer set is a plain one
    for start in range(8):
        np.testing.assert_array_equal(backend.infer(rows(3, start))["y"], 2 * rows(3, start)["x"])
    assert world.cuda.launched == 6
    backend.close()


def test_without_graphs_it_runs_as_well() -> None:
    world = World(cuda=FakeCuda(captures=False))
    backend = opened(world)
    for start in range(8):
        np.testing.assert_array_equal(backend.infer(rows(2, start))["y"], 2 * rows(2, start)["x"])
    assert world.cuda.launched == 0
    backend.close()


def test_shared_memory_is_not_copied() -> None:
    world = World(cuda=FakeCuda(shares_memory=True))
    backend = opened(world)
    for count in (1, 3, 1, 3, 9):
        np.testing.assert_array_equal(backend.infer(rows(count))["y"], 2 * rows(count)["x"])
    assert world.cuda.copied == 4 + 3  # the engine's own writes, one a run, and nobody else's
    backend.close()
    assert world.cuda.leftovers == 0


def test_two_sets_are_in_flight(world: World) -> None:
    backend = opened(world)
    futures = [backend.submit(rows(4, start)) for start in range(20)]
    for start, future in enumerate(futures):
        np.testing.assert_array_equal(future.result()["y"], 2 * rows(4, start)["x"])
    backend.infer(rows(16))
    assert world.cuda.most_waiting == 2
    backend.close()


def test_any_thread_may_ask(backend: TensorRtBackend) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        for turn in range(30):
            asked = rows(1 + turn % 6, 100.0 * number)
            if not np.array_equal(backend.infer(asked)["y"], 2 * asked["x"]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_thousand_calls_leak_nothing(world: World) -> None:
    backend = opened(world)
    for turn in range(20):
        backend.infer(rows(1 + turn % 9))
    held, contexts = world.cuda.leftovers, world.contexts_made
    for turn in range(1000):
        backend.infer(rows(1 + turn % 9))
    assert (world.cuda.leftovers, world.contexts_made) == (held, contexts)
    backend.close()
    assert (world.cuda.leftovers, world.cuda.is_closed) == (0, True)


def test_a_batch_in_device_memory_is_run_where_it_lies(world: World) -> None:
    backend = opened(world)
    x = rows(6)["x"]
    address = 1 << 40
    world.cuda.memory[address] = x.view(np.uint8).ravel().copy()
    for _ in range(3):
        np.testing.assert_array_equal(backend.infer_device({"x": address}, 6)["y"], 2 * x)
        np.testing.assert_array_equal(backend.infer(rows(2))["y"], 2 * rows(2)["x"])
    with pytest.raises(InferenceError, match="exactly the named"):
        backend.infer_device({"z": address}, 6)
    backend.close()


def test_profiles_share_the_batches_between_them(world: World) -> None:
    backend = opened(world, plan(((1, 1, 1), (2, 8, 8))))
    for count in (1, 5, 8, 17, 1, 8):
        np.testing.assert_array_equal(backend.infer(rows(count))["y"], 2 * rows(count)["x"])
    backend.close()


def test_a_batch_below_the_profile_is_refused_and_the_engine_goes_on(world: World) -> None:
    backend = opened(world, plan(((2, 4, 4),)))
    with pytest.raises(InferenceError, match=r"1 rows are outside the engine's profiles \(2-4\)"):
        backend.infer(rows(1))
    np.testing.assert_array_equal(backend.infer(rows(5))["y"], 2 * rows(5)["x"])  # 3 and 2, not 4 and 1
    backend.close()


def test_a_failed_run_is_told_in_the_loggers_words_and_the_next_one_works(world: World) -> None:
    backend = opened(world)
    world.fails_to_run = True
    with pytest.raises(InferenceError, match=r"could not run the engine: .*addresses or shapes") as caught:
        backend.infer(rows(9))
    assert "\n" not in str(caught.value)
    world.fails_to_run = False
    np.testing.assert_array_equal(backend.infer(rows(9))["y"], 2 * rows(9)["x"])
    backend.close()
    assert world.cuda.leftovers == 0


def test_a_fault_while_waiting_reaches_the_caller(world: World) -> None:
    backend = opened(world)
    world.cuda.fails_to_wait = True
    with pytest.raises(InferenceError, match="illegal memory access"):
        backend.infer(rows(9))
    backend.close()


def test_no_memory_for_a_context_is_told(world: World) -> None:
    backend = opened(world)
    world.lacks_memory = True
    with pytest.raises(InferenceError, match="could not make an execution context"):
        backend.infer(rows(1))
    backend.close()


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros((1, 4), np.float32)}, "x must be"),
        ({"x": np.zeros((1, 3))}, "x must be"),
        ({"z": np.zeros((1, 3), np.float32)}, "exactly the named"),
    ],
)
def test_wrong_arrays_never_reach_the_gpu(backend: TensorRtBackend, arrays: Any, reason: str) -> None:
    with pytest.raises(InferenceError, match=reason):
        backend.infer(arrays)


def test_a_closed_engine_runs_no_more_and_closes_twice(world: World) -> None:
    backend = opened(world)
    waiting = [backend.submit(rows(4)) for _ in range(5)]
    backend.close()
    backend.close()
    assert all(np.array_equal(future.result()["y"], 2 * rows(4)["x"]) for future in waiting)
    with pytest.raises(InferenceError, match="closed"):
        backend.infer(rows(1))


def test_what_is_no_engine_is_refused_with_the_loggers_words(world: World) -> None:
    with pytest.raises(CheckpointError, match="could not open the engine: magic tag does not match; build it again"):
        opened(world, b"nonsense")


def test_an_engine_with_a_free_width_is_refused(world: World) -> None:
    with pytest.raises(CheckpointError, match="only its first dimension may be free"):
        opened(world, plan(width=-1))
