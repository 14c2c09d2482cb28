"""Batches through scripted graphs that check their inputs as strictly as real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.catalog import DEFAULT_MODEL, SPEC_FILE, model_folder, open_model
from engines.errors import InferenceError, SpecError
from engines.preprocess import Bytes
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.spec import Calibration, ModelSpec, PixelSpec, WindowSpec
from stream.scoring.calibration import fake_probability
from stream.scoring.scorer import ModelScorer

SIZE, SLOTS, DIM = 8, 20, 3
Graph = Callable[[Mapping[str, Array]], dict[str, Array]]


def make_spec(positive_class: str = "fake", colour: str = "rgb") -> ModelSpec:
    return ModelSpec(
        name="tiny",
        pixels=PixelSpec(size=SIZE, colour=colour, mean=(10, 20, 30), std=(2, 2, 2)),
        window=WindowSpec(slots=SLOTS, feature_dim=DIM),
        positive_class=positive_class,
        calibration=Calibration(temperature=2.0, bias=1.0),
        frame_calibration=Calibration(temperature=1.0),
        files={},
    )


def channel_means(arrays: Mapping[str, Array]) -> dict[str, Array]:
    crops = arrays["crops"]
    return {"features": crops.mean(axis=(2, 3)), "frame_logit": crops.mean(axis=(1, 2, 3))[:, None]}


def masked_sum(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {"logit": (arrays["features"][..., 0] * arrays["mask"]).sum(axis=1, keepdims=True)}


def backbone(function: Graph = channel_means, size: int = SIZE) -> ScriptedBackend:
    outputs = (TensorSpec("features", (None, DIM)), TensorSpec("frame_logit", (None, 1)))
    return ScriptedBackend((TensorSpec("crops", (None, 3, size, size)),), outputs, function)


def head(function: Graph = masked_sum, slots: int = SLOTS) -> ScriptedBackend:
    inputs = (TensorSpec("features", (None, slots, DIM)), TensorSpec("mask", (None, slots)))
    return ScriptedBackend(inputs, (TensorSpec("logit", (None, 1)),), function)


def flat_crop(*rgb: int) -> Bytes:
    return np.full((SIZE, SIZE, 3), rgb, np.uint8)


def test_crops_become_normalised_features_in_order() -> None:
    scorer = ModelScorer(backbone(), head(), make_spec())
    features = scorer.embed([flat_crop(10, 20, 30), flat_crop(12, 24, 36)])
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, [[0, 0, 0], [1, 2, 3]], atol=1e-6)


def test_a_bgr_model_gets_bgr() -> None:
    scorer = ModelScorer(backbone(), head(), make_spec(colour="bgr"))
    np.testing.assert_allclose(scorer.embed([flat_crop(30, 20, 12)]), [[1, 0, 0]], atol=1e-6)


@given(count=st.integers(0, 40), max_batch=st.integers(1, 16))
def test_batches_are_bounded_and_change_no_answer(count: int, max_batch: int) -> None:
    sizes: list[int] = []

    def watched(arrays: Mapping[str, Array]) -> dict[str, Array]:
        sizes.append(len(arrays["crops"]))
        return channel_means(arrays)

    scorer = ModelScorer(backbone(watched), head(), make_spec(), max_batch=max_batch)
    features = scorer.embed([flat_crop(10 + 2 * index, 20, 30) for index in range(count)])
    assert sum(sizes) == count
    assert max(sizes, default=0) <= max_batch
    np.testing.assert_allclose(features[:, 0], np.arange(count), atol=1e-5)


def test_crops_of_all_streams_share_one_run_of_the_backbone() -> None:
    graph = backbone()
    ModelScorer(graph, head(), make_spec()).embed([flat_crop(1, 2, 3)] * 16)
    assert graph.calls == 1


def test_no_crops_cost_no_inference() -> None:
    graph = backbone()
    assert ModelScorer(graph, head(), make_spec()).embed([]).shape == (0, DIM)
    assert graph.calls == 0


def test_windows_become_logits_that_respect_the_mask() -> None:
    features = np.ones((2, SLOTS, DIM), np.float32)
    mask = np.ones((2, SLOTS), np.float32)
    mask[1, :15] = 0
    logits = ModelScorer(backbone(), head(), make_spec()).score(features, mask)
    assert logits.tolist() == [20.0, 5.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_no_number_is_an_error_and_never_a_score(bad: float) -> None:
    def broken_head(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {"logit": np.full((len(arrays["mask"]), 1), bad, np.float32)}

    def broken_backbone(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {**channel_means(arrays), "features": np.full((len(arrays["crops"]), DIM), bad, np.float32)}

    scorer = ModelScorer(backbone(broken_backbone), head(broken_head), make_spec())
    with pytest.raises(InferenceError, match="not a number"):
        scorer.score(np.zeros((1, SLOTS, DIM), np.float32), np.ones((1, SLOTS), np.float32))
    with pytest.raises(InferenceError, match="not a number"):
        scorer.embed([flat_crop(0, 0, 0)])


def test_an_answer_of_another_length_is_an_error() -> None:
    def forgetful(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: values[:1] for name, values in channel_means(arrays).items()}

    with pytest.raises(InferenceError, match=r"gave \[1, 3\] as 'features', not \[2, 3\]"):
        ModelScorer(backbone(forgetful), head(), make_spec()).embed([flat_crop(0, 0, 0)] * 2)


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ((backbone(size=16), head()), r"'crops' is \[3, 16, 16\] in the graph, \[3, 8, 8\] in spec.json"),
        ((backbone(), head(slots=10)), r"'features' is \[10, 3\] in the graph"),
        ((head(), head()), "no input 'crops'"),
        ((backbone(), backbone()), "no input 'features'"),
    ],
)
def test_a_graph_of_another_model_is_refused(graphs: tuple[ScriptedBackend, ScriptedBackend], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModelScorer(*graphs, make_spec())


def test_a_closed_backend_is_an_inference_error() -> None:
    graph = backbone()
    scorer = ModelScorer(graph, head(), make_spec())
    graph.close()
    with pytest.raises(InferenceError):
        scorer.embed([flat_crop(0, 0, 0)])


def test_the_scorer_names_what_runs_it() -> None:
    assert ModelScorer(backbone(), head(), make_spec()).backend_name == "scripted"


def test_one_is_fake_whatever_the_model_s_polarity() -> None:
    fake_up = fake_probability([-40.0, -1.0, 40.0], make_spec("fake"))
    real_up = fake_probability([-40.0, -1.0, 40.0], make_spec("real"))
    np.testing.assert_allclose(fake_up, [0, 0.5, 1], atol=1e-6)
    np.testing.assert_allclose(real_up, [1, 0.5, 0], atol=1e-6)


def test_the_shipped_model_scores_faces_one_by_one_as_it_does_in_a_batch() -> None:
    if not (model_folder(DEFAULT_MODEL) / SPEC_FILE).is_file():
        pytest.skip(f"the weights of {DEFAULT_MODEL} are not in engines/weights: train and export them first")
    model = open_model(threads=1)
    scorer = ModelScorer(model.backbone, model.head, model.spec, max_batch=2)
    size, window = model.spec.pixels.size, model.spec.window
    rng = np.random.default_rng(7)
    crops = [np.asarray(rng.integers(0, 256, (size, size, 3)), np.uint8) for _ in range(3)]
    features = scorer.embed(crops)
    windows, mask = np.repeat(features[:, None], window.slots, axis=1), np.ones((3, window.slots), np.float32)
    logits = scorer.score(windows, mask)
    single = [scorer.score(windows[row : row + 1], mask[row : row + 1])[0] for row in range(3)]
    np.testing.assert_allclose(features[:1], scorer.embed(crops[:1]), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(logits, single, atol=1e-3)
    assert np.all((fake_probability(logits, model.spec) >= 0) & (fake_probability(logits, model.spec) <= 1))
    model.close()
