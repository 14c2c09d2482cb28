"""Runs a TensorRT engine: one thread owns the GPU's context, any thread may ask, two buffer sets are in flight."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from traceback import clear_frames

import numpy as np

from engines.errors import EngineError, InferenceError
from engines.runtime.ports import Array, TensorSpec, check_inputs
from engines.tensorrt.buffers import BufferSet, rows_of
from engines.tensorrt.chunks import Chunk, chunks_of
from engines.tensorrt.cuda_ports import Cuda
from engines.tensorrt.engine import LoadedEngine
from engines.tensorrt.plan import Profile

IN_FLIGHT = 2
"""Buffer sets: one is copied and filled while the other one runs."""
CLOSED = "the model was closed: load it again"

Answer = dict[str, Array]
Opener = Callable[[], tuple[Cuda, LoadedEngine]]
"""Called on the owner's thread."""


@dataclass(eq=False)
class _Call:
    """One request on its way."""

    batch: int
    arrays: Mapping[str, Array] | None
    pointers: Mapping[str, int]
    future: Future[Answer]
    outputs: Answer
    missing: int = 0
    """Chunks without an answer yet."""


@dataclass(frozen=True, eq=False)
class _Flight:
    """A chunk that is queued on the GPU."""

    call: _Call
    chunk: Chunk
    buffers: BufferSet


class TensorRtBackend:
    """A Backend that may be asked from any thread."""

    def __init__(self, name: str, opener: Opener) -> None:
        """Raises what ``opener`` raises, with everything freed."""
        self.name = name
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self._profiles: tuple[Profile, ...] = ()
        self._calls: queue.Queue[_Call | None] = queue.Queue()
        self._gate = threading.Lock()
        self._is_open = True
        opened: Future[None] = Future()
        self._owner = threading.Thread(target=self._own, args=(opener, opened), name=f"{name}-owner", daemon=True)
        self._owner.start()
        opened.result()

    def infer(self, arrays: Mapping[str, Array]) -> Answer:
        return self.submit(arrays).result()

    def submit(self, arrays: Mapping[str, Array]) -> Future[Answer]:
        """As ``infer``, without waiting. The arrays must stay as they are until it is done."""
        check_inputs(self.inputs, arrays)
        batches = {name: len(array) for name, array in arrays.items()}
        if len(set(batches.values())) != 1:
            raise InferenceError(f"inputs have different batches, {batches}: give as many rows of each")
        return self._send(next(iter(batches.values())), arrays, {})

    def infer_device(self, pointers: Mapping[str, int], batch: int) -> Answer:
        """As ``infer``, of contiguous inputs in this GPU's memory, all written (their stream waited for)."""
        expected = {spec.name for spec in self.inputs}
        if set(pointers) != expected or batch < 0:
            raise InferenceError(f"inputs are {sorted(expected)}, got {sorted(pointers)}: pass exactly the named ones")
        fixed = self.inputs[0].shape[0]
        if fixed is not None and batch != fixed:
            raise InferenceError(f"the engine takes batches of {fixed}, got {batch}: build it with that --batch")
        return self._send(batch, None, pointers).result()

    def close(self) -> None:
        with self._gate:
            if self._is_open:
                self._is_open = False
                self._calls.put(None)
        self._owner.join()

    def _send(self, batch: int, arrays: Mapping[str, Array] | None, pointers: Mapping[str, int]) -> Future[Answer]:
        shapes = {spec.name: (rows_of(spec, batch), *(size or 1 for size in spec.shape[1:])) for spec in self.outputs}
        outputs = {spec.name: np.empty(shapes[spec.name], spec.dtype) for spec in self.outputs}
        call = _Call(batch, arrays, pointers, Future(), outputs)
        call.future.set_running_or_notify_cancel()  # what is on its way to the GPU cannot be called back
        with self._gate:
            if not self._is_open:
                raise InferenceError(CLOSED)
            self._calls.put(call)
        return call.future

    def _own(self, opener: Opener, opened: Future[None]) -> None:
        """The owner's thread from start to end."""
        try:
            cuda, engine = opener()
        except BaseException as error:  # handed to whoever opens
            opened.set_exception(error)
            return
        buffers: list[BufferSet] = []
        try:
            largest = max(high for _, _, high in engine.profiles)
            for _ in range(IN_FLIGHT):
                buffers.append(BufferSet(cuda, engine, largest))
            self.inputs, self.outputs, self._profiles = engine.inputs, engine.outputs, engine.profiles
            opened.set_result(None)
            self._serve(deque(buffers))
        except BaseException as error:  # as above; once it is open, the loop hands errors to their calls
            if opened.done():
                raise
            opened.set_exception(error)
        finally:
            self._refuse_the_rest()
            _free(buffers, cuda, engine)

    def _refuse_the_rest(self) -> None:
        """Nobody waits for a thread that has ended."""
        with self._gate:
            self._is_open = False
        while not self._calls.empty():
            call = self._calls.get()
            if call is not None:
                call.future.set_exception(InferenceError(CLOSED))

    def _serve(self, idle: deque[BufferSet]) -> None:
        flying: deque[_Flight] = deque()
        while True:
            try:
                call = self._calls.get(block=not flying)
            except queue.Empty:
                _land(flying, idle)
                continue
            if call is None:
                break
            self._start(call, flying, idle)
        while flying:
            _land(flying, idle)

    def _start(self, call: _Call, flying: deque[_Flight], idle: deque[BufferSet]) -> None:
        try:
            chunks = chunks_of(call.batch, self._profiles)
        except EngineError as error:
            call.future.set_exception(error)
            return
        call.missing = len(chunks)
        if not chunks:
            call.future.set_result(call.outputs)
        for chunk in chunks:
            if not idle:
                _land(flying, idle)
            if not call.future.done():
                _take_off(_Flight(call, chunk, idle.popleft()), flying, idle)


def _take_off(flight: _Flight, flying: deque[_Flight], idle: deque[BufferSet]) -> None:
    try:
        if flight.call.arrays is None:
            flight.buffers.start_on_device(flight.chunk, flight.call.pointers)
        else:
            flight.buffers.start(flight.chunk, flight.call.arrays)
    except Exception as error:  # pycuda's and TensorRT's own share no base class; the caller gets it
        _settle(flight.buffers)
        idle.append(flight.buffers)
        while flying:  # the call's memory is its own again only when nothing reads it
            _land(flying, idle)
        _fail(flight.call, error)
    else:
        flying.append(flight)


def _land(flying: deque[_Flight], idle: deque[BufferSet]) -> None:
    """Finish the oldest flight."""
    flight = flying.popleft()
    call = flight.call
    try:
        flight.buffers.finish(flight.chunk, call.outputs)
    except Exception as error:  # as above
        _fail(call, error)
    idle.append(flight.buffers)
    call.missing -= 1
    if call.missing == 0 and not call.future.done():
        call.future.set_result(call.outputs)


def _fail(call: _Call, error: Exception) -> None:
    if call.future.done():
        return
    for one in (error, error.__cause__):  # frames hold streams and memory, which must go before their context does
        clear_frames(one.__traceback__ if one is not None else None)
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    told = error if isinstance(error, InferenceError) else InferenceError(f"the GPU failed: {line}; check nvidia-smi")
    call.future.set_exception(told)


def _settle(buffers: BufferSet) -> None:
    try:
        buffers.settle()
    except Exception:  # told already by the failure that led here
        return


def _free(buffers: list[BufferSet], cuda: Cuda, engine: LoadedEngine) -> None:
    """Contexts before the engine, the engine before CUDA; each though another one fails."""
    for close in (*(item.close for item in buffers), engine.close, cuda.close):
        try:
            close()
        except Exception:  # nosec B112 # a context that is broken frees nothing any more; the process's end does
            continue
