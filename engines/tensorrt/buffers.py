"""One of the buffer sets in flight: a stream, page-locked and device memory, contexts and captured graphs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from engines.runtime.ports import Array, TensorSpec
from engines.tensorrt.chunks import Chunk
from engines.tensorrt.cuda_ports import Cuda, HostBuffer
from engines.tensorrt.engine import LoadedContext, LoadedEngine


def rows_of(spec: TensorSpec, batch: int) -> int:
    """Of a tensor in a batch: a detector of one picture answers with as many rows as it has anchors."""
    return batch if spec.shape[0] is None else spec.shape[0]


class _Tensor:
    """One input's or output's memory for the largest batch; on a GPU that shares memory, the host's own."""

    def __init__(self, cuda: Cuda, spec: TensorSpec, rows: int) -> None:
        self.spec, self._cuda = spec, cuda
        self.row_bytes = np.dtype(spec.dtype).itemsize * math.prod(size or 1 for size in spec.shape[1:])
        size = rows_of(spec, rows) * self.row_bytes
        self.host: HostBuffer = cuda.host(size)
        self.is_mapped = self.host.address is not None
        try:
            self.address = self.host.address or cuda.allocate(size)
        except BaseException:
            cuda.release(self.host)
            raise

    def view(self, rows: int) -> Array:
        """(rows, …) of the page-locked memory; all of what has so many rows for any batch."""
        rows = rows_of(self.spec, rows)
        flat = self.host.memory[: rows * self.row_bytes]
        return flat.view(self.spec.dtype).reshape(rows, *(size or 1 for size in self.spec.shape[1:]))

    def copy_in(self, rows: int, stream: int) -> None:
        if not self.is_mapped:
            self._cuda.copy_in(self.address, self.host, rows_of(self.spec, rows) * self.row_bytes, stream)

    def copy_out(self, rows: int, stream: int) -> None:
        if not self.is_mapped:
            self._cuda.copy_out(self.host, self.address, rows_of(self.spec, rows) * self.row_bytes, stream)

    def close(self) -> None:
        if not self.is_mapped:
            self._cuda.free(self.address)
        self._cuda.release(self.host)


class BufferSet:
    """Runs one chunk at a time; of the owner's thread alone."""

    def __init__(self, cuda: Cuda, engine: LoadedEngine, rows: int) -> None:
        """``rows``: the largest batch."""
        self._cuda, self._engine, self._stream = cuda, engine, cuda.stream()
        self._inputs: list[_Tensor] = []
        self._outputs: list[_Tensor] = []
        self._contexts: dict[int, LoadedContext] = {}
        self._fixed: dict[tuple[int, int], LoadedContext] = {}
        self._graphs: dict[tuple[int, int], int | None] = {}
        self._uses_graph = {(number, size) for number, sizes in enumerate(engine.profiles) for size in sizes}
        try:
            for specs, tensors in ((engine.inputs, self._inputs), (engine.outputs, self._outputs)):
                for spec in specs:
                    tensors.append(_Tensor(cuda, spec, rows))
        except BaseException:
            self.close()
            raise

    def start(self, chunk: Chunk, arrays: Mapping[str, Array]) -> None:
        """Queue the run of these rows of the whole batch's arrays; they are copied before this returns."""
        for tensor in self._inputs:
            rows = arrays[tensor.spec.name][chunk.start : chunk.start + chunk.rows]
            np.copyto(tensor.view(chunk.rows), rows)
        key = (chunk.profile, chunk.rows)
        if key in self._graphs and self._graphs[key] is None:
            self._plain(self._context(chunk), chunk)
        elif key in self._uses_graph:
            self._replay(key, chunk)
        else:
            self._plain(self._context(chunk), chunk)

    def start_on_device(self, chunk: Chunk, pointers: Mapping[str, int]) -> None:
        """Queue the run of rows that lie in device memory already; its addresses change, so no graph is made."""
        context = self._context(chunk)
        addresses = {
            tensor.spec.name: pointers[tensor.spec.name] + chunk.start * tensor.row_bytes for tensor in self._inputs
        }
        self._bind(context, chunk, addresses)
        context.enqueue(self._stream)
        self._fetch(chunk.rows)

    def finish(self, chunk: Chunk, outputs: Mapping[str, Array]) -> None:
        """Wait, and copy this chunk's rows into the whole batch's ``outputs``."""
        self._cuda.synchronise(self._stream)
        for tensor in self._outputs:
            first = chunk.start if tensor.spec.shape[0] is None else 0
            rows = tensor.view(chunk.rows)
            outputs[tensor.spec.name][first : first + len(rows)] = rows

    def settle(self) -> None:
        """Wait for all that is queued, after a failure: memory may still be read."""
        self._cuda.synchronise(self._stream)

    def close(self) -> None:
        for graph in self._graphs.values():
            if graph is not None:
                self._cuda.drop(graph)
        self._graphs.clear()
        self._fixed.clear()
        self._contexts.clear()
        while tensors := self._inputs or self._outputs:
            tensors.pop().close()

    def _plain(self, context: LoadedContext, chunk: Chunk) -> None:
        self._bind(context, chunk, {tensor.spec.name: tensor.address for tensor in self._inputs})
        self._queue(context, chunk.rows)()

    def _replay(self, key: tuple[int, int], chunk: Chunk) -> None:
        """A fixed batch has a context of its own, whose shapes never change: a graph holds only as long as they do.

        Its first run is a plain one, as TensorRT sets itself up in the first run after a change of shapes.
        """
        if key not in self._fixed:
            self._fixed[key] = self._engine.context(chunk.profile, self._stream)
            self._plain(self._fixed[key], chunk)
            return
        if key not in self._graphs:
            self._graphs[key] = self._cuda.capture(self._stream, self._queue(self._fixed[key], chunk.rows))
        graph = self._graphs[key]
        if graph is None:
            del self._fixed[key]
            self._plain(self._context(chunk), chunk)
        else:
            self._cuda.launch(graph, self._stream)

    def _context(self, chunk: Chunk) -> LoadedContext:
        if chunk.profile not in self._contexts:
            self._contexts[chunk.profile] = self._engine.context(chunk.profile, self._stream)
        return self._contexts[chunk.profile]

    def _bind(self, context: LoadedContext, chunk: Chunk, addresses: Mapping[str, int]) -> None:
        for tensor in self._inputs:
            context.set_shape(tensor.spec.name, (chunk.rows, *(size or 1 for size in tensor.spec.shape[1:])))
            context.set_address(tensor.spec.name, addresses[tensor.spec.name])
        for tensor in self._outputs:
            context.set_address(tensor.spec.name, tensor.address)

    def _queue(self, context: LoadedContext, rows: int) -> Callable[[], None]:
        def queue() -> None:
            for tensor in self._inputs:
                tensor.copy_in(rows, self._stream)
            context.enqueue(self._stream)
            self._fetch(rows)

        return queue

    def _fetch(self, rows: int) -> None:
        for tensor in self._outputs:
            tensor.copy_out(rows, self._stream)
