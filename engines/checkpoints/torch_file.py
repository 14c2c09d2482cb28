"""Torch's files by somebody else, state dictionaries and whole pickled modules alike, read without running them.

Pickle is a language of calls. Here only a short list of names can be looked up, and each is answered by an inert
stand-in: tensors become notes of where their numbers lie, modules become bags of what they held. Any other name stops
the reading. The zip of torch 1.6 and later, the older format before it, and ``.safetensors`` are known.
"""

from __future__ import annotations

import io
import math
import pickle  # nosec B403 # see _Reader: nothing is looked up
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from torch import Tensor

from engines.errors import CheckpointError

LARGEST_FILE = 2 * 2**30
LARGEST_PICKLE = 64 * 2**20
DEEPEST_MODULE = 20
MOST_TENSORS = 20_000
MOST_VISITS = 200_000
"""Of values while tensors are looked for: one small dictionary held many times over is many of them."""
TIED_SHARE = 2
"""Tensors may share their numbers, so that all together are larger than the file, but not this many times."""
MOST_DIMENSIONS = 5
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
ZIP_MAGIC, PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
STORAGES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
"""Torch's kinds of numbers, as NumPy writes them."""
MODULE_PACKAGES = ("torch.nn", "torchvision.models", "network", "networks", "models", "pretrainedmodels", "__main__")
"""Where the classes of pickled networks lived; none is imported."""

UNREADABLE = (
    *(OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError),
    *(MemoryError, NotImplementedError, AssertionError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
    *(struct.error, SafetensorError),
)
"""What pickle, zipfile and NumPy raise on damaged or hostile files, as found by feeding them some."""


def read_torch(path: Path) -> dict[str, Tensor]:
    """Every tensor of the file by its dotted name; integers as they are, all else float32 and finite.

    Raises CheckpointError with one line for any other file.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise CheckpointError(f"{path} is larger than any model here: give another file")
        found = _found(path.read_bytes())
        return {name: _checked(name, tensor) for name, tensor in found.items()}
    except FileNotFoundError:
        raise CheckpointError(f"no file at {path}: give the file to import") from None
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{path}: {error}") from None
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deeply for a network: save its state_dict") from None
    except UNREADABLE as error:
        line = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise CheckpointError(f"{path} is truncated or damaged ({line}): save or copy it again") from error


def _found(content: bytes) -> dict[str, Tensor]:
    if content.startswith(ZIP_MAGIC):
        whole, storage = _from_zip(content)
    elif content.startswith(PICKLE_MAGIC):
        whole, storage = _from_legacy(content)
    elif content[8:9] == b"{":
        return tensors_from_bytes(content)
    else:
        raise CheckpointError("is neither torch's nor a .safetensors file, nor Keras': give a checkpoint")
    found: dict[str, Tensor] = {}
    left = TIED_SHARE * len(content)
    for name, record in _records("", whole, 0, count()):
        left -= math.prod(record.shape) * np.dtype(record.storage.dtype).itemsize
        if len(found) >= MOST_TENSORS or left < 0:
            raise CheckpointError("holds more tensors than any network here: save its state_dict")
        found[name] = _tensor(record, storage)
    if not found:
        raise CheckpointError("holds no tensors: save a network's state_dict")
    return found


def _checked(name: str, tensor: Tensor) -> Tensor:
    value = tensor.float() if tensor.is_floating_point() else tensor
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"its {name[:80]} holds NaN or infinity: give a trained model")
    return value


# Stand-ins


class _Kind(NamedTuple):
    """A kind of storage."""

    dtype: str


class _Storage(NamedTuple):
    """Numbers in the file, named but not yet read."""

    key: str
    dtype: str
    length: int


class _Record(NamedTuple):
    """A tensor: which numbers of a storage it shows."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Bag:
    """Whatever object the file describes: it keeps what it is given and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.held: dict[str, Any] = {}

    def keep(self, state: Any) -> None:
        self.held = dict(state) if isinstance(state, dict) else {}


def _record(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Record:
    """Stands for torch's own rebuilding of a tensor."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without numbers")
    return _Record(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _parameter(data: Any, *_: Any) -> Any:
    return data


_CALLS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _record,
    ("torch._utils", "_rebuild_tensor"): _record,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    **{("torch", name): _Kind(dtype) for name, dtype in STORAGES.items()},
}
"""The only names that mean anything; the rest of a network's file is inert bags."""


class _Reader(pickle._Unpickler):
    """Looks nothing up: ``find_class`` answers from tables, and imports nothing.

    Python's own unpickler, for the one in C sets aside as much memory as a file tells it to.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CALLS:
            return _CALLS[module, name]
        if "." not in name and any(module == one or module.startswith(f"{one}.") for one in MODULE_PACKAGES):
            return _Bag
        raise CheckpointError(f"asks for {module[:40]}.{name[:40]}, which a network does not need: not run, refused")

    def persistent_load(self, reference: Any) -> Any:
        """A storage, or (in the older format) a module's class with its source text, which is not looked at."""
        kind, *parts = reference
        if kind == "module":
            return parts[0]
        if kind != "storage" or not isinstance(parts[0], _Kind):
            raise pickle.UnpicklingError("unknown kind of storage")
        if len(parts) > 4 and parts[4] is not None:
            raise pickle.UnpicklingError("a view of a storage, which torch has not written for years")
        return _Storage(str(parts[1]), parts[0].dtype, int(parts[3]))

    def load_build(self) -> None:
        """An object's state goes into a bag; nothing else here may be changed by a file."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Bag):
            self.stack[-1].keep(state)
        elif not isinstance(self.stack[-1], OrderedDict):
            raise pickle.UnpicklingError("a state for what has none")

    dispatch[pickle.BUILD[0]] = load_build


# Formats

Storages = Callable[[_Storage], bytes]


def _from_zip(content: bytes) -> tuple[Any, Storages]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    names = archive.namelist()
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1 or len(set(names)) != len(names) or f"{roots[0]}constants.pkl" in names:
        raise CheckpointError("is a zip, but of neither Keras nor a state_dict of torch: save the state_dict")
    pickled = archive.getinfo(f"{roots[0]}data.pkl")
    if pickled.file_size > LARGEST_PICKLE:
        raise CheckpointError(f"its structure alone has {pickled.file_size:,} bytes: save the state_dict")
    if f"{roots[0]}byteorder" in names and archive.open(f"{roots[0]}byteorder").read(16) != b"little":
        raise CheckpointError("was written by a big-endian machine: save it again on another")

    def numbers(storage: _Storage) -> bytes:
        entry = archive.getinfo(f"{roots[0]}data/{storage.key}")
        if entry.file_size > entry.compress_size:  # torch stores without compression
            raise CheckpointError("is compressed, which torch does not do: save it again")
        return archive.read(entry)

    return _Reader(io.BytesIO(archive.read(pickled))).load(), numbers


def _from_legacy(content: bytes) -> tuple[Any, Storages]:
    """Magic, version, machine, the object, the storages' keys, then each storage: its count and its bytes."""
    file = io.BytesIO(content)
    if _Reader(file).load() != LEGACY_MAGIC:
        raise CheckpointError("is a pickle, but not one of torch's: save a network's state_dict")
    _Reader(file).load()
    machine = _Reader(file).load()
    if not isinstance(machine, dict) or not machine.get("little_endian", True):
        raise CheckpointError("was written by a big-endian machine: save it again on another")
    reader = _KindKeeper(file)
    whole, keys = reader.load(), _Reader(file).load()
    stored = dict(_legacy_storages(file, keys, reader.widths))
    return whole, lambda storage: stored[storage.key]


class _KindKeeper(_Reader):
    """Remembers how wide each storage's numbers are: the bytes that follow do not say."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.widths: dict[str, int] = {}

    def persistent_load(self, reference: Any) -> Any:
        found = super().persistent_load(reference)
        if isinstance(found, _Storage):
            self.widths[found.key] = np.dtype(found.dtype).itemsize
        return found


def _legacy_storages(file: io.BytesIO, keys: Any, widths: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    if not isinstance(keys, list) or len(keys) > MOST_TENSORS:
        raise CheckpointError("has no list of its storages: save the state_dict")
    for key in map(str, keys):
        (count,) = struct.unpack("<q", file.read(8))
        yield key, file.read(max(count, 0) * widths[key])


# Tensors


def _records(name: str, value: Any, depth: int, visits: Iterator[int]) -> Iterator[tuple[str, _Record]]:
    """Every tensor of a state dictionary, of the dictionaries a training run wraps it in, or of a module."""
    if depth > DEEPEST_MODULE or next(visits) > MOST_VISITS:
        raise CheckpointError("is nested too deeply for a network: save its state_dict")
    if isinstance(value, _Record):
        yield name, value
    elif isinstance(value, _Bag):
        for part in ("_parameters", "_buffers", "_modules"):
            yield from _records(name, value.held.get(part), depth + 1, visits)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str) and key not in _LEFT_OUT:
                yield from _records(f"{name}.{key}" if name else key, inner, depth + 1, visits)


_LEFT_OUT = ("optimizer", "opt", "optimizer_state_dict", "scheduler", "lr_scheduler", "_metadata")
"""What a training run keeps beside its weights."""


def _tensor(record: _Record, storage: Storages) -> Tensor:
    """Copied out of the file. Raises CheckpointError when it reaches beyond its own numbers."""
    content = storage(record.storage)
    dtype = np.dtype(record.storage.dtype)
    if len(content) != record.storage.length * dtype.itemsize:
        raise CheckpointError("is truncated: a tensor's numbers are missing; copy it again")
    if not _lies_within(record):
        raise CheckpointError("has a tensor that reaches beyond its numbers: refused; save it again")
    numbers = np.frombuffer(content, dtype)[record.offset :]
    strides = tuple(stride * dtype.itemsize for stride in record.strides)
    return torch.from_numpy(np.lib.stride_tricks.as_strided(numbers, record.shape, strides).copy())


def _lies_within(record: _Record) -> bool:
    """Whether a tensor has at most as many numbers as its storage, and all of them inside."""
    sides = list(zip(record.shape, record.strides, strict=True))
    if len(sides) > MOST_DIMENSIONS or record.offset < 0 or any(side < 1 or stride < 0 for side, stride in sides):
        return False
    last = record.offset + sum((side - 1) * stride for side, stride in sides)
    return last < record.storage.length and math.prod(record.shape) <= record.storage.length
