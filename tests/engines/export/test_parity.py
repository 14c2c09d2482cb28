"""The gate: what passes, what is refused, and with which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from engines.catalog import BACKBONE_FILE, CATALOG, HEAD_FILE
from engines.errors import InferenceError
from engines.export.parity import LIMITS, Limit, asked_in, compare, hard_pictures, limit_of, parity_inputs, sides_of
from engines.runtime.ports import Array, TensorSpec
from engines.spec import Calibration, ModelSpec, PixelSpec, WindowSpec
from engines.store import PRECISIONS, Precision

SIZE, SLOTS, FEATURES = 8, 4, 2
LIMIT = Limit(logit=0.1, noise=0.02, relative=0.05)
SPEC = ModelSpec(
    name="tiny",
    pixels=PixelSpec(size=SIZE, mean=(0.0,) * 3, std=(1.0,) * 3),
    window=WindowSpec(slots=SLOTS, feature_dim=FEATURES),
    calibration=Calibration(temperature=2.0, bias=0.5),
    frame_calibration=Calibration(temperature=1.0),
    files={},
)


class Answers:
    """A backend that says given numbers of the items it is asked for, one after another."""

    name = "answers"
    inputs = (TensorSpec("crops", (None, 1)),)
    outputs = ()

    def __init__(self, **outputs: list[float]) -> None:
        self._outputs = outputs

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        item = int(arrays["crops"][0, 0])
        return {name: np.array([[values[item]]], np.float32) for name, values in self._outputs.items()}

    def close(self) -> None:
        """Nothing to free."""


class MeanHead:
    """Features (1, T, F) to a logit ten times their mean."""

    name = "mean head"
    inputs = (TensorSpec("features", (None, SLOTS, 1)), TensorSpec("mask", (None, SLOTS)))
    outputs = (TensorSpec("logit", (None, 1)),)

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        assert arrays["mask"].shape == (1, SLOTS)
        assert arrays["features"].shape == (1, SLOTS, 1)
        return {"logit": 10 * arrays["features"].mean(axis=1)}

    def close(self) -> None:
        """Nothing to free."""


def items(count: int) -> list[dict[str, Array]]:
    return [{"crops": np.full((1, 1), index, np.float32)} for index in range(count)]


def test_equal_answers_pass_and_say_who_was_compared() -> None:
    parity = compare(Answers(logit=[1.0, -2.0]), Answers(logit=[1.05, -2.0]), items(2), LIMIT, spec=SPEC)
    assert (parity.reference, parity.inputs, parity.limit, parity.verdict_flips) == ("answers", 2, 0.1, 0)
    assert parity.max_logit_delta == pytest.approx(0.05, abs=1e-6)
    assert (parity.rank_correlation, parity.auc_before, parity.auc_after) == (None, None, None)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(wrong: float) -> None:
    with pytest.raises(InferenceError, match="NaN or infinity for logit: use a wider precision"):
        compare(Answers(logit=[1.0, 2.0]), Answers(logit=[1.0, wrong]), items(2), LIMIT)


def test_a_reference_that_is_broken_lets_nothing_pass() -> None:
    with pytest.raises(InferenceError):
        compare(Answers(logit=[float("nan")]), Answers(logit=[1.0]), items(1), LIMIT)


def test_a_logit_beyond_the_limit_is_refused() -> None:
    with pytest.raises(InferenceError, match=r"differs by 0\.2 \(limit 0\.1\) from answers"):
        compare(Answers(logit=[1.0]), Answers(logit=[1.2]), items(1), LIMIT)


def edge(probability: float) -> float:
    """The frame logit of a probability in SPEC, whose frame calibration is the identity."""
    return float(np.log(probability / (1 - probability)))


@pytest.mark.parametrize("probability", [SPEC.verdict.fake_at, 0.5, SPEC.verdict.real_at])
@pytest.mark.parametrize(("distance", "passes"), [(0.01, True), (0.05, False)])
def test_a_verdict_may_change_within_the_noise_of_an_edge_only(
    probability: float, distance: float, passes: bool
) -> None:
    before, after = Answers(frame_logit=[edge(probability) + distance]), Answers(frame_logit=[edge(probability) - 0.02])
    if passes:
        assert compare(before, after, items(1), LIMIT, spec=SPEC).verdict_flips == 0
    else:
        with pytest.raises(InferenceError, match=r"changes 1 verdict\(s\)"):
            compare(before, after, items(1), LIMIT, spec=SPEC)


def test_calibration_moves_the_edges() -> None:
    """p = sigmoid((logit + 0.5) / 2): even odds at -0.5."""
    side = sides_of(SPEC)["logit"]
    assert side.at(np.array([-0.51]))[0] + 1 == side.at(np.array([-0.49]))[0]
    assert side.distance(np.array([-0.4]))[0] == pytest.approx(0.1)


def test_features_are_judged_by_what_the_head_makes_of_them() -> None:
    before, after = (Answers(features=[value], frame_logit=[0.0]) for value in (1.0, 1.02))
    with pytest.raises(InferenceError, match=r"differs by 0\.2"):
        compare(before, after, items(1), LIMIT, head=MeanHead())
    assert compare(before, after, items(1), LIMIT).max_logit_delta == 0


def test_labelled_crops_give_an_area_before_and_after_and_order() -> None:
    before = Answers(logit=[*np.linspace(0, 1, 10), 9.0])
    after = Answers(logit=[*(np.linspace(0, 1, 10) + np.tile([0.06, -0.06], 5)), 9.0])
    parity = compare(before, after, items(11), LIMIT, real=10, labels=[0, 0, 0, 1, 0, 1, 0, 1, 1, 1])
    assert parity.auc_before == pytest.approx(22 / 25)
    assert parity.auc_after is not None
    assert parity.auc_after != parity.auc_before
    assert parity.rank_correlation is not None
    assert 0.9 < parity.rank_correlation < 1


def test_a_graph_without_logits_is_judged_by_its_outputs_spread() -> None:
    before = Answers(heatmap=[0.0, 100.0], scale=[0.0, 1.0])
    assert compare(before, Answers(heatmap=[4.0, 100.0], scale=[0.0, 1.0]), items(2), LIMIT).max_logit_delta == 0.04
    with pytest.raises(InferenceError, match=r"differs by 0\.1 \(limit 0\.05\)"):
        compare(before, Answers(heatmap=[0.0, 100.0], scale=[0.1, 1.0]), items(2), LIMIT)


def test_a_backbones_crops_come_before_the_hard_pictures() -> None:
    crop = np.full((SIZE, SIZE, 3), 7, np.uint8)
    inputs = parity_inputs(BACKBONE_FILE, SPEC, [crop])
    assert (inputs[0]["crops"] == 7).all()
    assert len(inputs) == 1 + len(hard_pictures((SIZE, SIZE)))
    assert all(item["crops"].shape == (1, 3, SIZE, SIZE) for item in inputs)


def test_hard_pictures_reach_both_ends_and_are_the_same_each_time() -> None:
    one, other = hard_pictures((12, 10)), hard_pictures((12, 10))
    np.testing.assert_array_equal(one, other)
    assert {picture.shape for picture in one} == {(10, 12, 3)}
    assert {(int(picture.min()), int(picture.max())) for picture in one} >= {(0, 0), (255, 255), (0, 255)}


def test_a_head_is_asked_with_full_partial_and_empty_masks() -> None:
    filled = [int(item["mask"].sum()) for item in parity_inputs(HEAD_FILE, SPEC)]
    assert filled[0] == SLOTS
    assert filled[-1] == 0
    assert any(0 < count < SLOTS for count in filled)


def test_cheaper_precisions_may_cost_more_and_a_row_scales_them_all() -> None:
    assert set(LIMITS) == set(PRECISIONS)
    order: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
    assert [limit_of(item).logit for item in order] == sorted(limit_of(item).logit for item in order)
    row = replace(CATALOG["lite0-gru"], max_logit_delta=0.1)
    assert limit_of("fp32", row).logit == pytest.approx(0.1)
    assert limit_of("int8", row).logit == pytest.approx(5 * limit_of("int8").logit)


class Batched:
    """Answers each item with its number, and with ``off`` more in batches of the sizes that it gets wrong."""

    name = "batched"
    inputs = (TensorSpec("crops", (None, 1)),)
    outputs = (TensorSpec("logit", (None, 1)),)

    def __init__(self, *, off: float = 0.0, wrong: tuple[int, ...] = (), takes: range = range(1, 1000)) -> None:
        self._off, self._wrong, self._takes = off, wrong, takes
        self.asked: list[int] = []

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        crops = arrays["crops"]
        if len(crops) not in self._takes:
            raise InferenceError(f"{len(crops)} rows are outside the engine's profiles: build it with that --batch")
        self.asked.append(len(crops))
        return {"logit": crops + self._off * (len(crops) in self._wrong)}

    def close(self) -> None:
        """Nothing to free."""


@pytest.mark.parametrize(
    ("batches", "sizes"),
    [
        ((1,), {1}),
        ((4,), {4}),
        ((1, 2), {1, 2}),
        ((1, 8, 32), {1, 5, 8, 32}),
        ((8, 16, 32), {8, 9, 16, 32}),
        ((1, 32), {1, 17, 32}),
    ],
)
@pytest.mark.parametrize("count", [3, 7, 40])
def test_every_input_is_asked_in_the_smallest_batch_and_some_in_every_other(
    batches: tuple[int, ...], sizes: set[int], count: int
) -> None:
    calls = list(asked_in(batches, count))
    assert {len(call) for call in calls} == sizes
    smallest = [item for call in calls if len(call) == batches[0] for item in call]
    assert smallest[:count] == list(range(count))
    assert all(call[-1] == count - 1 for call in calls if len(call) > batches[0]), "the hardest come last"


@pytest.mark.parametrize("size", [1, 5, 8, 32])
def test_what_one_size_of_batch_gets_wrong_is_found(size: int) -> None:
    with pytest.raises(InferenceError, match=r"batched differs by 0\.3 \(limit 0\.1\)"):
        compare(Batched(), Batched(off=0.3, wrong=(size,)), items(7), LIMIT, batches=(1, 8, 32))
    parity = compare(Batched(), Batched(off=0.05, wrong=(size,)), items(7), LIMIT, batches=(1, 8, 32))
    assert parity.max_logit_delta == pytest.approx(0.05, abs=1e-6)
    assert (parity.inputs, parity.batches) == (7, (1, 5, 8, 32))


def test_an_engine_is_asked_in_sizes_that_it_takes_and_its_reference_one_by_one() -> None:
    reference, engine = Batched(takes=range(1, 2)), Batched(takes=range(8, 33))
    compare(reference, engine, items(11), LIMIT, batches=(8, 16, 32))
    assert (reference.asked, engine.asked) == ([1] * 11, [8, 8, 9, 16, 32])
