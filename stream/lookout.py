"""What the main thread sees of the streams while they run, and whom it tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream.live_streams import StreamStatus
from stream.service_notify import ServiceNotify
from stream.types import StreamName, StreamState
from stream.web.ports import Readiness
from stream.web.services import tell_streams


@dataclass(frozen=True)
class Playing:
    """Told once for each stream, when it has played for a moment: what really runs, by GStreamer's names."""

    stream: StreamName
    decoder: str
    encoder: str | None


class Lookout:
    """Used by one thread, which looks again and again."""

    def __init__(self, readiness: Readiness, on_playing: Callable[[Playing], None], service: ServiceNotify) -> None:
        self._readiness, self._on_playing, self._service = readiness, on_playing, service
        self._told: set[StreamName] = set()

    def look(self, streams: Sequence[StreamStatus]) -> None:
        """All streams as they are now."""
        self._tell_playing(streams)
        tell_streams(self._readiness, streams)
        self._service.status(status_of([stream.state for stream in streams]))

    def _tell_playing(self, streams: Sequence[StreamStatus]) -> None:
        """As soon as a rate is known: then it has played for a moment. One that goes and comes back is told again."""
        self._told &= {stream.name for stream in streams}
        for stream in streams:
            if stream.fps and stream.decoder is not None and stream.name not in self._told:
                self._told.add(stream.name)
                self._on_playing(Playing(stream.name, stream.decoder, stream.encoder))


def status_of(states: Sequence[StreamState]) -> str:
    """Such as ``3 streams: 2 playing, 1 reconnecting``."""
    counts = Counter(state.value for state in states)
    told = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{len(states)} stream{'s' if len(states) != 1 else ''}: {told}"
