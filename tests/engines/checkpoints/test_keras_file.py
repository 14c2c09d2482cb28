"""Keras' files from somebody else: truncated, forged or hostile, each ends in one line and runs nothing."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")
h5py = pytest.importorskip("h5py", reason="the training extra is not installed: pip install -e '.[train]'")

import numpy as np  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from engines.checkpoints.keras_file import looks_like_keras, read_keras  # noqa: E402
from engines.checkpoints.keras_import import network_from_keras  # noqa: E402
from engines.errors import CheckpointError  # noqa: E402

FEATURES = 5


def layer(kind, name, inputs, **config):
    inbound = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": inbound}


def head_config(**changes):
    layers = [
        layer("InputLayer", "in", [], batch_input_shape=[None, 20, FEATURES]),
        layer("GRU", "a", ["in"], return_sequences=True, reset_after=True),
        layer("GRU", "b", ["a"], reset_after=True),
        layer("Dense", "c", ["b"], activation="relu"),
        layer("Dense", "d", ["c"], activation="sigmoid"),
    ]
    config = {"name": "m", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["d", 0, 0]]}
    return {"class_name": "Functional", "config": config | changes}


def head_arrays():
    rng, arrays = np.random.default_rng(0), {}
    for name, inputs, units in (("gru", FEATURES, 16), ("gru_1", 16, 8)):
        for number, shape in enumerate([(inputs, 3 * units), (units, 3 * units), (2, 3 * units)]):
            arrays[f"layers/{name}/cell/vars/{number}"] = rng.normal(size=shape).astype(np.float32)
    for name, inputs, units in (("dense", 8, 8), ("dense_1", 8, 1)):
        arrays[f"layers/{name}/vars/0"] = rng.normal(size=(inputs, units)).astype(np.float32)
        arrays[f"layers/{name}/vars/1"] = rng.normal(size=units).astype(np.float32)
    return arrays


def h5_bytes(arrays, change=None):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        if change is not None:
            change(file)
    return stream.getvalue()


def keras_bytes(config=None, weights=None, compression=zipfile.ZIP_STORED, extra=None):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("config.json", json.dumps(config or head_config()))
        archive.writestr("model.weights.h5", h5_bytes(head_arrays()) if weights is None else weights)
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def refused(tmp_path):
    def check(content, reason, suffix=".keras"):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            network_from_keras(read_keras(path))
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)

    return check


def changed(change):
    """A whole .keras file whose HDF5 part was changed."""
    return keras_bytes(weights=h5_bytes(head_arrays(), change))


def put(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return changed(change)


def test_the_file_that_the_others_are_made_from_is_good(tmp_path):
    (tmp_path / "good.keras").write_bytes(keras_bytes())
    assert network_from_keras(read_keras(tmp_path / "good.keras")).name == "gru-head"


@pytest.mark.parametrize("kept", [0, 3, 4, 30, 500, 0.25, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(refused, kept):
    whole = keras_bytes()
    refused(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept], "")
    bare = h5_bytes(head_arrays())
    refused(bare[: int(kept * len(bare)) if isinstance(kept, float) else kept], "", ".h5")


def test_a_file_of_another_kind_is_refused(refused):
    refused(b"\x89PNG\r\n\x1a\n" + bytes(500), "neither a .keras nor an .h5 file")


def test_an_absent_file_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no file at"):
        looks_like_keras(tmp_path / "none.keras")


def test_code_in_a_file_is_refused_and_not_run(refused, tmp_path):
    config = head_config()
    trap = tmp_path / "ran"
    config["config"]["layers"].append(layer("Lambda", "e", ["d"], function=f"open({str(trap)!r}, 'w')"))
    refused(keras_bytes(config), "Lambda layer, which is code")
    assert not trap.exists()


def test_a_lambda_within_a_model_within_is_found_too(refused):
    inner = {"class_name": "Sequential", "config": {"name": "s", "layers": [layer("Lambda", "x", [])]}}
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [inner]}}
    refused(keras_bytes(config, h5_bytes({"layers/sequential/layers/lambda/vars/0": np.ones(1)})), "Lambda")


def test_what_would_swell_is_refused_unread(refused):
    bomb = zipfile.ZIP_DEFLATED
    refused(keras_bytes(weights=bytes(20_000_000), compression=bomb), "would unpack to 20,000,000 bytes")
    refused(keras_bytes({"x": "a" * (33 * 2**20)}, compression=bomb), "would unpack to")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil"])
def test_a_member_that_leads_elsewhere_is_refused(refused, name):
    refused(keras_bytes(extra={name: b"x"}), "members that Keras does not write")


def test_a_member_that_is_missing_is_named(refused):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("config.json", "{}")
    refused(stream.getvalue(), "holds no model.weights.h5")


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/layers/dense/vars/1")])
def test_a_link_is_not_followed(refused, link):
    refused(put("layers/dense/vars/0", link), "link to elsewhere")


def test_numbers_kept_in_another_file_are_refused(refused, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(256))

    def change(file):
        del file["layers/dense/vars/0"]
        outside = [(str(tmp_path / "secret"), 0, 256)]
        file.create_dataset("layers/dense/vars/0", (8, 8), "f4", external=outside)

    refused(changed(change), "kept elsewhere")


def test_an_array_larger_than_its_file_is_refused(refused):
    def change(file):
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", (1_000_000, 1_000_000), "f4", chunks=(1000, 1000))

    refused(changed(change), "compressed, cut or kept elsewhere")


def test_compressed_arrays_are_refused(refused):
    def change(file):
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", data=np.zeros((8, 8), "f4"), compression="gzip")

    refused(changed(change), "compressed")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((8, 8), np.nan, "f4"), "NaN or infinity"),
        (np.full((8, 8), np.inf, "f4"), "NaN or infinity"),
        (np.zeros((8, 8), "i4"), "not a layer's weights"),
        (np.zeros((8, 7), "f4"), "none of"),
    ],
)
def test_arrays_that_are_no_weights_are_refused(refused, values, reason):
    refused(put("layers/dense/vars/0", values), reason)


def test_a_missing_array_is_refused(refused):
    refused(changed(lambda file: file.__delitem__("layers/dense_1/vars/1")), "has 1 arrays and needs 2")


def test_a_missing_layer_is_refused(refused):
    refused(changed(lambda file: file.__delitem__("layers/dense_1")), "lacks 'dense_1'")


def test_a_layer_too_many_is_refused(refused):
    refused(changed(lambda file: file.create_group("layers/dense_2/vars")), "that its configuration lacks")


def test_a_graph_that_feeds_itself_is_refused(refused):
    config = head_config()
    config["config"]["layers"][1]["inbound_nodes"] = [[["d", 0, 0, {}]]]
    refused(keras_bytes(config), "feeds itself")


def test_a_configuration_nested_beyond_reason_is_refused(refused):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("config.json", "[" * 200_000)
        archive.writestr("model.weights.h5", h5_bytes(head_arrays()))
    refused(stream.getvalue(), "")


WHOLE = {".keras": keras_bytes(), ".h5": h5_bytes(head_arrays())}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(WHOLE)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_no_change_of_bytes_brings_anything_but_a_line(tmp_path, suffix, changes):
    content = bytearray(WHOLE[suffix])
    for place, value in changes:
        content[min(int(place * len(content)), len(content) - 1)] = value
    path = tmp_path / f"fuzzed{suffix}"
    path.write_bytes(content)
    line = ""
    try:
        if looks_like_keras(path):
            network_from_keras(read_keras(path))
    except CheckpointError as error:
        line = str(error)
    assert "\n" not in line


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1), st.integers(0, 64), st.binary(max_size=64))
def test_no_piece_put_in_or_cut_off_brings_anything_but_a_line(tmp_path, suffix, place, cut, piece):
    content = WHOLE[suffix]
    at = int(place * len(content))
    path = tmp_path / f"fuzzed{suffix}"
    path.write_bytes(content[:at] + piece + (content[at + cut :] if cut < 60 else b""))
    line = ""
    try:
        if looks_like_keras(path):
            network_from_keras(read_keras(path))
    except CheckpointError as error:
        line = str(error)
    assert len(line.splitlines()) <= 1
