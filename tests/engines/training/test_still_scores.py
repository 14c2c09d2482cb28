"""Stills through every kind of model: high is fake, whatever the graphs call it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from engines.catalog import LoadedModel
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.training.errors import TrainingError
from engines.training.faces import Face, FaceSet
from engines.training.scored import Item
from engines.training.still_scores import Framing, StillScorer, frame_logits, score_stills
from engines.training.stills import Still
from tests.fakes import FEATURES, SIZE, backbone_of, head_of, spec_of

LEFT_BRIGHT = np.zeros((64, 64, 3), np.uint8)
LEFT_BRIGHT[:, :32] = 255
DARK, LIGHT = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 254, np.uint8)


def left_mean(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The frame logit is the mean of the crop's left half: -1 to 1."""
    crops = arrays["crops"]
    logit = crops[..., : SIZE // 2].mean((1, 2, 3))
    return {"features": np.zeros((len(crops), FEATURES), np.float32), "frame_logit": logit[:, None].astype(np.float32)}


def framed(positive: str = "fake") -> LoadedModel:
    outputs = (TensorSpec("features", (None, FEATURES)), TensorSpec("frame_logit", (None, 1)))
    backbone = ScriptedBackend((TensorSpec("crops", (None, 3, SIZE, SIZE)),), outputs, left_mean)
    return LoadedModel(spec_of(positive=positive), backbone, head_of(0.0))


def windowed() -> LoadedModel:
    """A backbone without a frame logit, under a head that counts the samples of a window."""
    backbone = ScriptedBackend(
        (TensorSpec("crops", (None, 3, SIZE, SIZE)),),
        (TensorSpec("features", (None, FEATURES)),),
        lambda arrays: {"features": backbone_of().infer(arrays)["features"]},
    )
    return LoadedModel(spec_of(), backbone, head_of(lambda features, mask: mask.sum(1) * features[:, :, 0].mean(1)))


def test_a_frame_logit_is_taken_where_there_is_one() -> None:
    found = StillScorer(framed()).logits([DARK, LIGHT])
    np.testing.assert_allclose(found, [-127 / 128, 127 / 128], atol=1e-5)


def test_a_model_that_answers_how_real_is_turned_round() -> None:
    fake, real = StillScorer(framed()), StillScorer(framed("real"))
    np.testing.assert_allclose(real.logits([DARK, LIGHT]), -fake.logits([DARK, LIGHT]))
    logits = np.array([-2.0, 0.5])
    np.testing.assert_allclose(real.probabilities(logits), fake.probabilities(logits))


def test_without_a_frame_logit_a_window_is_filled_with_the_one_sample() -> None:
    scorer = StillScorer(windowed())
    np.testing.assert_allclose(scorer.logits([DARK, LIGHT]), [-20 * 127 / 128, 20 * 127 / 128], rtol=1e-4)
    assert "window" in scorer.way


def test_a_mirrored_score_is_the_mean_of_both_sides() -> None:
    plain, mirrored = (StillScorer(framed(), Framing(mirror=mirror)) for mirror in (False, True))
    flipped = np.ascontiguousarray(LEFT_BRIGHT[:, ::-1])
    both = (plain.logits([LEFT_BRIGHT]) + plain.logits([flipped])) / 2
    np.testing.assert_allclose(mirrored.logits([LEFT_BRIGHT]), both, atol=1e-6)
    assert "mirror" in mirrored.way


def test_a_smaller_margin_looks_closer() -> None:
    edged = LIGHT.copy()
    edged[:8] = edged[-8:] = 0
    whole, closer = (StillScorer(framed(), Framing(margin)).logits([edged])[0] for margin in (1.0, 0.7))
    assert closer > whole


def test_scores_come_in_the_order_of_the_stills_and_all_are_told() -> None:
    stills = [Still(Item(str(n), n % 2 == 1, str(n), str(n)), LIGHT if n % 2 else DARK, 100 + n) for n in range(70)]
    told: list[int] = []
    found = score_stills(stills, StillScorer(framed()), told.append)
    assert [item.name for item in found.scored.items] == [str(n) for n in range(70)]
    assert ((found.scored.logits > 0) == (found.scored.labels == 1)).all()
    assert (sum(told), len(found.features)) == (70, 70)


def test_no_pictures_at_all_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no pictures"):
        score_stills([], StillScorer(framed()))


def test_the_spec_says_whether_a_still_is_mirrored_and_the_asker_may_say_otherwise() -> None:
    plain = framed()
    mirroring = LoadedModel(plain.spec.model_copy(update={"still_mirror": True}), plain.backbone, plain.head)
    for model, asked, mirrors in ((plain, None, False), (mirroring, None, True), (mirroring, False, False)):
        assert StillScorer(model, Framing(mirror=asked)).mirrors == mirrors
    wanted = StillScorer(plain, Framing(mirror=True)).logits([LEFT_BRIGHT])
    np.testing.assert_allclose(StillScorer(mirroring).logits([LEFT_BRIGHT]), wanted)
    faces = FaceSet((Face("a", "a", is_fake=False, split="val"),), LEFT_BRIGHT[None])
    np.testing.assert_allclose(frame_logits(mirroring.backbone, mirroring.spec, faces), wanted)
