"""Frames to network input on the GPU: each frame goes up once, then one launch cuts all faces of all frames.

Used by one thread at a time. Frames are borrowed only while they go up: their planes are copied to page-locked memory.
All results stay valid until the next call of the same method; ``forget`` ends a step and lets go of its frames.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.cuda.layout import (
    Record,
    face_records,
    grid_over,
    levels_record,
    matrices_record,
    packed,
)
from engines.cuda.ports import Device, DeviceBatch, Staging
from engines.preprocess import FaceView, Floats, Levels, Planes

SPARE_BUFFERS = 32
"""Kept for frames to come; beyond, those unused for longest are freed: cameras come and go with their sizes."""


@dataclass(frozen=True)
class _Slot:
    """Page-locked memory with its place on the GPU: a copy, or (mapped) the very same bytes."""

    staging: Staging
    copy: int | None

    @property
    def address(self) -> int:
        return self.staging.address if self.copy is None else self.copy  # type: ignore[return-value] # one of them is

    @property
    def size(self) -> int:
        return len(self.staging.memory)


@dataclass
class _Scratch:
    """Device memory that grows to the largest size asked for."""

    address: int = 0
    size: int = 0


@dataclass
class _Step:
    """What ``forget`` lets go of."""

    frames: list[tuple[Planes, Record]] = field(default_factory=list)
    slots: list[_Slot] = field(default_factory=list)


class GpuPreprocessor:
    """Letterboxes frames for detectors and cuts faces for the backbone, in device memory."""

    def __init__(self, device: Device) -> None:
        """``device`` is closed with this."""
        self._device = device
        self._step = _Step()
        self._spare: list[_Slot] = []
        self._levels: dict[Levels, int] = {}
        self._scratch: dict[str, _Scratch] = defaultdict(_Scratch)
        self._readback: Staging | None = None
        self._matrices = self._keep(matrices_record())

    def upload(self, planes: Planes) -> Record:
        """The frame's record for kernels; a frame that went up in this step does not go again."""
        for known, record in self._step.frames:
            if known is planes:
                return record
        layout = packed(planes)
        slot = self._slot(layout.size)
        layout.fill(slot.staging.memory, planes)
        self._send(slot, layout.size)
        record = layout.record(slot.address)
        self._step.frames.append((planes, record))
        return record

    def faces(self, views: Sequence[FaceView], size: int, levels: Levels) -> DeviceBatch:
        """(N, 3, size, size) of N >= 1 faces, equal to ``normalise([crop_planes(...), ...])``."""
        records = face_records([(self.upload(view.planes), view.square) for view in views])
        batch = self._batch("faces", (len(views), 3, size, size))
        arguments = self._put(records), self._matrices, self._levels_of(levels), batch.address
        self._launch("crop_faces", grid_over(size, size, len(views)), arguments, (size,))
        return batch

    def letterbox(
        self, planes: Planes, inner_wh: tuple[int, int], canvas_wh: tuple[int, int], levels: Levels
    ) -> DeviceBatch:
        """(1, 3, H, W): the whole frame as ``reduced_rgb`` in the upper left corner of a black canvas."""
        frame = self._put(self.upload(planes))
        batch = self._batch("canvas", (1, 3, canvas_wh[1], canvas_wh[0]))
        arguments = frame, self._matrices, self._levels_of(levels), batch.address
        self._launch("letterbox", grid_over(*canvas_wh), arguments, (*inner_wh, *canvas_wh))
        return batch

    def wait(self) -> None:
        """Until all that was asked for lies in device memory, for readers with a queue of their own."""
        self._device.synchronise()

    def to_host(self, batch: DeviceBatch) -> Floats:
        """A copy of the caller's own. Waits for the queue."""
        if self._readback is None or len(self._readback.memory) < batch.size:
            self._drop_readback()
            self._readback = self._device.staging(batch.size)
        self._device.copy_out(self._readback, batch.address, batch.size)
        self._device.synchronise()
        values = self._readback.memory[: batch.size].view(np.float32)
        return np.array(values.reshape(batch.shape), np.float32)

    def forget(self) -> None:
        """Let go of the step's frames; their memory serves the next ones. Waits for the queue."""
        self._device.synchronise()
        self._spare += self._step.slots
        self._step = _Step()
        while len(self._spare) > SPARE_BUFFERS:
            self._free(self._spare.pop(0))

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        self._device.close()
        self._step, self._spare, self._readback = _Step(), [], None

    def _slot(self, size: int) -> _Slot:
        """Memory for this step, the most recently used of its size when there is one."""
        place = next((place for place in reversed(range(len(self._spare))) if self._spare[place].size == size), None)
        slot = self._new_slot(size) if place is None else self._spare.pop(place)
        self._step.slots.append(slot)
        return slot

    def _new_slot(self, size: int) -> _Slot:
        staging = self._device.staging(size)
        return _Slot(staging, self._device.allocate(size) if staging.address is None else None)

    def _free(self, slot: _Slot) -> None:
        if slot.copy is not None:
            self._device.free(slot.copy)
        self._device.release(slot.staging)

    def _send(self, slot: _Slot, size: int) -> None:
        if slot.copy is not None:
            self._device.copy_in(slot.copy, slot.staging, size)

    def _put(self, record: Record) -> int:
        """Address of a record in this step."""
        content = _bytes_of(record)
        slot = self._slot(_rounded(content.size))
        slot.staging.memory[: content.size] = content
        self._send(slot, content.size)
        return slot.address

    def _keep(self, record: Record) -> int:
        """Address of a record for as long as this is open: copied at once, from memory given back at once."""
        content = _bytes_of(record)
        staging = self._device.staging(content.size)
        staging.memory[:] = content
        address = self._device.allocate(content.size)
        self._device.copy_in(address, staging, content.size)
        self._device.synchronise()
        self._device.release(staging)
        return address

    def _levels_of(self, levels: Levels) -> int:
        if levels not in self._levels:
            self._levels[levels] = self._keep(levels_record(levels))
        return self._levels[levels]

    def _batch(self, what: str, shape: tuple[int, ...]) -> DeviceBatch:
        scratch, needed = self._scratch[what], 4 * int(np.prod(shape))
        if scratch.size < needed:
            if scratch.size:
                self._device.synchronise()
                self._device.free(scratch.address)
            scratch.size = 0
            scratch.address, scratch.size = self._device.allocate(needed), needed
        return DeviceBatch(scratch.address, shape)

    def _drop_readback(self) -> None:
        if self._readback is not None:
            self._device.synchronise()
            self._device.release(self._readback)
            self._readback = None

    def _launch(
        self, kernel: str, grid: tuple[int, int, int], addresses: tuple[int, ...], numbers: tuple[int, ...]
    ) -> None:
        self._device.launch(kernel, grid, [*map(np.uint64, addresses), *map(np.int32, numbers)])


def _bytes_of(record: Record) -> NDArray[np.uint8]:
    return np.frombuffer(record.tobytes(), np.uint8)


def _rounded(size: int) -> int:
    """Up to a power of two, so that records of varying length share their memory."""
    return max(256, 1 << (size - 1).bit_length())
