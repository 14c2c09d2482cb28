"""What makes an alert: the rules, and what each sees in the scenes of one stream.

Pure. What is said of faces goes by media time, so that it means the same for a camera and for a file that is read
faster; whether a stream is down goes by the monotonic clock, for a stream that is down has no media time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
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

    def fired(self, subject: Subject) -> None:
        """An alert was made of this subject's reading: what was counted for it makes no other."""


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
    """How long its condition must be gone before an alert resolves, or before what was counted is forgotten."""

    def is_about(self, stream: StreamName) -> bool:
        return any(fnmatchcase(stream, pattern) for pattern in self.streams)

    def count(self, stream: StreamName) -> Count:
        """An empty memory for one stream."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FakeHeld(Rule):
    """Faces of a stream are called fake for so many seconds, with gaps of ``resolve_after_s`` at most."""

    kind: ClassVar[AlertKind] = AlertKind.FAKE
    for_s: float

    def count(self, stream: StreamName) -> Count:  # noqa: ARG002 - scenes name it
        return _FakeCount(self)


@dataclass(frozen=True, kw_only=True)
class ProbabilityAbove(Rule):
    """A face's probability is above a limit in so many of its last windows, and of one's that left just before."""

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
class _FakeTime:
    """For how long any face of a stream was called fake, since an alert was made of it.

    It outlives each face: who leaves the view before ``for_s`` is over comes back under another number.
    """

    gap_ns: float
    """So long without such a face does not count, and takes nothing away; longer begins afresh."""
    held_ns: int = 0
    newest_ns: int | None = None
    goes_on: bool = False
    """The scene before showed such a face."""

    def add(self, pts_ns: int, *, is_fake: bool) -> None:
        if is_fake:
            since_ns = 0 if self.newest_ns is None else pts_ns - self.newest_ns
            if self.goes_on:
                self.held_ns += since_ns
            elif since_ns > self.gap_ns:
                self.held_ns = 0
            self.newest_ns = pts_ns
        self.goes_on = is_fake


@dataclass
class _FakeCount:
    """Since when each face in view is called fake, and for how long the stream showed such faces."""

    rule: FakeHeld
    clock: _MediaClock = field(default_factory=_MediaClock)
    since_ns: dict[TrackId, int] = field(default_factory=dict)
    spent_ns: dict[TrackId, int] = field(default_factory=dict)
    """When faces that fired were last called fake: their time is told, and makes no alert of another face."""
    stream: _FakeTime = field(init=False)

    def __post_init__(self) -> None:
        self._begin()

    def scene(self, scene: Scene) -> Readings:
        if self.clock.is_cut(scene):
            self._begin()
        faces = {face.track_id: face for face in _faces(scene) if face.verdict is Verdict.FAKE}
        self.since_ns = {track: self.since_ns.get(track, scene.pts_ns) for track in faces}
        oldest_ns = scene.pts_ns - self.stream.gap_ns
        spent = {track: scene.pts_ns if track in faces else at for track, at in self.spent_ns.items()}
        self.spent_ns = {track: at for track, at in spent.items() if at >= oldest_ns}
        counted = [track for track in faces if track not in self.spent_ns]
        self.stream.add(scene.pts_ns, is_fake=bool(counted))
        heir = min(counted, key=self.since_ns.__getitem__, default=None)
        return {track: self._read(scene, face, is_heir=track == heir) for track, face in faces.items()}

    def tick(self, state: StreamState, mono_ns: int) -> None:
        """Faces are seen in scenes."""

    def fired(self, subject: Subject) -> None:
        if subject is not None and self.stream.newest_ns is not None:
            self.spent_ns[subject] = self.stream.newest_ns
        self.stream.held_ns = 0

    def _begin(self) -> None:
        self.since_ns, self.spent_ns = {}, {}
        self.stream = _FakeTime(self.rule.resolve_after_s * 1e9)

    def _read(self, scene: Scene, face: FaceScore, *, is_heir: bool) -> Reading:
        """``is_heir``: one face alone may fire for the time of others."""
        for_ns = self.rule.for_s * 1e9
        is_due = scene.pts_ns - self.since_ns[face.track_id] >= for_ns
        with_others = is_heir and not is_due and self.stream.held_ns >= for_ns
        held = "is fake, as faces there have been for" if with_others else "has been fake for"
        words = f"face {face.track_id} on {scene.stream} {held} {self.rule.for_s:g} s{' in all' * with_others}"
        return Reading(is_due or with_others, words, face.fake_probability)


@dataclass
class _Windows:
    """Which of a face's last windows were above the limit."""

    are_above: deque[bool]
    newest_pts_ns: int | None = None
    earlier: tuple[bool, ...] = ()
    """The last windows of a face that had left just before this one came."""
    has_fired: bool = False

    @property
    def own(self) -> int:
        return sum(self.are_above)

    @property
    def all(self) -> tuple[bool, ...]:
        """As many as count, oldest first."""
        return (*self.earlier, *self.are_above)[-(self.are_above.maxlen or 1) :]

    def add(self, face: FaceScore, above: float) -> None:
        """A window counts once, however often its score is shown."""
        pts_ns = face.scored_pts_ns
        if pts_ns is None or face.fake_probability is None or pts_ns == self.newest_pts_ns:
            return
        self.newest_pts_ns = pts_ns
        self.are_above.append(face.fake_probability > above)


@dataclass
class _WindowCount:
    """The last windows of each face in view, and of the worst that left just before."""

    rule: ProbabilityAbove
    clock: _MediaClock = field(default_factory=_MediaClock)
    windows: dict[TrackId, _Windows] = field(default_factory=dict)
    left: tuple[bool, ...] = ()
    """Windows of the face that left with most of them above the limit: who leaves the view before there are enough
    comes back under another number."""
    left_ns: int = 0
    """When it was last in view."""
    seen_ns: int = 0
    """When the newest scene was."""

    def scene(self, scene: Scene) -> Readings:
        if self.clock.is_cut(scene):
            self.windows, self.left = {}, ()
        faces = {face.track_id: face for face in _faces(scene)}
        self._leave(windows for track, windows in self.windows.items() if track not in faces)
        if scene.pts_ns - self.left_ns > self.rule.resolve_after_s * 1e9:
            self.left = ()
        self.seen_ns = scene.pts_ns
        self.windows = {track: self.windows.get(track) or self._new() for track in faces}
        for track, face in faces.items():
            self.windows[track].add(face, self.rule.above)
        heir = max(faces, key=self._with_earlier, default=None)
        return {track: self._read(scene, faces[track]) for track in faces if self._holds(track, is_heir=track == heir)}

    def tick(self, state: StreamState, mono_ns: int) -> None:
        """Faces are seen in scenes."""

    def fired(self, subject: Subject) -> None:
        """What left before is told with it, for whichever face."""
        self.left = ()
        for track, windows in self.windows.items():
            if track == subject:
                windows.has_fired = True
            elif not windows.has_fired:
                windows.earlier = ()

    def _new(self) -> _Windows:
        return _Windows(deque(maxlen=self.rule.of), earlier=self.left)

    def _leave(self, gone: Iterable[_Windows]) -> None:
        """The worst is kept; a harmless one does not take its place."""
        for windows in gone:
            if not windows.has_fired and any(windows.all) and _badness(windows.all) >= _badness(self.left):
                self.left, self.left_ns = windows.all, self.seen_ns

    def _with_earlier(self, track: TrackId) -> int:
        """How many are above the limit; a face that has none of its own is not blamed for another's."""
        windows = self.windows[track]
        return sum(windows.all) if windows.own else 0

    def _holds(self, track: TrackId, *, is_heir: bool) -> bool:
        """``is_heir``: one face alone may fire for the windows of others."""
        windows = self.windows[track]
        may_add = is_heir or windows.has_fired
        return max(windows.own, self._with_earlier(track) if may_add else 0) >= self.rule.windows

    def _read(self, scene: Scene, face: FaceScore) -> Reading:
        rule = self.rule
        counted = f"in {rule.windows} of {rule.of} windows" if rule.of > 1 else "in a window"
        is_alone = self.windows[face.track_id].own >= rule.windows
        whose = f"face {face.track_id} on {scene.stream}" + (" was" if is_alone else " and one before it were")
        words = f"{whose} more than {rule.above:g} likely fake {counted}"
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

    def fired(self, subject: Subject) -> None:
        """There is one subject, and one alert of it."""


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

    def fired(self, subject: Subject) -> None:
        """There is one subject, and one alert of it."""


def _badness(are_above: tuple[bool, ...]) -> tuple[int, int]:
    """So many windows are above the limit; of two that have as many, the one with fewer below it is worse."""
    above = sum(are_above)
    return above, above - len(are_above)


def _faces(scene: Scene) -> tuple[FaceScore, ...]:
    """A stream that does not play may still show its last word: nothing is counted of that."""
    return scene.faces if scene.state is StreamState.PLAYING else ()
