from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.preprocess import rgb_from_yuv444
from stream.overlay.sprites import BYTES_BESIDE, Sprite, SpriteCache, blend, fill, sprite_from_rgba
from tests.stream.overlay.scenes import GuardedFrame, same_picture, uv_of

layouts = pytest.mark.parametrize("interleaved", [False, True], ids=["I420", "NV12"])


def picture(width: int = 12, height: int = 8, alpha: int = 255) -> np.ndarray:
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[...] = (250, 40, 30, alpha)
    return rgba


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    frame=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    corner=st.tuples(st.integers(-60, 60), st.integers(-60, 60)),
    interleaved=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_sprite_anywhere_stays_inside_the_planes(
    size: tuple[int, int], frame: tuple[int, int], corner: tuple[int, int], interleaved: bool
) -> None:
    guarded = GuardedFrame(*frame, interleaved=interleaved)
    blend(guarded.planes, sprite_from_rgba(picture(*size), guarded.planes), *corner)
    assert guarded.guards_are_intact()


@given(rect=st.tuples(*[st.integers(-30, 60)] * 4), interleaved=st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_filled_rectangle_stays_inside_the_planes(rect: tuple[int, int, int, int], interleaved: bool) -> None:
    guarded = GuardedFrame(33, 27, interleaved=interleaved)
    fill(guarded.planes, rect, (200, 100, 150))
    assert guarded.guards_are_intact()


@layouts
def test_an_opaque_sprite_shows_its_own_colour(interleaved: bool) -> None:
    frame = GuardedFrame(40, 30, interleaved=interleaved).planes
    blend(frame, sprite_from_rgba(picture(), frame), 10, 6)
    u, v = uv_of(frame)
    yuv = np.array([[[frame.y[8, 12], u[4, 6], v[4, 6]]]], np.uint8)
    assert np.abs(rgb_from_yuv444(yuv, "bt601", False)[0, 0].astype(int) - (250, 40, 30)).max() <= 3


@layouts
def test_a_transparent_sprite_changes_nothing(interleaved: bool) -> None:
    frame, untouched = (GuardedFrame(40, 30, interleaved=interleaved).planes for _ in range(2))
    blend(frame, sprite_from_rgba(picture(alpha=0), frame), 4, 4)
    assert same_picture(frame, untouched)


def test_half_opacity_lies_half_way() -> None:
    frame = GuardedFrame(40, 30, interleaved=False, luma=50).planes
    opaque = GuardedFrame(40, 30, interleaved=False, luma=50).planes
    blend(frame, sprite_from_rgba(picture(alpha=128), frame), 4, 4)
    blend(opaque, sprite_from_rgba(picture(), opaque), 4, 4)
    assert abs(int(frame.y[6, 6]) - (50 + int(opaque.y[6, 6])) / 2) <= 1.5


@pytest.mark.parametrize("corner", [(0, 0), (7, 5), (-3, 10), (35, 27)])
def test_both_layouts_show_the_same_picture(corner: tuple[int, int]) -> None:
    planar, interleaved = (GuardedFrame(41, 31, interleaved=value).planes for value in (False, True))
    for frame in (planar, interleaved):
        blend(frame, sprite_from_rgba(picture(alpha=180), frame), *corner)
    assert same_picture(planar, interleaved)


def test_odd_pictures_become_even_sprites() -> None:
    sprite = sprite_from_rgba(picture(7, 5), GuardedFrame(20, 20, interleaved=False).planes)
    assert (sprite.width, sprite.height) == (8, 6)
    assert (sprite.luma.keep[:, 7] == 255).all()


def cached_sprite() -> Sprite:
    return sprite_from_rgba(picture(20, 20), GuardedFrame(40, 40, interleaved=False).planes)


def test_the_cache_makes_a_sprite_once() -> None:
    cache, made = SpriteCache(), []

    def make() -> Sprite:
        made.append(1)
        return cached_sprite()

    assert cache.get("a", make) is cache.get("a", make)
    assert len(made) == 1


def test_the_cache_stays_within_its_bytes_and_keeps_what_is_used() -> None:
    size = cached_sprite().bytes + BYTES_BESIDE
    cache = SpriteCache(max_bytes=3 * size)
    kept = cache.get("kept", cached_sprite)
    for key in range(50):
        cache.get(key, cached_sprite)
        assert cache.get("kept", cached_sprite) is kept
        assert cache.bytes <= 3 * size
    assert len(cache) == 3
