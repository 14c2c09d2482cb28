"""Ranks against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from engines.ranking import area_under_roc, mid_ranks, rank_correlation

TIED = np.random.default_rng(0).integers(0, 9, (2, 60)).astype(np.float64)


def test_ties_share_their_mean() -> None:
    np.testing.assert_array_equal(mid_ranks(TIED[0]), rankdata(TIED[0]))


def test_the_correlation_is_spearmans() -> None:
    assert rank_correlation(*TIED) == pytest.approx(spearmanr(*TIED)[0])


def test_one_value_has_no_order() -> None:
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None


def test_the_area_counts_pairs_and_ties_half() -> None:
    assert area_under_roc(np.array([0, 0, 1, 1]), np.array([1.0, 2.0, 2.0, 3.0])) == pytest.approx(3.5 / 4)
