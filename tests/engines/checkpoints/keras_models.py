"""Small real Keras models of every topology, with weights that leave no norm idle; needs Keras on torch."""

from __future__ import annotations

import logging
import os

os.environ["KERAS_BACKEND"] = "torch"

import pytest

keras = pytest.importorskip("keras", reason="Keras is not installed: pip install -e .[dev]")

import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

logging.getLogger("absl").setLevel(logging.ERROR)  # each .h5 brings a warning that the format is old
SIDE = 16
"""Of the seed network's input: its topology is the same at any side."""


def seed_cnn(side=SIDE):
    conv = {"padding": "same", "activation": "relu"}
    stack = [layers.Conv2D(64, 7, **conv), layers.MaxPooling2D(2), layers.Conv2D(128, 3, **conv)]
    stack += [layers.Conv2D(128, 3, **conv), layers.MaxPooling2D(2), layers.Flatten()]
    stack += [layers.Dense(128, "relu"), layers.Dropout(0.5), layers.Dense(64), layers.Activation("relu")]
    return keras.Sequential([keras.Input((side, side, 3)), *stack, layers.Dropout(0.5), layers.Dense(1, "sigmoid")])


def meso4(side=256, slope=0.1):
    stack = []
    for filters, kernel, pool in ((8, 3, 2), (8, 5, 2), (16, 5, 2), (16, 5, 4)):
        stack += [layers.Conv2D(filters, kernel, padding="same", activation="relu"), layers.BatchNormalization()]
        stack += [layers.MaxPooling2D(pool, padding="same")]
    stack += [layers.Flatten(), layers.Dropout(0.5), layers.Dense(16), layers.LeakyReLU(slope), layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((side, side, 3)), *stack, layers.Dense(1, "sigmoid")])


def xception():
    """As one layer of a Sequential, as its owners built it."""
    base = keras.applications.Xception(include_top=False, weights=None, input_shape=(71, 71, 3))
    return keras.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid")])


def inception_v3():
    return keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(75, 75, 3), pooling="avg")


def gru_head(features=12, **gru):
    """The mask is given to both layers: Keras 3 does not pass on one that came as an argument, Keras 2 did."""
    x, mask = keras.Input((20, features)), keras.Input((20,), dtype="bool")
    states = layers.GRU(16, return_sequences=True, **gru)(x, mask=mask)
    last = layers.Dropout(0.4)(layers.GRU(8, **gru)(states, mask=mask))
    return keras.Model([x, mask], layers.Dense(1, "sigmoid")(layers.Dense(8, "relu")(last)))


def stirred(model, seed=3):
    """Every weight drawn anew about its first value: biases that are not zero, norms far from idle."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.Model) or not layer.weights:
            continue
        values = [value + rng.normal(0, 0.1, value.shape) for value in layer.get_weights()]
        if isinstance(layer, layers.BatchNormalization):
            values[-1] = rng.uniform(0.5, 1.5, values[-1].shape)
        if isinstance(layer, (layers.Conv2D, layers.SeparableConv2D)):
            values = [value * 1.0 for value in layer.get_weights()]
        if isinstance(
            layer, (layers.Dense, layers.GRU, layers.Conv2D, layers.SeparableConv2D, layers.BatchNormalization)
        ):
            layer.set_weights(values)
    return model


def answer(model, *inputs):
    return np.asarray(model(inputs[0] if len(inputs) == 1 else list(inputs)).detach().cpu())
