"""Torch's files from somebody else: tensors come out of every format, and nothing in a file is run."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import resource
import sys
import types
import zipfile
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import save as safetensors_bytes  # noqa: E402
from torch import nn  # noqa: E402

from engines.checkpoints.torch_file import read_torch  # noqa: E402
from engines.errors import CheckpointError  # noqa: E402


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Dropout(), nn.Linear(4, 2)))


def torch_bytes(value, zipped=True):
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


STATE = OrderedDict(network().state_dict())
FORMATS = {
    "state, zip": torch_bytes(STATE),
    "state, older format": torch_bytes(STATE, zipped=False),
    "whole module, zip": torch_bytes(network()),
    "whole module, older format": torch_bytes(network(), zipped=False),
    "safetensors": safetensors_bytes(dict(STATE)),
}


class Hostile:
    """Runs a command when it is unpickled by anything that runs what it is told."""

    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return os.system, (f"touch {self.trap}",)


def read(tmp_path, content):
    (tmp_path / "file.pth").write_bytes(content)
    return read_torch(tmp_path / "file.pth")


def refused(tmp_path, content, reason):
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, content)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", FORMATS.values(), ids=FORMATS)
def test_every_tensor_comes_out_of_every_format(tmp_path, content):
    found = read(tmp_path, content)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], value) for key, value in STATE.items())


def test_a_tensor_that_is_a_view_comes_out_as_it_looks(tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    found = read(tmp_path, torch_bytes({"turned": whole.T, "part": whole[1:3, 2:5], "halves": whole.half()}))
    assert torch.equal(found["turned"], whole.T)
    assert torch.equal(found["part"], whole[1:3, 2:5])
    assert torch.equal(found["halves"], whole)


def test_a_module_whose_code_is_not_here_is_read_all_the_same(tmp_path):
    """As FaceForensics++ published: classes of a package that no reader has."""
    module = types.ModuleType("network.models")
    exec("from torch import nn\nclass TransferModel(nn.Module):\n    pass", module.__dict__)
    sys.modules.update({"network": types.ModuleType("network"), "network.models": module})
    try:
        whole = module.TransferModel()
        whole.model = network()
        content = torch_bytes(whole)
    finally:
        del sys.modules["network"], sys.modules["network.models"]
    assert read(tmp_path, content).keys() == {f"model.{key}" for key in STATE}
    assert "network.models" not in sys.modules


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, zipped):
    trap = tmp_path / "ran"
    refused(tmp_path, torch_bytes({"a": torch.ones(1), "b": Hostile(trap)}, zipped), "system")
    refused(tmp_path, pickle.dumps(Hostile(trap), 2), "system")
    assert not trap.exists()


@pytest.mark.parametrize(
    "name", ["builtins\neval", "torch\nload", "torch.nn\nmodules.os.system", "network\n__import__"]
)
def test_no_name_leads_to_anything_that_does_something(tmp_path, name):
    hostile = f"\x80\x02c{name}\n(S'raise SystemExit'\ntR.".encode("latin1")
    refused(tmp_path, hostile, "")


def test_a_file_cannot_change_the_reader(tmp_path):
    """A pickle may set the state of what it was given: here of a function that later files would use."""
    hostile = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}S'a'\nK\x01sb."
    refused(tmp_path, hostile, "state for what has none")
    assert read(tmp_path, FORMATS["state, zip"]).keys() == STATE.keys()


def test_a_claim_of_endless_memory_is_not_believed(tmp_path):
    refused(tmp_path, b"\x80\x02K\x01r\xff\xff\xff\xff.", "not one of torch's")


@pytest.mark.timeout(20)
def test_a_small_dictionary_held_many_times_over_is_not_walked_through(tmp_path):
    value = {"w": torch.ones(1)}
    for _ in range(15):
        value = {str(key): value for key in range(8)}
    content = torch_bytes(value)
    assert len(content) < 20_000
    refused(tmp_path, content, "save its state_dict")


def test_tensors_that_all_share_the_same_numbers_are_not_copied_for_ever(tmp_path):
    shared = torch.ones(100_000)
    refused(tmp_path, torch_bytes({str(key): shared for key in range(50)}), "more tensors than any network")
    tied = read(tmp_path, torch_bytes({"encoder": shared, "decoder": shared}))
    assert torch.equal(tied["encoder"], tied["decoder"])


def test_only_as_much_of_a_packed_note_is_unpacked_as_is_looked_at(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(FORMATS["state, zip"])) as good, zipfile.ZipFile(packed, "w") as bomb:
        root = next(name for name in good.namelist() if name.endswith("data.pkl")).removesuffix("data.pkl")
        for name in good.namelist():
            if not name.endswith("byteorder"):
                bomb.writestr(name, good.read(name))
        bomb.writestr(f"{root}byteorder", bytes(50_000_000), zipfile.ZIP_DEFLATED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path, packed.getvalue(), "big-endian")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # kB


def test_numbers_beyond_the_storage_are_refused(tmp_path):
    stream = io.BytesIO(FORMATS["state, zip"])
    with zipfile.ZipFile(stream) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    largest = max((name for name in parts if "/data/" in name), key=lambda name: len(parts[name]))
    parts[largest] = parts[largest][:-4]
    forged = io.BytesIO()
    with zipfile.ZipFile(forged, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    refused(tmp_path, forged.getvalue(), "truncated")


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, poison):
    refused(tmp_path, torch_bytes({"a": torch.tensor([1.0, poison])}), "a holds NaN or infinity")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2]])
def test_a_file_without_tensors_says_so(tmp_path, content):
    refused(tmp_path, torch_bytes(content), "holds no tensors")


@pytest.mark.parametrize("kept", [0, 1, 2, 10, 100, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("whole", FORMATS.values(), ids=FORMATS)
def test_a_truncated_file_is_refused(tmp_path, whole, kept):
    refused(tmp_path, whole[: int(kept * len(whole)) if isinstance(kept, float) else kept], "")


def test_a_script_archive_is_refused(tmp_path):
    """TorchScript's zip holds code, and is told by its constants."""
    stream = io.BytesIO(FORMATS["state, zip"])
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(archive.namelist()[0].replace("data.pkl", "constants.pkl"), b"")
    refused(tmp_path, stream.getvalue(), "save the state_dict")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(FORMATS)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_no_change_of_bytes_brings_anything_but_a_line(tmp_path, form, changes):
    content = bytearray(FORMATS[form])
    for place, value in changes:
        content[min(int(place * len(content)), len(content) - 1)] = value
    line = ""
    try:
        read(tmp_path, bytes(content))
    except CheckpointError as error:
        line = str(error)
    assert "\n" not in line


hostile_files = st.sampled_from([True, False])
spots = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FORMATS)), st.sampled_from(sorted(FORMATS)), st.floats(0, 1), st.floats(0, 1))
def test_no_two_files_glued_together_bring_anything_but_a_line(tmp_path, form, other, until, since):
    first, second = FORMATS[form], FORMATS[other]
    content = first[: int(until * len(first))] + second[int(since * len(second)) :]
    line = ""
    try:
        read(tmp_path, content)
    except CheckpointError as error:
        line = str(error)
    assert len(line.splitlines()) <= 1


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile_files, spots)
def test_no_change_of_a_hostile_file_makes_it_run(tmp_path, zipped, changes):
    trap = tmp_path / "trap"
    content = bytearray(torch_bytes({"w": torch.ones(1), "x": Hostile(trap)}, zipped))
    for place, value in changes:
        content[min(int(place * len(content)), len(content) - 1)] = value
    with contextlib.suppress(CheckpointError):
        read(tmp_path, bytes(content))
    assert not trap.exists()
