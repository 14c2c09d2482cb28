from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import InferenceError
from engines.runtime.ports import TensorSpec, check_inputs

SPECS = (TensorSpec("crops", (None, 3, 8, 8)), TensorSpec("mask", (None, 20), "bool"))
SHAPES = st.lists(st.integers(0, 5), max_size=5).map(tuple)


def fitting(batch: int = 2) -> dict[str, np.ndarray]:
    return {"crops": np.zeros((batch, 3, 8, 8), np.float32), "mask": np.ones((batch, 20), bool)}


@settings(deadline=None)
@given(st.integers(0, 9))
def test_a_dynamic_dimension_takes_any_size(batch: int) -> None:
    given_arrays = fitting(batch)
    check_inputs(SPECS, given_arrays)
    assert given_arrays["crops"].shape[0] == batch


@settings(deadline=None)
@given(SHAPES)
def test_a_shape_fits_only_when_rank_and_fixed_sizes_do(shape: tuple[int, ...]) -> None:
    spec = TensorSpec("x", (None, 3))
    fits = len(shape) == 2 and shape[1] == 3
    try:
        check_inputs((spec,), {"x": np.zeros(shape, np.float32)})
        assert fits
    except InferenceError:
        assert not fits


@pytest.mark.parametrize("arrays", [{}, {"crops": fitting()["crops"]}, {**fitting(), "extra": np.zeros(1)}])
def test_a_missing_or_unknown_input_is_named(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(InferenceError, match="pass exactly the named arrays") as caught:
        check_inputs(SPECS, arrays)
    assert "crops" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_element_type_is_refused_with_both_types() -> None:
    with pytest.raises(InferenceError, match=r"crops must be float32\[None, 3, 8, 8\], got float64\[2, 3, 8, 8\]"):
        check_inputs(SPECS, {**fitting(), "crops": np.zeros((2, 3, 8, 8))})
