"""Keras' files, read without Keras: ``.keras`` (a zip of a configuration and HDF5 weights), ``.h5`` of Keras 2 and 3.

A file becomes its layers in the order data flows through them, each with its configuration's plain values and its
arrays; models within models are laid flat. Nothing is executed: a layer that is code (Lambda) or unknown is refused.
Every size is compared with the file's own length before anything is read, and no link is followed out of the file.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py

from engines.checkpoints.keras_flow import layers_in_flow, nested_layers, snake_case
from engines.checkpoints.keras_store import Budget, Floats, child, names_in, read_array, strings
from engines.errors import CheckpointError

LARGEST_FILE = 2 * 2**30
LARGEST_CONFIG = 32 * 2**20
ZIP_MAGIC, HDF5_MAGIC = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.weights.h5"
LISTS = ("layers", "_layer_checkpoint_dependencies")
"""What the group of a model's layers is called, by Keras' version."""

UNREADABLE = (
    *(OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError),
    *(MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error),
)
"""What h5py, zipfile and json raise on damaged or hostile files, as found by feeding them some."""

KERNELS = ("kernel", "bias")
ROLES: dict[str, tuple[str, ...]] = {
    "Conv2D": KERNELS,
    "Dense": KERNELS,
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "GRU": ("kernel", "recurrent_kernel", "bias"),
}
"""Layers with weights, and their arrays in Keras' order."""
SWITCHES = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
"""Arrays that a layer's configuration can leave out."""
Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class KerasLayer:
    """One layer."""

    kind: str
    """Keras' class name, such as ``Conv2D``."""
    config: Json
    """Its configuration as the file has it; empty in a file of weights only."""
    arrays: Mapping[str, Floats]
    """Role, such as ``kernel`` -> finite float32 numbers in Keras' layout."""


@dataclass(frozen=True, repr=False)
class KerasModel:
    """A whole file."""

    layers: tuple[KerasLayer, ...]
    """In the order of flow; in a file of weights only, in the file's order, which per kind is Keras' own."""
    has_config: bool

    def of_kind(self, *kinds: str) -> list[KerasLayer]:
        return [layer for layer in self.layers if layer.kind in kinds]

    @property
    def parameters(self) -> int:
        """As Keras counts."""
        return sum(array.size for layer in self.layers for array in layer.arrays.values())


def read_keras(path: Path) -> KerasModel:
    """Raises CheckpointError with one line for any file that is not a whole Keras model or its weights."""
    try:
        magic, size = _start(path)
        if size > LARGEST_FILE:
            raise CheckpointError(f"{path} has {size:,} bytes, more than any model here: give another file")
        if magic.startswith(ZIP_MAGIC):
            return _read_zip(path)
        if magic.startswith(HDF5_MAGIC):
            with h5py.File(path, "r") as file:
                return _read_h5(file, Budget(size))
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{path}: {error}") from None
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deeply for a Keras model: save it again") from None
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is truncated or damaged ({_line(error)}): save or copy it again") from error
    raise CheckpointError(f"{path} is neither a .keras nor an .h5 file: save the model again")


def looks_like_keras(path: Path) -> bool:
    """By its first bytes and, in a zip, by its members. Raises CheckpointError when it can't be read at all."""
    try:
        magic, _ = _start(path)
        if not magic.startswith(ZIP_MAGIC):
            return magic.startswith(HDF5_MAGIC)
        with zipfile.ZipFile(path) as archive:
            return bool({CONFIG_FILE, WEIGHTS_FILE} & set(archive.namelist()))
    except FileNotFoundError:
        raise CheckpointError(f"no file at {path}: give the file to import") from None
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is truncated or damaged ({_line(error)}): copy it again") from error


def _start(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(8), path.stat().st_size


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _read_zip(path: Path) -> KerasModel:
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if len(set(members)) != len(members) or any(".." in name or name.startswith(("/", "\\")) for name in members):
            raise CheckpointError("has members that Keras does not write: save the model again")
        config = _config(_member(archive, CONFIG_FILE, LARGEST_CONFIG))
        weights = _member(archive, WEIGHTS_FILE, LARGEST_FILE)
    with h5py.File(io.BytesIO(weights), "r") as file:
        return KerasModel(tuple(_from_store(config, file, Budget(len(weights)))), has_config=True)


def _member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    """A member's bytes. Keras stores without compression; what would swell by more than a half is refused unread."""
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise CheckpointError(f"holds no {name}: it is not a .keras model") from None
    if entry.file_size > largest or (name == WEIGHTS_FILE and entry.file_size > 1.5 * entry.compress_size + 4096):
        raise CheckpointError(f"its {name} would unpack to {entry.file_size:,} bytes: refused; save the model again")
    return archive.read(entry)


def _config(text: str | bytes) -> Json:
    config = json.loads(text)
    if not isinstance(config, dict):
        raise CheckpointError("its configuration is no object: save the model again")
    return config


def _read_h5(file: h5py.File, budget: Budget) -> KerasModel:
    """A whole model of Keras 2's format, or weights only in either format."""
    if "model_config" in file.attrs:
        config = _config(file.attrs["model_config"])
        return KerasModel(tuple(_from_groups(config, child(file, "model_weights"), budget)), has_config=True)
    if "layer_names" in file.attrs or "layer_names0" in file.attrs:
        return KerasModel(tuple(_bare_groups(file, budget)), has_config=False)
    return KerasModel(tuple(_bare_store(file, budget)), has_config=False)


# The newer layout: groups named by class and count


def _from_store(model: Json, group: h5py.Group, budget: Budget) -> list[KerasLayer]:
    """The layers of ``model`` in the order of flow; groups are counted per class in the order of configuration."""
    listed = nested_layers(model)
    store = _layer_list(group)
    names = _store_names(listed)
    unknown = sorted(set(names_in(store)) - set(names))
    if unknown:
        raise CheckpointError(f"has weights of a layer {unknown[0]!r} that its configuration lacks: save it again")
    places = {id(layer): name for layer, name in zip(listed, names, strict=True)}
    found: list[KerasLayer] = []
    for layer in layers_in_flow(model):
        name = places[id(layer)]
        if "layers" in layer["config"]:
            found += _from_store(layer, child(store, name), budget)
        else:
            found.append(_stored_layer(layer, store, name, budget))
    return found


def _layer_list(group: h5py.Group) -> h5py.Group:
    for name in LISTS:
        if name in group:
            return child(group, name)
    raise CheckpointError("its weights hold no layers: save the model again")


def _store_names(layers: Sequence[Json]) -> list[str]:
    counts: dict[str, int] = {}
    names = []
    for layer in layers:
        base = snake_case(layer["class_name"])
        count = counts[base] = counts.get(base, -1) + 1
        names.append(f"{base}_{count}" if count else base)
    return names


def _stored_layer(layer: Json, store: h5py.Group, name: str, budget: Budget) -> KerasLayer:
    roles = _roles(layer)
    if not roles:
        return KerasLayer(layer["class_name"], layer["config"], {})
    arrays = _numbered(child(store, name), budget)
    return KerasLayer(layer["class_name"], layer["config"], _named(name, roles, arrays))


def _numbered(group: h5py.Group, budget: Budget) -> list[Floats]:
    """``vars/0``, ``vars/1`` and so on; a recurrent layer keeps them in its cell."""
    values = child(child(group, "cell") if "cell" in group else group, "vars")
    names = names_in(values)
    if set(names) != {str(number) for number in range(len(names))}:
        raise CheckpointError(f"{values.name} holds variables {', '.join(sorted(names))[:60]}: save the model again")
    return [read_array(values, str(number), budget) for number in range(len(names))]


def _roles(layer: Json) -> tuple[str, ...]:
    """The arrays that a layer of this configuration has."""
    roles = ROLES.get(layer["class_name"], ())
    return tuple(role for role in roles if layer["config"].get(SWITCHES.get(role, ""), True))


def _named(name: str, roles: tuple[str, ...], arrays: list[Floats]) -> dict[str, Floats]:
    if len(roles) != len(arrays):
        raise CheckpointError(f"layer {name} has {len(arrays)} arrays and needs {len(roles)}: save the model again")
    return dict(zip(roles, arrays, strict=True))


def _bare_store(group: h5py.Group, budget: Budget) -> list[KerasLayer]:
    """Weights without a configuration: per class in Keras' order."""
    store, kinds = _layer_list(group), {snake_case(kind): kind for kind in ROLES}
    found: list[KerasLayer] = []
    for name in sorted(names_in(store), key=_by_count):
        inner = child(store, name)
        base, _ = _by_count(name)
        if any(listed in inner for listed in LISTS):
            found += _bare_store(inner, budget)
        elif base in kinds:
            arrays = _numbered(inner, budget)
            found.append(KerasLayer(kinds[base], {}, _named(name, _roles_by_count(kinds[base], arrays), arrays)))
    return found


def _by_count(name: str) -> tuple[str, int]:
    base, _, count = name.rpartition("_")
    return (base, int(count)) if base and count.isdecimal() else (name, 0)


def _roles_by_count(kind: str, arrays: list[Floats]) -> tuple[str, ...]:
    """A norm leaves out its factor, anything else its bias."""
    roles = ROLES[kind]
    missing = len(roles) - len(arrays)
    return roles if missing != 1 else roles[1:] if kind == "BatchNormalization" else roles[:-1]


# The older layout: groups named by layer, arrays by variable


def _from_groups(model: Json, group: h5py.Group, budget: Budget) -> list[KerasLayer]:
    """A top-level layer has a group; a model within the model keeps all its layers' arrays in its one group."""
    listed = {layer["config"]["name"] for layer in nested_layers(model)}
    unknown = sorted(set(strings(group, "layer_names")) - listed)
    if unknown:
        raise CheckpointError(f"has weights of a layer {unknown[0]!r} that its configuration lacks: save it again")
    found: list[KerasLayer] = []
    for layer in layers_in_flow(model):
        parts, arrays = _flat(layer), dict[str, dict[str, Floats]]()
        if any(_roles(part) for part in parts):
            names = {part["config"]["name"] for part in parts}
            arrays = _by_layer(child(group, layer["config"]["name"]), names, budget)
        found += [_grouped_layer(part, arrays) for part in parts]
    return found


def _flat(layer: Json) -> list[Json]:
    """The layer, or the layers of a model within the model, in the order of flow."""
    if "layers" not in layer["config"]:
        return [layer]
    return [part for inner in layers_in_flow(layer) for part in _flat(inner)]


def _by_layer(group: h5py.Group, names: set[str], budget: Budget) -> dict[str, dict[str, Floats]]:
    """Layer -> role -> array. A variable's name has its layer's among its parts, and its role as the last."""
    found: dict[str, dict[str, Floats]] = {}
    for variable in strings(group, "weight_names"):
        *parts, role = variable.split(":")[0].split("/")
        owners = [part for part in parts if part in names] or (list(names) if len(names) == 1 else [])
        if not owners:
            raise CheckpointError(f"has a variable {variable[:60]!r} of no layer: save the model again")
        arrays = found.setdefault(owners[-1], {})
        if role in arrays:
            raise CheckpointError(f"has {variable[:60]!r} twice: save the model again")
        if any(role in roles for roles in ROLES.values()):
            arrays[role] = read_array(group, variable, budget)
    return found


def _grouped_layer(layer: Json, arrays: Mapping[str, dict[str, Floats]]) -> KerasLayer:
    name, roles = layer["config"]["name"], _roles(layer)
    have = arrays.get(name, {})
    if set(have) != set(roles):
        raise CheckpointError(f"layer {name!r} has arrays {sorted(have)} and needs {sorted(roles)}: save it again")
    return KerasLayer(layer["class_name"], layer["config"], have)


def _bare_groups(file: h5py.File, budget: Budget) -> list[KerasLayer]:
    """Weights without a configuration: what a layer is shows in its variables' names and shapes."""
    found: list[KerasLayer] = []
    for name in strings(file, "layer_names"):
        group, parts = child(file, name), dict[str, dict[str, Floats]]()
        for variable in strings(group, "weight_names"):
            owner, _, role = variable.split(":")[0].rpartition("/")
            parts.setdefault(owner, {})[role] = read_array(group, variable, budget)
        found += [KerasLayer(_kind(owner, arrays), {}, arrays) for owner, arrays in parts.items()]
    return found


def _kind(owner: str, arrays: Mapping[str, Floats]) -> str:
    """Raises CheckpointError when no known layer has these arrays."""
    for kind, roles in ROLES.items():
        required = {role for role in roles if role not in SWITCHES}
        rank = {"Conv2D": 4, "Dense": 2}.get(kind)
        if required <= set(arrays) <= set(roles) and (rank is None or arrays["kernel"].ndim == rank):
            return kind
    raise CheckpointError(f"holds a layer {owner[:60]!r} that is not known here: {', '.join(sorted(arrays))[:60]}")
