"""The life of alerts: they fire once, hold while their reason holds, resolve, and keep quiet for a while.

Pure: scenes, states and time come in, alerts come out. One alert at most is alive for each rule, stream and face.
Used under its owner's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stream.alerts.alert import Alert, AlertState
from stream.alerts.message import ended
from stream.alerts.rules import Count, Now, Reading, Readings, Rule, Subject
from stream.types import Scene, StreamName, StreamState

MOST_ALIVE = 64
"""Alerts of one rule and stream that are alive at once; what else is due waits, as in a cool-down."""


@dataclass
class _Alive:
    """An alert that has fired and has not resolved."""

    alert: Alert
    fired_ns: int
    gone_since_ns: int | None = None
    """Monotonic: since when its reason is gone; None while it holds."""


@dataclass
class _Watch:
    """One rule on one stream."""

    rule: Rule
    count: Count
    alive: dict[Subject, _Alive] = field(default_factory=dict)


class RuleBook:
    """All rules on all streams. Its memory is bounded by the faces in view and the alerts that are alive."""

    def __init__(self, rules: Sequence[Rule], new_id: Callable[[Now], str]) -> None:
        """``new_id``: a name that no other alert has, ever."""
        self._rules, self._new_id = tuple(rules), new_id
        self._watches: dict[StreamName, list[_Watch]] = {}
        self._fired_ns: dict[tuple[str, StreamName], int] = {}
        """When a rule last fired for a stream, for as long as it cools down: a stream that comes again remembers it."""

    def scene(self, scene: Scene, now: Now) -> list[Alert]:
        """What fires by this scene. The last scene of a stream resolves all that is alive of it."""
        if scene.is_last:
            return self._leave(scene.stream, now)
        fired = list[Alert]()
        for watch in self._watching(scene.stream):
            readings = watch.count.scene(scene)
            if readings is not None:
                fired += self._see(watch, readings, scene, now)
        return fired

    def tick(self, states: Mapping[StreamName, StreamState], now: Now) -> list[Alert]:
        """What fires or resolves with time. ``states``: of all streams that are watched; others are left."""
        changed = [alert for stream in [*self._watches] if stream not in states for alert in self._leave(stream, now)]
        for stream, state in states.items():
            for watch in self._watching(stream):
                readings = watch.count.tick(state, now.mono_ns)
                if readings is not None:
                    changed += self._see(watch, readings, Scene(stream), now)
                changed += self._resolve(watch, now)
        self._forget_cooled(now)
        return changed

    def end(self, now: Now) -> list[Alert]:
        """Resolves all that is alive, and says that it was not seen to end."""
        return [
            _resolved(alive, now, "still so when the watch ended, after {}")
            for watches in self._watches.values()
            for watch in watches
            for alive in _taken(watch.alive)
        ]

    def _watching(self, stream: StreamName) -> list[_Watch]:
        if stream not in self._watches:
            about = (rule for rule in self._rules if rule.is_about(stream))
            self._watches[stream] = [_Watch(rule, rule.count(stream)) for rule in about]
        return self._watches[stream]

    def _leave(self, stream: StreamName, now: Now) -> list[Alert]:
        watches = self._watches.pop(stream, [])
        return [_resolved(a, now, "no longer watched, after {}") for watch in watches for a in _taken(watch.alive)]

    def _see(self, watch: _Watch, readings: Readings, scene: Scene, now: Now) -> Iterator[Alert]:
        for subject, alive in watch.alive.items():
            since_ns = now.mono_ns if alive.gone_since_ns is None else alive.gone_since_ns
            alive.gone_since_ns = None if subject in readings else since_ns
        for subject, reading in readings.items():
            if reading.is_due and subject not in watch.alive and self._may_fire(watch, scene.stream, now):
                yield self._fire(watch, subject, reading, scene, now)

    def _may_fire(self, watch: _Watch, stream: StreamName, now: Now) -> bool:
        fired_ns = self._fired_ns.get((watch.rule.name, stream))
        is_cool = fired_ns is None or now.mono_ns - fired_ns >= watch.rule.cool_down_s * 1e9
        return is_cool and len(watch.alive) < MOST_ALIVE

    def _fire(self, watch: _Watch, subject: Subject, reading: Reading, scene: Scene, now: Now) -> Alert:
        rule = watch.rule
        alert = Alert(
            id=self._new_id(now),
            rule=rule.name,
            kind=rule.kind,
            severity=rule.severity,
            state=AlertState.FIRING,
            stream=scene.stream,
            track_id=subject,
            began_at=now.wall_s,
            changed_at=now.wall_s,
            fake_probability=reading.fake_probability,
            message=reading.words,
            model=scene.model,
            backend=scene.backend,
        )
        watch.alive[subject] = _Alive(alert, now.mono_ns)
        self._fired_ns[rule.name, scene.stream] = now.mono_ns
        watch.count.fired(subject)
        return alert

    def _resolve(self, watch: _Watch, now: Now) -> list[Alert]:
        wait_ns = watch.rule.resolve_after_s * 1e9
        over = [
            subject
            for subject, alive in watch.alive.items()
            if alive.gone_since_ns is not None and now.mono_ns - alive.gone_since_ns >= wait_ns
        ]
        return [_resolved(watch.alive.pop(subject), now, "over after {}") for subject in over]

    def _forget_cooled(self, now: Now) -> None:
        cool_down_s = {rule.name: rule.cool_down_s for rule in self._rules}
        self._fired_ns = {
            key: fired_ns
            for key, fired_ns in self._fired_ns.items()
            if now.mono_ns - fired_ns < cool_down_s[key[0]] * 1e9
        }


def _taken(alive: dict[Subject, _Alive]) -> list[_Alive]:
    """All of them, which are then no longer there."""
    taken = [*alive.values()]
    alive.clear()
    return taken


def _resolved(alive: _Alive, now: Now, how: str) -> Alert:
    """``how`` leaves a place for how long ago it was told."""
    lasted_s = (now.mono_ns - alive.fired_ns) / 1e9
    return ended(alive.alert, now.wall_s, how.format(f"{lasted_s:.0f} s"))
