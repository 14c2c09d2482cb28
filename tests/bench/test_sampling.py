"""The bench of sparse sampling measures what it says, on made-up clips."""

from __future__ import annotations

import numpy as np
import pytest

from bench.sampling import FAKE_S, REAL_S, made_up, main, probabilities, sparse_mask, traces_of


@pytest.mark.parametrize(("stride", "filled"), [(1, 20), (2, 10), (3, 7), (4, 5)])
def test_a_sparse_window_ends_with_its_newest_sample(stride: int, filled: int) -> None:
    mask = sparse_mask(20, stride)
    assert (mask.sum(), mask[-1]) == (filled, 1)
    assert set(np.diff(np.flatnonzero(mask))) == {stride}


def test_complete_windows_are_scored_as_they_are() -> None:
    material = made_up(20)
    logits = material.windows[..., 0].mean(1)
    assert probabilities(material, sparse_mask(20, 1)) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)


def test_calm_faces_cost_fewer_samples_and_the_change_still_shows() -> None:
    whole, slow = (traces_of(made_up(12), every) for every in (1, 3))
    assert {trace.samples for trace in whole} == {REAL_S * 5}
    assert sum(trace.samples for trace in slow) < 0.8 * sum(trace.samples for trace in whole)
    assert sum(trace.shown_after_s is not None for trace in slow) == sum(t.shown_after_s is not None for t in whole)
    assert all(0 < (trace.shown_after_s or 1) < FAKE_S for trace in slow)


def test_it_prints_a_row_for_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--made-up", "--clips", "8"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + 4 + 3
