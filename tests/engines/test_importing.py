"""From a file to a model folder: what its spec records, what answers, and that a failure leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from engines.catalog import open_model  # noqa: E402
from engines.checkpoints.keras_file import read_keras  # noqa: E402
from engines.checkpoints.keras_import import network_from_keras  # noqa: E402
from engines.errors import CheckpointError  # noqa: E402
from engines.importing import import_model  # noqa: E402
from engines.models.inception_v3 import InceptionV3  # noqa: E402
from engines.models.meso4 import Meso4  # noqa: E402
from engines.spec import load_spec  # noqa: E402

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("UNMASK_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def weights():
    def find(name):
        if not (WEIGHTS / name).is_file():
            pytest.skip(f"the shared weights are not at {WEIGHTS}")
        return WEIGHTS / name

    return find


def test_meso4_says_real_and_its_spec_knows(weights, store):
    done = import_model(weights("Meso4_DF.h5"), "meso4")
    spec = load_spec(store / "meso4" / "spec.json")
    assert (done.spec, done.parameters, spec.positive_class) == (spec, 28_073, "real")
    assert (spec.pixels.size, spec.pixels.colour, spec.pixels.std) == (256, "rgb", (255.0,) * 3)
    assert (spec.aggregation, spec.calibration.temperature, spec.measured) == ("mean_logit", 1.0, {})
    assert "high score means real" in done.facts["answer"]


def test_the_imported_graph_answers_as_the_network_to_float32(weights):
    path = weights("Meso4_DF.h5")
    import_model(path, "meso4")
    network = Meso4().eval()
    network.load_state_dict(network_from_keras(read_keras(path)).state)
    crops = np.random.default_rng(0).uniform(0, 1, (1, 3, 256, 256)).astype(np.float32)
    answer = open_model("meso4").backbone.infer({"crops": crops})["frame_logit"]
    with torch.inference_mode():
        assert np.abs(answer - network(torch.from_numpy(crops)).numpy()).max() < 1e-5


def test_a_head_and_a_backbone_become_one_model(weights, tmp_path):
    torch.save(InceptionV3("torchvision", frame_head=False).state_dict(), tmp_path / "inception.pth")
    done = import_model(weights("cnn_rnn_video_head.keras"), "inception-gru", backbone=tmp_path / "inception.pth")
    assert done.parameters == 21_802_784 + 99_873
    assert len(done.recognised) == 2
    assert done.spec.window.slots == 20
    assert done.spec.window.period_s == pytest.approx(1 / 30)
    model = open_model("inception-gru")
    window = {"features": np.zeros((1, 20, 2048), np.float32), "mask": np.ones((1, 20), np.float32)}
    assert model.head.infer(window)["logit"].shape == (1, 1)


def test_a_head_alone_is_a_part_and_says_what_it_needs(weights, store):
    done = import_model(weights("cnn_rnn_video_head.keras"), "gru-head")
    assert done.parameters == 99_873
    assert "--backbone" in done.advice
    assert sorted(path.name for path in (store / "gru-head").iterdir()) == [
        "checkpoint.safetensors",
        "head.onnx",
        "spec.json",
    ]


def test_the_owner_may_know_better_what_a_high_score_means(weights, tmp_path):
    done = import_model(weights("Meso4_DF.h5"), "meso4", out=tmp_path / "mine", positive="fake")
    assert load_spec(tmp_path / "mine" / "spec.json").positive_class == "fake"
    assert str(tmp_path / "mine") in done.advice


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("xception", {}, "holds meso4"),
        ("gru-head", {}, "which is no gru-head"),
        ("lite0-gru", {}, "cannot import as"),
        ("nonsense", {}, "cannot import as"),
        ("inception-gru", {}, "--backbone"),
        ("meso4", {"backbone": Path("x")}, "leave --backbone out"),
    ],
)
def test_a_request_that_cannot_be_met_leaves_nothing(weights, store, name, options, reason):
    with pytest.raises(CheckpointError, match=reason):
        import_model(weights("Meso4_DF.h5"), name, **options)
    assert not store.exists()


def test_a_folder_that_is_no_model_is_never_replaced(weights, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("John")
    with pytest.raises(CheckpointError, match="no model"):
        import_model(weights("Meso4_DF.h5"), "meso4", out=tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "John"


def test_a_model_is_replaced_whole(weights, store):
    import_model(weights("Meso4_DF.h5"), "meso4")
    (store / "meso4" / "stale").write_text("x")
    import_model(weights("Meso4_DF.h5"), "meso4")
    assert not (store / "meso4" / "stale").exists()
    assert [path.name for path in store.iterdir()] == ["meso4"]


def test_a_folder_that_cannot_be_written_is_one_line(weights, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        import_model(weights("Meso4_DF.h5"), "meso4", out=tmp_path / "file" / "below")
