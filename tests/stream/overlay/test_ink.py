from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.overlay.ink import ground, icon_mask, lay, rounded_mask, text_mask
from stream.overlay.palette import LOOKS

offsets = st.integers(-50, 80)


def test_text_of_one_size_has_one_height() -> None:
    assert len({text_mask(text, 17).shape[0] for text in ("Fake", "gypq", "97%", ".")}) == 1


def test_strong_text_has_more_ink() -> None:
    assert text_mask("Fake", 17, strong=True).sum() > 1.1 * text_mask("Fake", 17).sum()


@pytest.mark.parametrize("size", [9, 17, 51])
def test_text_grows_with_its_size(size: int) -> None:
    small, large = text_mask("Unsure", size), text_mask("Unsure", 2 * size)
    assert abs(large.shape[1] - 2 * small.shape[1]) <= 3


def test_no_text_is_a_mask_without_ink() -> None:
    assert text_mask("", 17).sum() == 0


def test_icons_can_be_told_apart_without_colour() -> None:
    icons = [icon_mask(look.icon, 18).astype(int) for look in LOOKS.values()]
    for index, icon in enumerate(icons):
        assert all(np.abs(icon - other).mean() > 5 for other in icons[:index])


def test_an_icon_has_a_sign_in_its_badge() -> None:
    for look in LOOKS.values():
        icon = icon_mask(look.icon, 36)
        assert icon.shape == (36, 36)
        assert icon[10:26, 10:26].min() < 60  # the sign
        assert icon[5:31, 5:31].max() > 240  # the badge


def test_rounded_corners_are_open_and_edges_are_closed() -> None:
    mask = rounded_mask(60, 30, 8)
    assert mask[0, 0] == mask[-1, -1] == mask[0, -1] == mask[-1, 0] == 0
    assert mask[0, 30] == mask[15, 0] == mask[15, 30] == 255


@pytest.mark.parametrize("opacity", [0.0, 0.5, 0.84, 1.0])
def test_a_ground_is_as_opaque_as_it_is_told(opacity: float) -> None:
    rgba = ground(rounded_mask(20, 10, 0), (10, 20, 30), opacity)
    assert tuple(rgba[5, 10, :3]) == (10, 20, 30)
    assert abs(int(rgba[5, 10, 3]) - 255 * opacity) <= 1


@given(offsets, offsets)
@settings(deadline=None)
def test_ink_over_the_border_is_cut(left: int, top: int) -> None:
    rgba, mask = np.zeros((30, 40, 4), np.uint8), np.full((20, 20), 255, np.uint8)
    lay(rgba, mask, left, top, (200, 100, 50))
    wide = max(0, min(left + 20, 40) - max(left, 0))
    high = max(0, min(top + 20, 30) - max(top, 0))
    assert np.count_nonzero(rgba[..., 3]) == wide * high


def test_full_ink_covers_and_half_ink_mixes() -> None:
    rgba, mask = np.zeros((4, 4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    lay(rgba, mask, 0, 0, (200, 100, 50))
    assert tuple(rgba[0, 0]) == (200, 100, 50, 255)
    lay(rgba, mask, 0, 0, (100, 100, 150), 0.5)
    assert tuple(rgba[0, 0]) == (150, 100, 100, 255)
