"""The real clips, and what the default model says of them: where the recorded probabilities come from."""

from __future__ import annotations

import pytest

pytest.importorskip("skimage", reason="the demo's portrait is missing: pip install scikit-image")

from engines.catalog import DEFAULT_MODEL
from stream.canary.answers import Result, recorded_for
from stream.canary.canary import Canary
from stream.canary.clips import LABELS, PICTURES, CanaryClip, clips_from, npz_of
from stream.config import AppConfig
from stream.errors import MissingPartError
from stream.parts import open_parts
from stream.vouching import ClipMaker

LARGEST = 3 << 19


@pytest.fixture(scope="module")
def clips() -> tuple[CanaryClip, ...]:
    """As a watch makes them: in a process of its own."""
    return ClipMaker().load()


def test_the_clips_are_small_and_survive_their_file(clips: tuple[CanaryClip, ...]) -> None:
    npz = npz_of(clips)
    assert len(npz) < LARGEST
    assert clips_from(npz) == clips
    assert [clip.name for clip in clips] == list(LABELS)
    assert all(len(clip.jpegs) == PICTURES for clip in clips)


@pytest.mark.parametrize("npz", [b"", b"PK\x03\x04", b"no file", npz_of([])])
def test_what_is_no_clip_is_one_line(npz: bytes) -> None:
    with pytest.raises(MissingPartError) as caught:
        clips_from(npz)
    assert "\n" not in str(caught.value)


def test_the_default_model_says_of_them_what_is_recorded(clips: tuple[CanaryClip, ...]) -> None:
    """After a new training: put its weights' hashes and the probabilities told here into stream/canary/answers.py."""
    parts = open_parts(AppConfig.model_validate({"display": False}))
    assert parts.model.spec.name == DEFAULT_MODEL
    results: list[Result] = []
    recorded = recorded_for(parts.model.spec)
    canary = Canary(parts.detector, parts.scorer, recorded, results.append, clock=lambda: 0)
    canary.ask(1, "start", clips)
    for _ in range(2 * PICTURES):
        canary.step()
    parts.close()
    (result,) = results
    assert result.is_right, result.problem
    assert recorded is not None, f"{parts.model.spec.files} -> {result.probabilities}"
    assert result.probabilities == pytest.approx(recorded, abs=0.03), "the recorded probabilities are of other weights"
