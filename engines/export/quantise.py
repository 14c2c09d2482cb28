"""int8 graphs: explicit QuantizeLinear and DequantizeLinear around what is worth it, from ranges seen on real crops.

As every runtime reads them: symmetric int8 on both sides, weights by channel, biases in float32 (TensorRT's parser
refuses int32 ones). Only the inputs of a convolution are quantised, not what it hands to the activation behind it:
a range cut there spends most of its 255 steps on numbers that the activation clips, and keeps runtimes from fusing the
two.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from engines.errors import CheckpointError
from engines.runtime.ports import Array

QUANTISED_OPS = ("Conv", "Gemm", "MatMul")
"""Where the time goes. Those that write the graph's outputs stay float32: a logit has no range to give away."""


class _Batches(CalibrationDataReader):  # type: ignore[misc] # onnxruntime ships no stubs
    """Batches as ONNX Runtime's calibrator asks for them."""

    def __init__(self, batches: Sequence[Mapping[str, Array]]) -> None:
        self._left: Iterator[Mapping[str, Array]] = iter(batches)

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._left, None)
        return None if batch is None else dict(batch)


def quantised_graph(graph: bytes, batches: Sequence[Mapping[str, Array]], keep: Collection[str] = ()) -> bytes:
    """The graph with Q/DQ; nodes named in ``keep`` stay float32. Raises CheckpointError without batches."""
    if not batches:
        raise CheckpointError("int8 needs crops to calibrate on: give --calibration DIR with pictures of faces")
    model = onnx.load_from_string(graph)
    outputs = {value.name for value in model.graph.output}
    last = [node.name for node in model.graph.node if outputs.intersection(node.output)]
    add_pre_process_metadata(model)  # it is sanitised; says so, or a warning asks for it
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "quantised.onnx"
        quantize_static(
            model,
            written,
            _Batches(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED_OPS),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted({*keep, *last}),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": list(QUANTISED_OPS),
            },
        )
        model = onnx.load(str(written))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
