"""Imported Keras models against Keras itself: every topology, every file format, six kinds of mask."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import numpy as np  # noqa: E402

from engines.checkpoints.keras_file import KerasLayer, KerasModel, read_keras  # noqa: E402
from engines.checkpoints.keras_import import network_from_keras  # noqa: E402
from engines.errors import CheckpointError  # noqa: E402
from engines.models.cnn import SeedCnn, SeedCnnLarge  # noqa: E402
from engines.models.gru_head import GruHead  # noqa: E402
from engines.models.inception_v3 import InceptionV3  # noqa: E402
from engines.models.meso4 import Meso4  # noqa: E402
from engines.models.xception import Xception  # noqa: E402
from tests.engines.checkpoints import keras_models as km  # noqa: E402
from tests.engines.checkpoints.keras_models import keras, layers  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras on torch
WEIGHTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "weights"
TOLERANCE = 1e-5
MASKS = {
    "right": [1] * 13 + [0] * 7,
    "left": [0] * 6 + [1] * 14,
    "middle": [1] * 5 + [0] * 9 + [1] * 6,
    "alternating": [1, 0] * 10,
    "all masked": [0] * 20,
    "none": [1] * 20,
}
IMAGE_MODELS = {
    "seed-cnn": (km.seed_cnn, lambda: SeedCnn(km.SIDE)),
    "meso4": (km.meso4, Meso4),
    "xception": (km.xception, lambda: Xception("keras", frame_head=True)),
    "inception-v3": (km.inception_v3, lambda: InceptionV3("keras", frame_head=False)),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=list(IMAGE_MODELS))
def image_model(request):
    """Its name, the Keras model, one batch, and Keras' own answer to it."""
    model = km.stirred(IMAGE_MODELS[request.param][0]())
    crops = np.random.default_rng(1).uniform(-1, 1, (2, *model.input_shape[1:])).astype(np.float32)
    return request.param, model, crops, km.answer(model, crops)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_an_image_model_answers_as_keras_does(image_model, suffix, tmp_path):
    name, model, crops, expected = image_model
    found = network_from_keras(read_keras(saved(model, tmp_path / f"model{suffix}")))
    assert found.name == name
    ours = filled(IMAGE_MODELS[name][1], found.state)
    x = torch.from_numpy(crops.transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        answer = ours.forward_features(x) if ours.frame_head is None else torch.sigmoid(ours(x))
    assert expected.std() > 1e-4 or len(expected[0]) == 1
    assert np.abs(answer.numpy() - expected).max() <= TOLERANCE


@pytest.fixture(scope="module")
def head():
    return km.stirred(km.gru_head())


@pytest.fixture(scope="module", params=[".keras", ".h5", ".weights.h5"])
def imported_head(request, head, tmp_path_factory):
    path = saved(head, tmp_path_factory.mktemp("head") / f"head{request.param}")
    return filled(lambda: GruHead(12), network_from_keras(read_keras(path)).state)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_head_answers_as_keras_does_under_any_mask(head, imported_head, mask):
    window = np.random.default_rng(2).normal(size=(3, 20, 12)).astype(np.float32)
    expected = km.answer(head, window, np.array([mask] * 3, bool))
    assert np.abs(probability(imported_head, window, mask) - expected).max() <= TOLERANCE


def test_keras_holds_the_state_of_both_layers_under_a_mask(head):
    """What the comparisons above rest on: Keras scores a window with gaps as its samples alone."""
    window = np.random.default_rng(4).normal(size=(1, 20, 12)).astype(np.float32)
    gaps, packed = np.zeros((1, 20), bool), np.zeros((1, 20), bool)
    gaps[0, 1::2], packed[0, :10] = True, True
    moved = np.concatenate([window[:, 1::2], window[:, ::2]], 1)
    assert np.abs(km.answer(head, window, gaps) - km.answer(head, moved, packed)).max() < 1e-6
    assert np.abs(km.answer(head, window, gaps) - km.answer(head, window, ~gaps)).max() > 1e-4


def test_the_published_head_answers_as_keras_does_with_its_weights(real_weights):
    path = real_weights("cnn_rnn_video_head.keras")
    stored = read_keras(path)
    assert stored.parameters == 99_873
    ours = filled(lambda: GruHead(2048), network_from_keras(stored).state)
    theirs = km.gru_head(2048)
    weighty = [layer for layer in theirs.layers if layer.weights and not isinstance(layer, layers.Dropout)]
    for layer, source in zip(weighty, [one for one in stored.layers if one.arrays], strict=True):
        layer.set_weights(list(source.arrays.values()))
    window = np.random.default_rng(5).uniform(0, 1, (2, 20, 2048)).astype(np.float32)
    for mask in MASKS.values():
        expected = km.answer(theirs, window, np.array([mask] * 2, bool))
        assert np.abs(probability(ours, window, mask) - expected).max() <= TOLERANCE


def test_the_published_meso4_answers_as_keras_does_with_its_weights(real_weights):
    stored = read_keras(real_weights("Meso4_DF.h5"))
    assert stored.parameters == 28_073
    found = network_from_keras(stored)
    theirs = km.meso4()
    for layer, source in zip(
        [one for one in theirs.layers if one.weights and one.count_params() > 9], stored.layers, strict=False
    ):
        if not isinstance(layer, layers.Dropout):
            layer.set_weights(list(source.arrays.values()))
    crops = np.random.default_rng(6).uniform(0, 1, (2, 256, 256, 3)).astype(np.float32)
    with torch.inference_mode():
        answer = torch.sigmoid(filled(Meso4, found.state)(torch.from_numpy(crops.transpose(0, 3, 1, 2).copy())))
    assert np.abs(answer.numpy() - km.answer(theirs, crops)).max() <= TOLERANCE


def test_a_norms_own_epsilon_is_kept(tmp_path):
    model = km.stirred(km.meso4())
    model.layers[1].epsilon = 0.5
    crops = np.random.default_rng(7).uniform(0, 1, (1, 256, 256, 3)).astype(np.float32)
    found = network_from_keras(read_keras(saved(model, tmp_path / "model.keras")))
    with torch.inference_mode():
        answer = torch.sigmoid(filled(Meso4, found.state)(torch.from_numpy(crops.transpose(0, 3, 1, 2).copy())))
    assert np.abs(answer.numpy() - km.answer(model, crops)).max() <= TOLERANCE


def test_the_larger_seed_network_is_known_by_its_shapes_alone():
    """Its 206 million weights are stood in for by views of a single zero; what counts is where each would go."""
    found = network_from_keras(KerasModel(tuple(larger_layers()), has_config=True))
    assert found.name == "seed-cnn-large"
    with torch.device("meta"):
        wanted = {key: value.shape for key, value in SeedCnnLarge(16).state_dict().items()}
    assert {key: value.shape for key, value in found.state.items()} == wanted


def test_a_rescaling_layer_in_front_is_handed_on(tmp_path):
    model = km.seed_cnn()
    scaled = keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(1 / 127.5, -1.0), *model.layers])
    found = network_from_keras(read_keras(saved(scaled, tmp_path / "model.keras")))
    assert found.rescaling == (1 / 127.5, -1.0)


def test_a_gru_with_reset_before_is_refused(tmp_path):
    path = saved(km.gru_head(reset_after=False), tmp_path / "old.keras")
    with pytest.raises(CheckpointError, match="reset_after=False"):
        network_from_keras(read_keras(path))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: km.meso4(slope=0.3), "leaky0.3"),
        (lambda: keras.Sequential([keras.Input((8,)), layers.Dense(1)]), "its layers are: dense1"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.DepthwiseConv2D(3)]), "DepthwiseConv2D"),
    ],
)
def test_another_model_is_refused_and_described(build, reason, tmp_path):
    path = saved(build(), tmp_path / "other.keras")
    with pytest.raises(CheckpointError, match=reason) as caught:
        network_from_keras(read_keras(path))
    assert "\n" not in str(caught.value)


def larger_layers():
    conv = {"padding": "same", "activation": "relu"}

    def layer(kind, config, *shapes):
        roles = ("kernel", "bias")
        return KerasLayer(
            kind, config, {role: np.zeros(shape, np.float32) for role, shape in zip(roles, shapes, strict=False)}
        )

    for inputs, outputs, kernel in ((3, 64, 2), (64, 64, 2), (0, 0, 0), (64, 128, 3), (128, 128, 3), (0, 0, 0)):
        if not kernel:
            yield layer("MaxPooling2D", {"pool_size": [2, 2]})
        else:
            yield layer("Conv2D", conv, (kernel, kernel, inputs, outputs), (outputs,))
    yield layer("Flatten", {})
    for inputs, outputs in ((128 * 16, 512), (512, 256), (256, 128), (128, 64)):
        yield layer("Dense", {"activation": "relu"}, (inputs, outputs), (outputs,))
    yield layer("Dense", {"activation": "sigmoid"}, (64, 1), (1,))


def saved(model, path):
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


def filled(network, state):
    with torch.device("meta"):
        empty = network()
    empty.load_state_dict(state, assign=True)
    return empty.eval()


def probability(head, window, mask):
    with torch.inference_mode():
        return torch.sigmoid(head(torch.from_numpy(window), torch.tensor([mask] * len(window)).float())).numpy()


@pytest.fixture
def real_weights():
    def find(name):
        if not (WEIGHTS / name).is_file():
            pytest.skip(f"the shared weights are not at {WEIGHTS}")
        return WEIGHTS / name

    return find
