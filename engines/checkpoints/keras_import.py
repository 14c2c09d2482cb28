"""Keras layers to this project's networks: matched by what the layers are and their shapes, never by their names.

A model's layers are written as short words (``conv64k7 relu max2``), and compared with the network's own. What Keras
keeps differently is turned: kernels (H, W, I, O), the first dense layer after a flatten (row, column, channel), a GRU's
gates (update, reset, new). A norm's epsilon that differs is moved into its variance, which leaves the sum the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.checkpoints.keras_file import KerasLayer, KerasModel
from engines.checkpoints.keras_flow import INERT
from engines.checkpoints.keras_store import Floats
from engines.errors import CheckpointError
from engines.models.inception_v3 import ConvNorm, InceptionV3
from engines.models.xception import SeparableConv2d, Xception

KERAS_EPSILON = 1e-3
"""Of Keras' norms unless their configuration says otherwise, and of the networks here in Keras' style."""
State = dict[str, Tensor]

LINEAR = {
    "seed-cnn": "conv64k7 relu max2 conv128k3 relu conv128k3 relu max2 flatten dense128 relu dense64 relu dense1",
    "seed-cnn-large": "conv64k2 relu conv64k2 relu max2 conv128k3 relu conv128k3 relu max2 flatten "
    "dense512 relu dense256 relu dense128 relu dense64 relu dense1",
    "meso4": "conv8k3 relu norm max2 conv8k5 relu norm max2 conv16k5 relu norm max2 conv16k5 relu norm max4 flatten "
    "dense16 leaky0.1 dense1",
    "gru-head": "gru16seq gru8 dense8 relu dense1",
}
"""Networks without branches, word for word."""
PLACES = {
    "seed-cnn": ("conv1", "conv2", "conv3", "dense1", "dense2", "frame_head"),
    "seed-cnn-large": ("conv1", "conv2", "conv3", "conv4", "dense1", "dense2", "dense3", "dense4", "frame_head"),
    "meso4": ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "conv4", "bn4", "dense", "frame_head"),
    "gru-head": ("gru1", "gru2", "dense1", "dense2"),
}
"""Where their layers with weights go, in order."""


@dataclass(frozen=True, repr=False)
class KerasNetwork:
    """A recognised model, its arrays in this project's layout."""

    name: str
    """Catalog name of the network, or ``gru-head``."""
    state: State
    """Every tensor of the network; the frame head's are missing where the file has no single-logit classifier."""
    input_shape: tuple[int | None, ...] | None
    """Of the first input, without the batch; None when the file does not say."""
    rescaling: tuple[float, float] | None
    """Scale and offset of a Rescaling layer in front, which becomes the spec's normalisation."""


def network_from_keras(model: KerasModel) -> KerasNetwork:
    """Recognise the model. Raises CheckpointError, which says what it looks like, when it is none of them."""
    words = _words(model)
    classless = [word for word in words if word not in ("sigmoid", "softmax")]
    for name, wanted in LINEAR.items():
        if _is_linear(model, classless, wanted.split()):
            return _network(model, name, _linear_state(name, _weighty(model, name)))
    for name, conversion in BRANCHED.items():
        if (state := conversion(model, words)) is not None:
            return _network(model, name, state)
    shown = " ".join(classless)
    raise CheckpointError(
        f"is none of {', '.join([*LINEAR, *BRANCHED])}; its layers are: {shown[:160]}{' …' * (len(shown) > 160)}"
    )


def _network(model: KerasModel, name: str, state: State) -> KerasNetwork:
    return KerasNetwork(name, state, _input_shape(model), _rescaling(model))


def _input_shape(model: KerasModel) -> tuple[int | None, ...] | None:
    for layer in model.layers:
        shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
        if isinstance(shape, list) and len(shape) > 1:
            return tuple(side if isinstance(side, int) else None for side in shape[1:])
    return None


def _rescaling(model: KerasModel) -> tuple[float, float] | None:
    """Of the one Rescaling layer in front of everything else. Raises CheckpointError for any other."""
    found = [layer for layer in model.layers if layer.kind not in INERT]
    places = [place for place, layer in enumerate(found) if layer.kind == "Rescaling"]
    if not places:
        return None
    scale, offset = found[0].config.get("scale"), found[0].config.get("offset", 0.0)
    if places != [0] or not isinstance(scale, (int, float)) or not isinstance(offset, (int, float)) or scale <= 0:
        raise CheckpointError("has a Rescaling layer that is not one number in front of all: save it without")
    return float(scale), float(offset)


# Words


def _words(model: KerasModel) -> list[str]:
    """The layers that do something, in the order of flow."""
    return [word for layer in model.layers if layer.kind not in INERT for word in _layer_words(layer)]


def _layer_words(layer: KerasLayer) -> list[str]:
    config, kind = layer.config, layer.kind
    if kind in WORDS:
        activation = _activation(config.get("activation", "linear")) if kind != "GRU" else "linear"
        own = [] if kind in ("Activation", "Rescaling") else [WORDS[kind](layer)]
        return own + [activation] * (activation != "linear")
    raise CheckpointError(f"holds a {kind!r} layer, which no model here has")


def _activation(value: Any) -> str:
    """Keras writes a plain activation as a string; anything else is somebody's own function."""
    if not isinstance(value, str):
        raise CheckpointError("has an activation that is not one of Keras' own: no model here has such")
    return value


def _conv_word(layer: KerasLayer) -> str:
    """``conv64k7``: filters and kernel; stride, ``valid`` padding, dilation and groups where they are unusual."""
    config = layer.config
    is_separable = layer.kind == "SeparableConv2D"
    kernel = layer.arrays["depthwise_kernel" if is_separable else "kernel"]
    filters = layer.arrays["pointwise_kernel"].shape[-1] if is_separable else kernel.shape[-1]
    if config.get("data_format", "channels_last") != "channels_last" or config.get("depth_multiplier", 1) != 1:
        raise CheckpointError("keeps channels first or multiplies them: no model here does")
    unusual = [f"d{config['dilation_rate']}"] if set(_pair(config.get("dilation_rate", 1))) != {1} else []
    unusual += [f"g{config['groups']}"] if config.get("groups", 1) not in (1, None) else []
    strides = _pair(config.get("strides", 1))
    padding = str(config.get("padding", "same"))
    return conv_word(is_separable, filters, kernel.shape[:2], strides, padding) + "".join(unusual)


def conv_word(is_separable: bool, filters: int, kernel: Sequence[int], strides: Sequence[int], padding: str) -> str:
    """The padding of a single pixel changes nothing and is not said."""
    size = f"k{kernel[0]}" if kernel[0] == kernel[1] else f"k{kernel[0]}x{kernel[1]}"
    stride = "" if set(strides) == {1} else f"s{strides[0]}" if strides[0] == strides[1] else f"s{tuple(strides)}"
    padded = "" if padding == "same" or set(kernel) == {1} else padding
    return f"{'sep' if is_separable else 'conv'}{filters}{size}{stride}{padded}"


def _pool_word(layer: KerasLayer) -> str:
    """``max2``; the stride and padding are said where windows overlap."""
    size, strides = _pair(layer.config.get("pool_size", 2)), _pair(layer.config.get("strides") or 0)
    strides = strides if strides != (0, 0) else size
    name = f"{'max' if layer.kind == 'MaxPooling2D' else 'avg'}{size[0]}"
    is_plain = size == strides and size[0] == size[1]
    return name if is_plain else f"{name}s{strides[0]}{layer.config.get('padding', 'valid')}"


def _gru_word(layer: KerasLayer) -> str:
    """Raises CheckpointError for the older form, whose reset gate comes before the recurrent product."""
    config, bias = layer.config, layer.arrays.get("bias")
    if not config.get("reset_after", True) or bias is None or bias.ndim != 2 or bias.shape[0] != 2:
        raise CheckpointError(
            "has a GRU with reset_after=False or without bias, whose sums differ from every runtime's here: "
            "train the head with reset_after=True, Keras' default"
        )
    usual = {"activation": "tanh", "recurrent_activation": "sigmoid", "go_backwards": False, "return_state": False}
    odd = "".join(f"-{key}" for key, value in usual.items() if config.get(key, value) != value)
    return f"gru{bias.shape[1] // 3}{'seq' if config.get('return_sequences') else ''}{odd}"


def _dense_word(layer: KerasLayer) -> str:
    return f"dense{layer.arrays['kernel'].shape[-1]}"


def _leaky_word(layer: KerasLayer) -> str:
    """``leaky0.1``. The slope is a name's difference between Keras 2 and 3, and of a float's print."""
    slope = layer.config.get("negative_slope", layer.config.get("alpha", 0.3))
    return f"leaky{float(slope):.3g}"


def _pair(value: Any) -> tuple[int, int]:
    both = value if isinstance(value, (list, tuple)) else (value, value)
    return int(both[0]), int(both[1])


WORDS: dict[str, Callable[[KerasLayer], str]] = {
    "Conv2D": _conv_word,
    "SeparableConv2D": _conv_word,
    "MaxPooling2D": _pool_word,
    "AveragePooling2D": _pool_word,
    "GRU": _gru_word,
    "Dense": _dense_word,
    "LeakyReLU": _leaky_word,
    "ReLU": lambda layer: "relu" if layer.config.get("max_value") is None else "relu-capped",
    "BatchNormalization": lambda _: "norm",
    "Flatten": lambda _: "flatten",
    "GlobalAveragePooling2D": lambda _: "gap",
    "Add": lambda _: "add",
    "Concatenate": lambda _: "concat",
    "Activation": lambda _: "",
    "Rescaling": lambda _: "",
}


# Without branches


def _is_linear(model: KerasModel, words: list[str], wanted: list[str]) -> bool:
    """Word for word; a file of weights only is compared per kind, for that is all the order it has."""
    if model.has_config:
        return words == wanted
    plain = [word.removesuffix("seq") for word in wanted if word.startswith(("conv", "dense", "gru", "norm"))]
    return _by_kind(words) == _by_kind(plain)


def _by_kind(words: list[str]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for word in words:
        kinds.setdefault(re.split("[0-9]", word, maxsplit=1)[0], []).append(word)
    return kinds


def _weighty(model: KerasModel, name: str) -> list[KerasLayer]:
    """The layers with arrays, in the network's order."""
    if model.has_config:
        return [layer for layer in model.layers if layer.arrays]
    prefixes = {"conv": "Conv2D", "bn": "BatchNormalization", "gru": "GRU"}
    queues = {kind: iter(model.of_kind(kind)) for kind in (*prefixes.values(), "Dense")}
    return [next(queues[prefixes.get(place.rstrip("0123456789"), "Dense")]) for place in PLACES[name]]


def _linear_state(name: str, layers: Sequence[KerasLayer]) -> State:
    state: State = {}
    channels = 0
    for place, layer in zip(PLACES[name], layers, strict=True):
        if layer.kind == "Conv2D":
            channels = layer.arrays["kernel"].shape[-1]
            state |= _conv(place, layer)
        elif layer.kind == "BatchNormalization":
            state |= _norm(place, layer)
        elif layer.kind == "GRU":
            state |= _gru(place, layer)
        else:
            state |= _dense(place, layer, channels)
            channels = 0
    if name == "gru-head":
        features = state["gru1.weight_ih_l0"].shape[1]
        state |= {"feature_mean": torch.zeros(features), "feature_scale": torch.ones(features)}
    return state


# With branches


def _xception_state(model: KerasModel, words: list[str]) -> State | None:
    """None when it is not Xception."""
    places = list(_xception_places())
    wanted = Counter({"max3s2same": 4, "add": 12, "relu": 35, "norm": len(places)})
    wanted.update(_torch_word(conv) for _, _, conv in places)
    return _branched_state(model, words, wanted, places, lambda names: names)


def _inception_state(model: KerasModel, words: list[str]) -> State | None:
    """None when it is not Inception v3."""
    places = list(_inception_places())
    wanted = Counter({"max3s2valid": 4, "avg3s1same": 9, "concat": 15, "relu": len(places), "norm": len(places)})
    wanted.update(_torch_word(conv) for _, _, conv in places)
    return _branched_state(model, words, wanted, places, _inception_file_order)


BRANCHED: dict[str, Callable[[KerasModel, list[str]], State | None]] = {
    "xception": _xception_state,
    "inception-v3": _inception_state,
}
Convolution = SeparableConv2d | nn.Conv2d
Place = tuple[str, str, Convolution]
"""A convolution's name, its norm's, and the convolution itself."""


def _branched_state(
    model: KerasModel,
    words: list[str],
    wanted: Counter[str],
    places: list[Place],
    file_order: Callable[[list[Place]], list[Place]],
) -> State | None:
    """A classifier may follow: one logit is kept, any other number of classes is left out."""
    top = [word for word in words if word.startswith("dense") or word in ("gap", "sigmoid", "softmax")]
    if not _fits(model, [word for word in words if word not in top], wanted):
        return None
    denses = model.of_kind("Dense")
    if len(denses) > 1 or (model.has_config and denses and top[:1] != ["gap"]):
        raise CheckpointError(f"is known up to its head, which is: {' '.join(top)}; one dense layer is wanted there")
    pairs = _paired(model, places if model.has_config else file_order(places))
    state = {key: value for (conv, norm, _), (one, two) in pairs for key, value in _unit(conv, norm, one, two).items()}
    if denses and denses[0].arrays["kernel"].shape[-1] == 1:
        state |= _dense("frame_head", denses[0], 0)
    return state


def _fits(model: KerasModel, words: list[str], wanted: Counter[str]) -> bool:
    if model.has_config:
        return Counter(words) == wanted
    plain = Counter[str]()
    for word, count in wanted.items():
        if word.startswith(("conv", "sep", "norm")):
            plain[word.removesuffix("valid").split("s2")[0]] += count
    return Counter(words) == plain


def _paired(model: KerasModel, places: list[Place]) -> Iterator[tuple[Place, tuple[KerasLayer, KerasLayer]]]:
    """Each place with its convolution and norm; in the order of flow a norm follows its own convolution."""
    layers = [layer for layer in model.layers if layer.arrays]
    followers = {id(one): two for one, two in pairwise(layers)}
    queues = {kind: iter(model.of_kind(kind)) for kind in ("Conv2D", "SeparableConv2D", "BatchNormalization")}
    for place in places:
        conv = next(queues["SeparableConv2D" if isinstance(place[2], SeparableConv2d) else "Conv2D"])
        norm = followers.get(id(conv)) if model.has_config else next(queues["BatchNormalization"])
        if norm is None or norm.kind != "BatchNormalization":
            raise CheckpointError(f"has no norm after the convolution that would be {place[0]}")
        yield place, (conv, norm)


def _unit(conv: str, norm: str, conv_layer: KerasLayer, norm_layer: KerasLayer) -> State:
    if "bias" in conv_layer.arrays:
        raise CheckpointError(f"has a bias at the convolution that would be {conv}, before its norm")
    if conv_layer.kind == "Conv2D":
        return _conv(conv, conv_layer) | _norm(norm, norm_layer)
    arrays = conv_layer.arrays
    depthwise = _tensor(arrays["depthwise_kernel"].transpose(2, 3, 0, 1))
    pointwise = _tensor(arrays["pointwise_kernel"].transpose(3, 2, 0, 1))
    return {f"{conv}.conv1.weight": depthwise, f"{conv}.pointwise.weight": pointwise} | _norm(norm, norm_layer)


def _torch_word(conv: Convolution) -> str:
    """How Keras' words would call a convolution of ours."""
    if isinstance(conv, SeparableConv2d):
        return conv_word(True, conv.pointwise.out_channels, (3, 3), (1, 1), "same")
    padding = "same" if any(int(side) for side in conv.padding) else "valid"
    return conv_word(False, conv.out_channels, conv.kernel_size, conv.stride, padding)


def _on_meta(network: Callable[[], nn.Module]) -> nn.Module:
    """The network's shape, without its numbers."""
    with torch.device("meta"):
        return network()


def _xception_places() -> Iterator[Place]:
    """In the order of flow, the branch around a block last, as Keras' own file order has it."""
    waiting: list[tuple[str, Convolution]] = []
    for name, module in _on_meta(lambda: Xception("keras", frame_head=False)).named_modules():
        is_half = bool(waiting) and name.startswith(f"{waiting[-1][0]}.")
        if isinstance(module, nn.BatchNorm2d):
            conv_name, conv = waiting.pop()
            yield conv_name, name, conv
        elif isinstance(module, (SeparableConv2d, nn.Conv2d)) and not is_half:
            waiting.append((name, module))


def _inception_places() -> Iterator[Place]:
    for name, module in _on_meta(lambda: InceptionV3("keras", frame_head=False)).named_modules():
        if isinstance(module, ConvNorm):
            yield f"{name}.conv", f"{name}.bn", module.conv


def _inception_file_order(places: list[Place]) -> list[Place]:
    """As Keras lists layers: within a block by their distance from its end, then by branch."""
    blocks: dict[str, list[Place]] = {}
    for place in places:
        parts = place[0].split(".")
        blocks.setdefault(parts[0], []).append(place)
    return [place for block in blocks.values() for place in _by_distance(block)]


def _by_distance(block: list[Place]) -> list[Place]:
    """``branch3x3dbl_2`` of three is one step from the end; two halves (``_3a``, ``_3b``) end one join earlier."""
    steps = [_branch_step(place[0]) for place in block]
    longest = {branch: max(step for other, step, _ in steps if other == branch) for branch, _, _ in steps}
    joined = {branch for branch, _, is_half in steps if is_half}
    distance = [3 * (longest[branch] - step) + (branch in joined) for branch, step, _ in steps]
    return [block[index] for index in sorted(range(len(block)), key=lambda index: (-distance[index], index))]


def _branch_step(name: str) -> tuple[str, int, bool]:
    """Branch, step within it, and whether it is one half of a step."""
    branch, _, step = name.split(".")[-2].partition("_")
    if not step or not step[0].isdecimal():
        return name.split(".")[-2], 1, False
    return branch, int(step[0]), step[-1].isalpha()


# Arrays


def _tensor(array: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _conv(place: str, layer: KerasLayer) -> State:
    state = {f"{place}.weight": _tensor(layer.arrays["kernel"].transpose(3, 2, 0, 1))}
    if "bias" in layer.arrays:
        state[f"{place}.bias"] = _tensor(layer.arrays["bias"])
    return state


def _norm(place: str, layer: KerasLayer) -> State:
    arrays, mean = layer.arrays, layer.arrays["moving_mean"]
    variance = arrays["moving_variance"] + (float(layer.config.get("epsilon", KERAS_EPSILON)) - KERAS_EPSILON)
    if (variance + KERAS_EPSILON <= 0).any():
        raise CheckpointError(f"has a negative variance in the norm that would be {place}: give a trained model")
    return {
        f"{place}.weight": _tensor(arrays.get("gamma", np.ones_like(mean))),
        f"{place}.bias": _tensor(arrays.get("beta", np.zeros_like(mean))),
        f"{place}.running_mean": _tensor(mean),
        f"{place}.running_var": _tensor(variance),
        f"{place}.num_batches_tracked": torch.tensor(0),
    }


def _dense(place: str, layer: KerasLayer, channels: int) -> State:
    """``channels`` of the maps that were flattened into it, row, column, channel; 0 when nothing was."""
    kernel = layer.arrays["kernel"]
    if channels:
        kernel = _channels_first(kernel, channels)
    bias = layer.arrays.get("bias", np.zeros(kernel.shape[1], np.float32))
    return {f"{place}.weight": _tensor(kernel.T), f"{place}.bias": _tensor(bias)}


def _channels_first(kernel: Floats, channels: int) -> Floats:
    side = round((len(kernel) / channels) ** 0.5)
    if side * side * channels != len(kernel):
        raise CheckpointError(f"flattens {len(kernel)} numbers of {channels} maps, which are not square")
    turned: Floats = kernel.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(len(kernel), -1)
    return turned


def _gru(place: str, layer: KerasLayer) -> State:
    arrays = layer.arrays
    named = {"weight_ih_l0": arrays["kernel"], "weight_hh_l0": arrays["recurrent_kernel"]}
    named |= {"bias_ih_l0": arrays["bias"][0], "bias_hh_l0": arrays["bias"][1]}
    return {f"{place}.{key}": _tensor(_torch_gates(array).T) for key, array in named.items()}


def _torch_gates(array: Floats) -> Floats:
    """Keras' update, reset, new along the last axis to torch's reset, update, new."""
    update, reset, new = np.split(array, 3, axis=-1)
    return np.concatenate([reset, update, new], axis=-1)
