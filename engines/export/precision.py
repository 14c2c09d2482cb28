"""A precision is written into the graph, so that one path serves every runtime: TensorRT takes strongly typed networks
only, and the others read the same files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from engines.errors import CheckpointError
from engines.export.half import FLOAT32_OPS, LARGEST, half_graph
from engines.export.quantise import FIRST_IN_FLOAT32, QUANTISED_OPS, quantised_graph
from engines.runtime.ports import Array
from engines.store import Precision


def with_precision(
    graph: bytes,
    precision: Precision,
    calibration: Sequence[Mapping[str, Array]] = (),
    *,
    keep: Collection[str] = (),
) -> bytes:
    """A sanitised float32 graph in another precision; its inputs and outputs stay float32.

    ``calibration``: batches of its inputs, real ones; int8 needs them, fp16 finds with them where it would overflow.
    ``keep``: names of nodes that stay float32. fp32 and bf16 give the graph itself: bf16 has float32's range, and the
    runtime that has the arithmetic does it. Raises CheckpointError.
    """
    if precision in ("fp32", "bf16"):
        return graph
    made = half_graph if precision == "fp16" else quantised_graph
    try:
        return made(graph, calibration, keep)
    except CheckpointError:
        raise
    except Exception as error:  # onnx's checker and ONNX Runtime share no base class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"the graph cannot be made {precision} ({reason}): use fp32") from error


def recipe_of(precision: Precision) -> str:
    """How a graph of this precision is made, in one line that changes whenever the graphs would: for manifests."""
    if precision == "fp16":
        return f"fp16 v1: float32 in {','.join(sorted(FLOAT32_OPS))} and beyond {LARGEST:g}"
    if precision == "int8":
        where = f"{','.join(QUANTISED_OPS)} but the first {FIRST_IN_FLOAT32:.0%}"
        return f"int8 v1: symmetric Q/DQ of the inputs of {where}, by channel, min-max; float32 biases"
    return f"{precision} v1: the float32 graph"
