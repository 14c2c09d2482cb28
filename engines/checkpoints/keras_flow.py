"""A Keras configuration as a graph: its layers in the order that data flows through them.

The order is the one of a walk from the output back along the inputs, as listed: what joins branches lists them in the
order that fixes its channels, so two models that compute the same list their layers alike, whatever their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from engines.errors import CheckpointError

MODELS = ("Functional", "Model", "Sequential")
INERT: tuple[str, ...] = (
    "InputLayer",
    "Dropout",
    "SpatialDropout2D",
    "GaussianNoise",
    "ActivityRegularization",
    "Masking",
)
INERT += ("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomTranslation", "RandomBrightness")
"""Layers that do nothing once a model is trained; a mask is the head's own input here."""
STEPS: tuple[str, ...] = (
    "Activation",
    "ReLU",
    "LeakyReLU",
    "MaxPooling2D",
    "AveragePooling2D",
    "GlobalAveragePooling2D",
    "Flatten",
)
STEPS += ("Add", "Concatenate", "Rescaling", "Conv2D", "SeparableConv2D", "BatchNormalization", "Dense", "GRU")
KNOWN = {*MODELS, *INERT, *STEPS}
MOST_LAYERS = 2000

Json = Mapping[str, Any]


def snake_case(class_name: str) -> str:
    """As Keras names the groups of its weights."""
    spaced = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", spaced).lower()


def nested_layers(model: Json) -> list[Json]:
    """The layers of a model as its configuration lists them. Raises CheckpointError for an unknown one."""
    layers = model["config"]["layers"]
    if model.get("class_name") not in MODELS or not isinstance(layers, list) or not 0 < len(layers) <= MOST_LAYERS:
        raise CheckpointError(f"is a {str(model.get('class_name'))[:40]!r}: only Sequential and Functional can be read")
    for layer in layers:
        _check(layer)
    names = [layer["config"]["name"] for layer in layers]
    if len(set(names)) != len(names):
        raise CheckpointError("has two layers of one name: save the model again")
    return layers


def _check(layer: Json) -> None:
    kind = str(layer["class_name"])[:40]
    if kind == "Lambda":
        raise CheckpointError("holds a Lambda layer, which is code, and code in a file is never run: save it without")
    if kind not in KNOWN:
        raise CheckpointError(f"holds a {kind!r} layer, which no model here has")
    if not isinstance(layer["config"].get("name"), str):
        raise CheckpointError("has a layer without a name: save the model again")
    if len(layer.get("inbound_nodes") or ()) > 1:
        raise CheckpointError(f"uses its layer {layer['config']['name'][:40]!r} twice, which no model here does")


def layers_in_flow(model: Json) -> list[Json]:
    """The layers of a model from its input to its output; models within it count as one layer."""
    layers = {layer["config"]["name"]: layer for layer in nested_layers(model)}
    if model["class_name"] == "Sequential":
        return list(layers.values())
    outputs = list(_sources(model["config"]["output_layers"]))
    if len(outputs) != 1:
        raise CheckpointError(f"has {len(outputs)} outputs, and models here have one")
    return [layers[name] for name in _walk(outputs[0], layers)]


def _walk(output: str, layers: Mapping[str, Json]) -> list[str]:
    """Every layer once, after all of its inputs; a stack of our own, for a file may be deeper than Python's."""
    order: dict[str, None] = {}
    open_layers: set[str] = set()
    stack = [(output, False)]
    while stack:
        name, is_done = stack.pop()
        if is_done:
            order[name] = None
        elif name not in order:
            if name in open_layers or name not in layers:
                raise CheckpointError(f"its layer {name[:40]!r} is missing or feeds itself: save the model again")
            open_layers.add(name)
            stack.append((name, True))
            stack += [(source, False) for source in reversed(list(_inputs(layers[name]))) if source not in order]
    return list(order)


def _inputs(layer: Json) -> Iterator[str]:
    return _sources(layer.get("inbound_nodes") or [])


def _sources(value: Any) -> Iterator[str]:
    """Names of layers in the connections of Keras 2 (``[name, 0, 0, {}]``) and 3 (``keras_history``), in order."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield str(value["config"]["keras_history"][0])
        else:
            for inner in value.values():
                yield from _sources(inner)
    elif isinstance(value, list):
        is_connection = len(value) >= 3 and isinstance(value[0], str) and value[1:3] == [int(v) for v in _ints(value)]
        if is_connection:
            yield value[0]
        for inner in value[3:] if is_connection else value:
            yield from _sources(inner)


def _ints(value: list[Any]) -> list[int]:
    return [number for number in value[1:3] if isinstance(number, int)]
