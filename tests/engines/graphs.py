"""A tiny model folder on disk, made of real ONNX graphs, so that loading and building are tested without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.catalog import BACKBONE_FILE, HEAD_FILE, SPEC_FILE
from engines.spec import Calibration, ModelSpec, PixelSpec, WindowSpec

SIZE, FEATURES, SLOTS = 8, 3, 4


def write_model(folder: Path, name: str = "tiny") -> ModelSpec:
    """Features are the channels' means; the head's logit is their masked mean over the window."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_backbone(), str(folder / BACKBONE_FILE))
    onnx.save(_head(), str(folder / HEAD_FILE))
    files = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (BACKBONE_FILE, HEAD_FILE)}
    spec = ModelSpec(
        name=name,
        pixels=PixelSpec(size=SIZE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        window=WindowSpec(slots=SLOTS, min_samples=2, feature_dim=FEATURES),
        calibration=Calibration(temperature=1.0),
        frame_calibration=Calibration(temperature=1.0),
        files=files,
    )
    (folder / SPEC_FILE).write_text(spec.model_dump_json())
    return spec


def _backbone() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((FEATURES, 1), np.float32), "weight")
    nodes = [
        helper.make_node("ReduceMean", ["crops"], ["features"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["features", "weight"], ["frame_logit"]),
    ]
    inputs = [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])]
    outputs = [_value("features", FEATURES), _value("frame_logit", 1)]
    return _model(helper.make_graph(nodes, "backbone", inputs, outputs, [weight]))


def _head() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["features"], ["per_slot"], axes=[2], keepdims=0),
        helper.make_node("Mul", ["per_slot", "mask"], ["held"]),
        helper.make_node("ReduceMean", ["held"], ["logit"], axes=[1], keepdims=1),
    ]
    inputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", SLOTS, FEATURES]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", SLOTS]),
    ]
    return _model(helper.make_graph(nodes, "head", inputs, [_value("logit", 1)]))


def _value(name: str, size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model
