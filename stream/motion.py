"""How fast boxes move, so that the overlay can follow faces between two detections."""

from __future__ import annotations

from stream.types import TrackedFace, TrackId, Xyxy

Velocity = tuple[float, float]
STILL: Velocity = (0.0, 0.0)


class Motion:
    """Remembers each track's last detected box; the velocity is that of the box's centre, in pixels per second."""

    def __init__(self) -> None:
        self._last: dict[TrackId, tuple[int, Xyxy]] = {}
        self._velocity: dict[TrackId, Velocity] = {}

    def update(self, tracks: tuple[TrackedFace, ...], pts_ns: int) -> dict[TrackId, Velocity]:
        """Velocities of the given tracks; tracks not given are forgotten."""
        for track in tracks:
            if track.detected:
                self._observe(track.track_id, track.face.xyxy, pts_ns)
        alive = {track.track_id for track in tracks}
        self._last = {key: value for key, value in self._last.items() if key in alive}
        self._velocity = {key: value for key, value in self._velocity.items() if key in alive}
        return {key: self._velocity.get(key, STILL) for key in alive}

    def _observe(self, track_id: TrackId, xyxy: Xyxy, pts_ns: int) -> None:
        before = self._last.get(track_id)
        self._last[track_id] = (pts_ns, xyxy)
        if before is not None and pts_ns > before[0]:
            measured = velocity_between(before[1], xyxy, (pts_ns - before[0]) / 1e9)
            self._velocity[track_id] = _blend(self._velocity.get(track_id, measured), measured)


def velocity_between(before: Xyxy, after: Xyxy, seconds: float) -> Velocity:
    """Of the centre, in pixels per second."""
    dx = (after[0] + after[2] - before[0] - before[2]) / 2
    dy = (after[1] + after[3] - before[1] - before[3]) / 2
    return dx / seconds, dy / seconds


def _blend(old: Velocity, new: Velocity) -> Velocity:
    """Half of each: one jittering detection must not throw the drawn box."""
    return (old[0] + new[0]) / 2, (old[1] + new[1]) / 2
