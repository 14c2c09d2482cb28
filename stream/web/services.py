"""What of a run the page shows and changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.runtime.swappable import RuntimeChange
from stream.live_streams import LiveStreams, StreamStatus
from stream.metrics import Metrics
from stream.observers import StreamFacts
from stream.parts import Parts
from stream.types import BoardReading, StreamState
from stream.web.ports import LiveVideo, Readiness
from stream.web.scenes import SceneHub


@dataclass(frozen=True)
class EngineFacts:
    """A network that runs."""

    stage: str
    """``detect`` or ``score``."""
    model: str
    backend: str
    precision: str
    why: str
    """Why on that runtime, in one line."""
    has_fallen_back: bool


@dataclass(frozen=True)
class WebServices:
    """Given by the run; all may be used from any thread."""

    streams: LiveStreams
    hub: SceneHub
    """A sink of the run."""
    metrics: Metrics
    readiness: Readiness
    engines: Callable[[], Sequence[EngineFacts]] = lambda: ()
    board: Callable[[], BoardReading | None] = lambda: None
    thresholds: tuple[float, float] | None = None
    """Fake probabilities: below the first a face is called real, above the second fake. None: not told."""
    video: LiveVideo | None = None
    """None: the page shows no video."""
    evidence: Path | None = None
    """The folder that alerts' evidence lies in, on the disk whose space is shown."""


def engine_facts(parts: Parts, facts: StreamFacts, changes: Mapping[str, RuntimeChange]) -> tuple[EngineFacts, ...]:
    """What runs now. ``changes``: the newest of each network's runtime, by its name, where there was one."""
    model, detector = parts.model, parts.detector
    began = {
        detector.name: ("detect", detector.backend_name, detector.precision, ""),
        model.spec.name: ("score", parts.scorer.backend_name, model.precision, model.why),
    }
    return tuple(
        _engine(name, *told, change=changes.get(name), has_fallen_back=name in facts.fallen_back)
        for name, told in began.items()
    )


def _engine(
    name: str,
    stage: str,
    backend: str,
    precision: str,
    why: str,
    *,
    change: RuntimeChange | None,
    has_fallen_back: bool,
) -> EngineFacts:
    now = (precision, why) if change is None else (change.precision, change.detail)
    return EngineFacts(stage, name, backend, *now, has_fallen_back)


def tell_streams(readiness: Readiness, streams: Sequence[StreamStatus]) -> None:
    """Ready once of each stream it is known how it is: that it plays, or why not."""
    unknown = [status.name for status in streams if status.state is StreamState.CONNECTING]
    why = f"waiting for {', '.join(unknown)}" if unknown else f"{len(streams)} known"
    readiness.set("streams", is_met=not unknown, why=why)
