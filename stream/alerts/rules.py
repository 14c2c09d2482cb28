"""What makes an alert: the rules, and what each sees in the scenes of one stream.

Pure. What is said of faces goes by media time, so that it means the same for a camera and for a file that is read
faster; whether a stream is down goes by the monotonic clock, for a stream that is down has no media time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import ClassVar, Protocol

from stream.alerts.alert import AlertKind, Severity
from stream.types import FaceScore, Scene, StreamName, StreamState, TrackId, Verdict

DOWN = (StreamState.CONNECTING, StreamState.RECONNECTING, StreamState.FAILED)
"""A file that is over has ended, and is not down."""

Subject = TrackId | None
"""The face that something is said of, or the stream itself."""


@dataclass(frozen=True)
class Now:
    """One moment by two clocks."""

    mono_ns: int
    """``time.monotonic_ns()``: how long things last."""
    wall_s: float
    """Seconds since the epoch: for people."""


@dataclass(frozen=True)
class Reading:
    """What a rule sees of one subject; a subject that it does not see is not read at all."""

    is_due: bool
    """It has held for long enough to fire."""
    words: str
    """What is so, for people."""
    fake_probability: float | None = None


Readings = Mapping[Subject, Reading]
"""Of the subjects of which a rule's condition holds at this moment."""
NOTHING: Readings = MappingProxyType({})


class Count(Protocol):
    """What a rule remembers of one stream. Bounded by the faces in view."""

    def scene(self, scene: Scene) -> Readings | None:
        """What holds after this scene; None when scenes do not matter to the rule."""

    def tick(self, state: StreamState, mono_ns: int) -> Readings | None:
        """What holds at this moment; None when time alone does not matter to the rule."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What all rules share."""

    kind: ClassVar[AlertKind]
    name: str
    severity: Severity = Severity.WARNING
    streams: tuple[str, ...] = ("*",)
    """Names or globs; any that fits will do."""
    cool_down_s: float = 60.0
    """After it fired for a stream it does not fire for that stream again so long; what still holds then, fires then."""
    resolve_after_s: float = 5.0
    """How long its condition must be gone before an alert resolves."""

    def is_about(self, stream: StreamName) -> bool:
        return any(fnmatchcase(stream, pattern) for pattern in self.streams)

    def count(self, stream: StreamName) -> Count:
        """An empty memory for one stream."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FakeHeld(Rule):
    """A face is called fake for so many seconds on end."""

    kind: ClassVar[AlertKind] = AlertKind.FAKE
    for_s: float

    def count(self, stream: StreamName) -> Count:  # noqa: ARG002 - scenes name it
        return _FakeCount(self)


@dataclass(frozen=True, kw_only=True)
class ProbabilityAbove(Rule):
    """A face's probability is above a limit in so many of its last windows."""

    kind: ClassVar[AlertKind] = AlertKind.PROBABILITY
    above: float
    windows: int
    of: int

    def count(self, stream: StreamName) -> Count:  # noqa: ARG002 - scenes name it
        return _WindowCount(self)


@dataclass(frozen=True, kw_only=True)
class NoFace(Rule):
    """A stream plays and shows no face for so many seconds."""

    kind: ClassVar[AlertKind] = AlertKind.NO_FACE
    for_s: float

    def count(self, stream: StreamName) -> Count:  # noqa: ARG002 - scenes name it
        return _EmptyCount(self)


@dataclass(frozen=True, kw_only=True)
class StreamDown(Rule):
    """A stream does not play for so many seconds."""

    kind: ClassVar[AlertKind] = AlertKind.STREAM_DOWN
    for_s: float

    def count(self, stream: StreamName) -> Count:
        return _DownCount(self, stream)


class _MediaClock:
    """Notices a new segment: media time has gone back, or the stream does not play."""

    def __init__(self) -> None:
        self._pts_ns: int | None = None

    def is_cut(self, scene: Scene) -> bool:
        before, self._pts_ns = self._pts_ns, scene.pts_ns
        return scene.state is not StreamState.PLAYING or (before is not None and scene.pts_ns < before)


@dataclass
class _FakeCount:
    """Since when each face in view is called fake."""

    rule: FakeHeld
    clock: _MediaClock = field(default_factory=_MediaClock)
    since_ns: dict[TrackId, int] = field(default_factory=dict)

    def scene(self, scene: Scene) -> Readings:
        before = {} if self.clock.is_cut(scene) else self.since_ns
        faces = {face.track_id: face for face in _faces(scene) if face.verdict is Verdict.FAKE}
        self.since_ns = {track: before.get(track, scene.pts_ns) for track in faces}
        return {track: self._read(scene, face) for track, face in faces.items()}

    def tick(self, state: StreamState, mono_ns: int) -> None:
        """Faces are seen in scenes."""

    def _read(self, scene: Scene, face: FaceScore) -> Reading:
        held_s = (scene.pts_ns - self.since_ns[face.track_id]) / 1e9
        words = f"face {face.track_id} on {scene.stream} has been fake for {self.rule.for_s:g} s"
        return Reading(held_s >= self.rule.for_s, words, face.fake_probability)


@dataclass
class _Windows:
    """Which of a face's last windows were above the limit."""

    are_above: deque[bool]
    newest_pts_ns: int | None = None

    def add(self, face: FaceScore, above: float) -> None:
        """A window counts once, however often its score is shown."""
        pts_ns = face.scored_pts_ns
        if pts_ns is None or face.fake_probability is None or pts_ns == self.newest_pts_ns:
            return
        self.newest_pts_ns = pts_ns
        self.are_above.append(face.fake_probability > above)


@dataclass
class _WindowCount:
    """The last windows of each face in view."""

    rule: ProbabilityAbove
    clock: _MediaClock = field(default_factory=_MediaClock)
    windows: dict[TrackId, _Windows] = field(default_factory=dict)

    def scene(self, scene: Scene) -> Readings:
        before = {} if self.clock.is_cut(scene) else self.windows
        faces = {face.track_id: face for face in _faces(scene)}
        self.windows = {track: before.get(track) or _Windows(deque(maxlen=self.rule.of)) for track in faces}
        for track, face in faces.items():
            self.windows[track].add(face, self.rule.above)
        return {track: self._read(scene, faces[track]) for track in faces if self._holds(track)}

    def tick(self, state: StreamState, mono_ns: int) -> None:
        """Faces are seen in scenes."""

    def _holds(self, track: TrackId) -> bool:
        return sum(self.windows[track].are_above) >= self.rule.windows

    def _read(self, scene: Scene, face: FaceScore) -> Reading:
        rule = self.rule
        counted = f"in {rule.windows} of {rule.of} windows" if rule.of > 1 else "in a window"
        words = f"face {face.track_id} on {scene.stream} was more than {rule.above:g} likely fake {counted}"
        return Reading(True, words, face.fake_probability)


@dataclass
class _EmptyCount:
    """Since when a stream that plays shows nobody."""

    rule: NoFace
    clock: _MediaClock = field(default_factory=_MediaClock)
    since_ns: int | None = None

    def scene(self, scene: Scene) -> Readings:
        if self.clock.is_cut(scene) or scene.faces:
            self.since_ns = None
        if scene.faces or scene.state is not StreamState.PLAYING:
            return NOTHING
        self.since_ns = scene.pts_ns if self.since_ns is None else self.since_ns
        is_due = scene.pts_ns - self.since_ns >= self.rule.for_s * 1e9
        return {None: Reading(is_due, f"{scene.stream} has shown no face for {self.rule.for_s:g} s")}

    def tick(self, state: StreamState, mono_ns: int) -> None:
        """Whether a stream that stands still shows a face is not known: that it stands still is another rule's."""


@dataclass
class _DownCount:
    """Since when a stream does not play."""

    rule: StreamDown
    stream: StreamName
    since_ns: int | None = None

    def scene(self, scene: Scene) -> None:
        """Whether it plays is looked up: a stream that never opened has no scenes."""

    def tick(self, state: StreamState, mono_ns: int) -> Readings:
        if state not in DOWN:
            self.since_ns = None
            return NOTHING
        self.since_ns = mono_ns if self.since_ns is None else self.since_ns
        is_due = mono_ns - self.since_ns >= self.rule.for_s * 1e9
        return {None: Reading(is_due, f"{self.stream} has not played for {self.rule.for_s:g} s ({state.value})")}


def _faces(scene: Scene) -> tuple[FaceScore, ...]:
    """A stream that does not play may still show its last word: nothing is counted of that."""
    return scene.faces if scene.state is StreamState.PLAYING else ()
