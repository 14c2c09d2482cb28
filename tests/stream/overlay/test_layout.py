from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.overlay.layout import Place, Wish, place_labels, scale_of
from stream.types import TrackId, Xyxy

FRAME = (1280, 720)
SIZES = ((218, 92), (150, 32), (117, 25))


def wish(track: int, box: Xyxy) -> Wish:
    return Wish(TrackId(track), box, SIZES)


def rect(place: Place, box: Xyxy) -> Xyxy:
    width, height = SIZES[place.detail]
    left, top = box[0] + place.dx, box[1] + place.dy
    return left, top, left + width, top + height


def overlap(one: Xyxy, other: Xyxy) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


@given(st.tuples(st.floats(-200, 1400), st.floats(-200, 800), st.floats(1, 900), st.floats(1, 900)))
@settings(max_examples=200, deadline=None)
def test_a_label_is_always_inside_the_frame(corner_and_size: tuple[float, float, float, float]) -> None:
    x, y, width, height = corner_and_size
    box = (x, y, x + width, y + height)
    left, top, right, bottom = rect(place_labels([wish(1, box)], FRAME, [], {}, 8)[TrackId(1)], box)
    assert left >= 0
    assert top >= 0
    assert right <= FRAME[0]
    assert bottom <= FRAME[1]


def test_labels_cover_neither_faces_nor_each_other_nor_the_header() -> None:
    header = (0.0, 0.0, 1280.0, 40.0)
    boxes = {
        i: (60.0 + 300 * (i % 4), 60.0 + 210 * (i // 4), 160.0 + 300 * (i % 4), 180.0 + 210 * (i // 4))
        for i in range(12)
    }
    places = place_labels([wish(i, box) for i, box in boxes.items()], FRAME, [header], {}, 8)
    labels = [rect(places[TrackId(i)], box) for i, box in boxes.items()]
    for index, label in enumerate(labels):
        others = [*boxes.values(), *labels[:index], header]
        assert sum(overlap(label, other) for other in others) == 0


def test_a_lone_face_gets_the_full_label_below_it() -> None:
    place = place_labels([wish(1, (500, 200, 620, 350))], FRAME, [], {}, 8)[TrackId(1)]
    assert (place.detail, place.dx, place.dy) == (0, 0, 158)


def test_a_face_that_fills_the_frame_keeps_a_small_label() -> None:
    place = place_labels([wish(1, (0, 0, 1280, 720))], FRAME, [], {}, 8)[TrackId(1)]
    assert place.detail == len(SIZES) - 1


def test_a_label_stays_where_it_is_when_another_place_is_as_good() -> None:
    above = Place(0, 1, 0, -100)
    place = place_labels([wish(1, (500, 300, 620, 450))], FRAME, [], {TrackId(1): above}, 8)[TrackId(1)]
    assert place.side == 1


def test_the_same_faces_get_the_same_places() -> None:
    wishes = [wish(i, (50 + 90 * i, 100, 130 + 90 * i, 200)) for i in range(8)]
    first = place_labels(wishes, FRAME, [], {}, 8)
    assert place_labels(wishes, FRAME, [], first, 8) == first


@pytest.mark.parametrize(
    ("size", "scale"),
    [((1280, 720), 1.0), ((720, 1280), 1.0), ((640, 480), 0.75), ((3840, 2160), 3.0), ((16, 16), 0.75)],
)
def test_sizes_follow_the_frame_in_both_orientations(size: tuple[int, int], scale: float) -> None:
    assert scale_of(*size) == scale
