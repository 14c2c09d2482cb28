"""What is going on, in the terminal: a live table, or one plain line a second where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stream.ports import Clock
from stream.types import FaceScore, QualityReason, Scene, StreamName, StreamState, Verdict

REDRAW_NS = 250_000_000
LINE_NS = 1_000_000_000
STYLES = {
    Verdict.WARMING_UP: "blue",
    Verdict.REAL: "green",
    Verdict.UNSURE: "yellow",
    Verdict.FAKE: "bold red",
}
GRAVITY = (Verdict.WARMING_UP, Verdict.REAL, Verdict.UNSURE, Verdict.FAKE)
NO_DROPS: Mapping[StreamName, int] = MappingProxyType({})


class TableSink:
    """A row per stream. Used by one thread; redraws four times a second at most."""

    def __init__(
        self,
        console: Console | None = None,
        *,
        drops: Mapping[StreamName, int] = NO_DROPS,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        """``drops``: frames dropped so far, by stream; looked at when a row is drawn."""
        self._console = console or Console()
        self._drops = drops
        self._clock = clock
        self._scenes: dict[StreamName, Scene] = {}
        self._shown_ns: dict[StreamName, int] = {}
        self._live: Live | None = None

    def publish(self, scene: Scene) -> None:
        before = self._scenes.get(scene.stream)
        self._scenes[scene.stream] = scene
        if scene.is_last:
            del self._scenes[scene.stream]
        if self._console.is_terminal:
            self._redraw()
        else:
            self._print(scene, is_news=scene.is_last or before is None or before.state is not scene.state)
        if scene.is_last:
            self._shown_ns.pop(scene.stream, None)

    def close(self) -> None:
        """Leaves the last table on the screen."""
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
            self._live = None

    def _redraw(self) -> None:
        if self._live is None:
            self._live = Live(self._table(), console=self._console, auto_refresh=False)
            self._live.start(refresh=True)
        elif self._is_time(StreamName(""), REDRAW_NS):
            self._live.update(self._table(), refresh=True)

    def _print(self, scene: Scene, *, is_news: bool) -> None:
        if self._is_time(scene.stream, LINE_NS) or is_news:
            self._console.print(plain_line(scene, self._dropped(scene)), markup=False, highlight=False, soft_wrap=True)

    def _is_time(self, stream: StreamName, period_ns: int) -> bool:
        now = self._clock()
        if now - self._shown_ns.get(stream, now - period_ns) < period_ns:
            return False
        self._shown_ns[stream] = now
        return True

    def _dropped(self, scene: Scene) -> int:
        return self._drops.get(scene.stream, 0)

    def _table(self) -> Table:
        table = Table(box=None, header_style="dim", pad_edge=False)
        for title in ("stream", "state", "verdict"):
            table.add_column(title)
        for title in ("fake", "faces", "fps", "latency", "dropped"):
            table.add_column(title, justify="right")
        for scene in self._scenes.values():
            table.add_row(*row_of(scene, self._dropped(scene)))
        return table


def row_of(scene: Scene, dropped: int) -> tuple[str | Text, ...]:
    """The cells of one stream: its gravest face speaks for it."""
    face = gravest(scene.faces)
    verdict = Text("-") if face is None else Text(verdict_words(face), style=STYLES[face.verdict])
    return (
        Text(scene.stream),
        Text(_state_words(scene), style="yellow" if scene.thinned_to > 1 else ""),
        verdict,
        _per_cent(face),
        str(len(scene.faces)),
        f"{scene.fps:.1f}",
        f"{scene.latency_ms:.0f} ms" if scene.latency_ms else "-",
        str(dropped),
    )


def plain_line(scene: Scene, dropped: int) -> str:
    """One stream in one line."""
    if scene.is_last:
        return f"{scene.stream}: no longer watched"
    if scene.state is not StreamState.PLAYING:
        return f"{scene.stream}: {scene.state.value}"
    faces = ", ".join(_face_words(face) for face in scene.faces) or "no face"
    thinned = f", sampling 1/{scene.thinned_to}" if scene.thinned_to > 1 else ""
    return f"{scene.stream}: {faces} | {scene.fps:.1f} fps, {scene.latency_ms:.0f} ms, {dropped} dropped{thinned}"


def _state_words(scene: Scene) -> str:
    """With what overload costs this stream, for as long as it does."""
    return f"{scene.state.value}, 1/{scene.thinned_to}" if scene.thinned_to > 1 else scene.state.value


def gravest(faces: tuple[FaceScore, ...]) -> FaceScore | None:
    """The face with the gravest verdict; among equals the most suspicious."""
    return max(faces, key=lambda face: (GRAVITY.index(face.verdict), face.fake_probability or 0.0), default=None)


def verdict_words(face: FaceScore) -> str:
    return f"{face.verdict.value} ({_reason_words(face.reason)})" if face.reason else face.verdict.value


def _reason_words(reason: QualityReason) -> str:
    return reason.value.replace("_", " ")


def _face_words(face: FaceScore) -> str:
    return f"#{face.track_id} {verdict_words(face)} {_per_cent(face)}".removesuffix(" -")


def _per_cent(face: FaceScore | None) -> str:
    """Only for a verdict that stands on the number."""
    if face is None or face.fake_probability is None or face.verdict not in (Verdict.REAL, Verdict.FAKE):
        return "-"
    return f"{100 * face.fake_probability:.0f}%"
