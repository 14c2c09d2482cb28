"""Where labels go: in the frame, off the faces, off each other; the same place as before when it is still good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.types import TrackId, Xyxy

Rects = NDArray[np.float64]
"""(N, 4) of left, top, right, bottom."""

MAX_SCALE = 4.0


def scale_of(width: int, height: int) -> float:
    """1 on a 720p frame in either orientation; never so small that text is lost, in steps of a quarter."""
    wanted = min(min(width, height) / 720, max(width, height) / 960)
    return min(max(round(wanted * 8) / 8, 0.75), MAX_SCALE)


@dataclass(frozen=True)
class Wish:
    """A label that looks for its place."""

    track_id: TrackId
    box: Xyxy
    sizes: tuple[tuple[int, int], ...]
    """(width, height) of each detail that may be used, the best first."""


@dataclass(frozen=True)
class Place:
    """Where a label goes, relative to the box's left top corner, so that it moves along with the box."""

    detail: int
    """Index into the wish's sizes."""
    side: int
    """Index of the candidate, to be tried first next time."""
    dx: float
    dy: float


def place_labels(
    wishes: Sequence[Wish],
    frame_wh: tuple[int, int],
    taken: Sequence[Xyxy],
    before: Mapping[TrackId, Place],
    gap: float,
) -> dict[TrackId, Place]:
    """A place for every wish; large faces choose first. ``taken``: the header's rectangles."""
    boxes = [wish.box for wish in wishes]
    occupied = [*taken]
    places = {}
    for wish in sorted(wishes, key=lambda wish: -_area(wish.box)):
        place, rect = _best(wish, frame_wh, _rects(boxes), _rects(occupied), before.get(wish.track_id), gap)
        occupied.append(rect)
        places[wish.track_id] = place
    return places


def _best(
    wish: Wish, frame_wh: tuple[int, int], boxes: Rects, occupied: Rects, before: Place | None, gap: float
) -> tuple[Place, Xyxy]:
    """The best detail that has a free place; else the smallest where it covers least."""
    for detail, size in enumerate(wish.sizes):
        rects = _candidates(wish.box, size, frame_wh, gap)
        costs = 4 * _overlap(rects, occupied) + _overlap(rects, boxes)
        if before is not None and before.detail == detail:
            costs[before.side] -= 1.0  # a tie, or a sliver of overlap, is no reason to jump
        side = int(np.argmin(costs))
        if costs[side] <= 0 or detail == len(wish.sizes) - 1:
            break
    left, top, right, bottom = (float(value) for value in rects[side])
    return Place(detail, side, left - wish.box[0], top - wish.box[1]), (left, top, right, bottom)


def _candidates(box: Xyxy, size: tuple[int, int], frame_wh: tuple[int, int], gap: float) -> Rects:
    """Below, above, right, left, then inside at the bottom and at the top; all moved into the frame."""
    (left, top, right, bottom), (width, height) = box, size
    corners = np.array(
        [
            (left, bottom + gap),
            (left, top - gap - height),
            (right + gap, top),
            (left - gap - width, top),
            (right + gap, bottom - height),
            (left - gap - width, bottom - height),
            (right - width, bottom + gap),
            (right - width, top - gap - height),
            (left + gap, bottom - height - gap),
            (left + gap, top + gap),
        ]
    )
    room = np.array(frame_wh, float) - size - gap / 2
    corners = np.maximum(np.minimum(corners, room), gap / 2)
    return np.hstack([corners, corners + size])


def _overlap(rects: Rects, others: Rects) -> NDArray[np.float64]:
    """(N,) summed area that each of ``rects`` shares with ``others``."""
    if not len(others):
        return np.zeros(len(rects))
    low = np.maximum(rects[:, None, :2], others[None, :, :2])
    high = np.minimum(rects[:, None, 2:], others[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2).sum(axis=1))


def _rects(boxes: Sequence[Xyxy]) -> Rects:
    return np.array(boxes, float).reshape(-1, 4)


def _area(box: Xyxy) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
