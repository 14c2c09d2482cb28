"""Arrays out of an HDF5 file that somebody else wrote: no link out of the file, nothing larger than the file itself."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from engines.errors import CheckpointError

Floats = NDArray[np.float32]
MOST_NAMES = 20_000
MOST_DIMENSIONS = 4


class Budget:
    """Bytes that may still be read: uncompressed arrays can't be more than their file."""

    def __init__(self, file_bytes: int) -> None:
        self.left = file_bytes

    def take(self, name: str, wanted: int) -> None:
        """Raises CheckpointError when the arrays together claim more than the file has."""
        self.left -= wanted
        if self.left < 0:
            raise CheckpointError(f"its {name[:80]} claims {wanted:,} bytes, more than are there: save the model again")


def names_in(group: h5py.Group) -> list[str]:
    if len(group) > MOST_NAMES:
        raise CheckpointError(f"its group {str(group.name)[:60]} has {len(group):,} members: save the model again")
    return list(group)


def child(group: h5py.Group, name: str) -> h5py.Group:
    """A group within a group, linked firmly. Raises CheckpointError."""
    inner = _member(group, name)
    if not isinstance(inner, h5py.Group):
        raise CheckpointError(f"its {name[:60]} is no group: save the model again")
    return inner


def strings(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names from an attribute, which Keras splits over ``…0``, ``…1`` when it is long."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = [group.attrs[key] for number in range(MOST_NAMES) if (key := f"{attribute}{number}") in group.attrs]
    values = [value for part in parts for value in np.asarray(part).ravel().tolist()]
    if len(values) > MOST_NAMES:
        raise CheckpointError(f"names {len(values):,} {attribute}: save the model again")
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def read_array(group: h5py.Group, name: str, budget: Budget) -> Floats:
    """The array at ``name``, which may lead through groups. Raises CheckpointError unless it is plain and finite."""
    *groups, last = name.split("/")
    for part in groups:
        group = child(group, part)
    found = _member(group, last)
    if not isinstance(found, h5py.Dataset):
        raise CheckpointError(f"its {name[:80]} is no array: save the model again")
    _check_plain(found, name)
    budget.take(name, found.size * found.dtype.itemsize)
    values = np.asarray(found[()], dtype=np.float32)
    if not np.isfinite(values).all():
        raise CheckpointError(f"its {name[:80]} holds NaN or infinity: give a trained model")
    return values


def _member(group: h5py.Group, name: str) -> object:
    """Raises CheckpointError for what is missing or linked softly, into another file or out of this group."""
    if name in ("", ".", "..") or name not in group:
        raise CheckpointError(f"lacks {name[:60]!r} in {str(group.name)[:60]}: save the model again")
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise CheckpointError(f"its {name[:60]} is a link to elsewhere, which is not followed: save the model again")
    return group[name]


def _check_plain(found: h5py.Dataset, name: str) -> None:
    """Floats, in this file, as many bytes as it says, neither compressed nor assembled from elsewhere."""
    is_small = 0 < found.ndim <= MOST_DIMENSIONS and found.size > 0
    if found.dtype.kind != "f" or found.dtype.itemsize not in (2, 4, 8) or not is_small:
        raise CheckpointError(f"its {name[:80]} is {found.dtype}{list(found.shape)}, not a layer's weights")
    bytes_stored = found.id.get_storage_size()
    is_elsewhere = found.external is not None or found.is_virtual
    if is_elsewhere or found.id.get_create_plist().get_nfilters() or bytes_stored < found.size * found.dtype.itemsize:
        raise CheckpointError(f"its {name[:80]} is compressed, cut or kept elsewhere: save the model again with Keras")
