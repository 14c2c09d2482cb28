"""SCRFD: insightface's detector, from a given .onnx, a model pack on this machine, or one that insightface fetches.

InsightFace's packs are licensed for non-commercial research only: that is why they are not the default.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from engines.postprocess import ANCHOR_STRIDES, Detections, ScrfdMap, decode_scrfd, without_overlaps
from engines.preprocess import BoxGeometry, Bytes, Floats, Levels
from engines.runtime.ports import Array
from stream.errors import ModelError
from stream.faces.network import FaceNetwork

log = logging.getLogger(__name__)

PACKS = Path("~/.insightface/models")
FETCHED_PACK = "buffalo_sc"
"""The smallest pack that holds a detector (det_500m)."""
IOU_LIMIT = 0.4
"""As in insightface."""


def input_array(rgb: Bytes) -> Floats:
    """RGB scaled to about -1..1."""
    return np.ascontiguousarray((rgb.transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 128.0)


def decode(outputs: Mapping[str, Array], size_wh: tuple[int, int], confidence: float) -> Detections:
    """Outputs are told apart by their order, as in insightface: the packs' graphs only number them."""
    arrays, strides = list(outputs.values()), len(ANCHOR_STRIDES)
    points: list[Array | None] = [*arrays[2 * strides :]] or [None] * strides
    maps = [ScrfdMap(*level) for level in zip(arrays[:strides], arrays[strides : 2 * strides], points, strict=True)]
    return without_overlaps(decode_scrfd(maps, size_wh, confidence), IOU_LIMIT)


def find_weights() -> Path:
    return find_pack(PACKS.expanduser(), fetch_pack)


def find_pack(root: Path, fetch: Callable[[str], None]) -> Path:
    """The smallest detector among the packs under ``root``, or of the pack that ``fetch`` brings there."""
    found = _detectors(root)
    if not found:
        _fetch_or_explain(root, fetch)
        found = _detectors(root)
    if not found:
        raise ModelError(_no_pack(root, "the fetched pack holds no detector"))
    return found[0]


def fetch_pack(name: str) -> None:
    """Have insightface fetch a model pack. Raises OSError, RuntimeError or BadZipFile when it cannot."""
    from insightface.utils import ensure_available  # slow to import, and needed only here

    ensure_available("models", name)


def accepts(outputs: tuple[str, ...]) -> bool:
    """Scores and boxes of three strides, with or without landmarks."""
    return len(outputs) in (2 * len(ANCHOR_STRIDES), 3 * len(ANCHOR_STRIDES))


def _detectors(root: Path) -> list[Path]:
    """Smallest first: the fastest one."""
    files = [path for pattern in ("*/det_*.onnx", "*/scrfd_*.onnx") for path in root.glob(pattern)]
    return sorted(files, key=lambda path: path.stat().st_size)


def _fetch_or_explain(root: Path, fetch: Callable[[str], None]) -> None:
    log.warning("fetching insightface's model pack %s (licensed for non-commercial research only)", FETCHED_PACK)
    try:
        fetch(FETCHED_PACK)
    except (OSError, RuntimeError, BadZipFile, ImportError) as error:
        raise ModelError(_no_pack(root, "it could not be fetched")) from error


def _no_pack(root: Path, why: str) -> str:
    command = f"insightface-cli model.download {FETCHED_PACK}"
    return f"the scrfd detector needs a model pack under {root} and {why}: run `{command}` online, or give its .onnx"


NETWORK = FaceNetwork(
    name="scrfd",
    # Measured: python -m bench.crop_geometry --detector scrfd --weights FILE.onnx
    geometry=BoxGeometry(side_ratio=1.20, rise=0.08),
    input_array=input_array,
    levels=Levels(mean=(127.5,) * 3, std=(128.0,) * 3),
    decode=decode,
    find_weights=find_weights,
    load_graph=lambda path: path,
    accepts=accepts,
)
