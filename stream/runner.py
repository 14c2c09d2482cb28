"""The analysis thread: takes the newest frame of every stream, steps the analysis once for all, hands out scenes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from engines.errors import InferenceError
from stream.errors import ModelError, OutputError, UnmaskError
from stream.pipeline import Analyzer
from stream.ports import Clock, Observer, Sink
from stream.roster import OVER, Roster, RunningStream
from stream.types import Frame, Scene, StreamName, StreamState

log = logging.getLogger(__name__)

IDLE_WAIT_S = 0.1
"""Longest sleep without a frame: how soon a change of state reaches the table."""
MAX_FAILED_STEPS = 25
"""Failed steps in a row after which the model is given up."""
FAILURE_TOLD_EVERY_S = 60.0
"""How often at most the log names a step that failed."""
MAX_FAILED_READS = 25
"""Frames in a row that cannot be read after which a live stream is given up."""

Due = tuple[RunningStream, Frame]
"""A borrowed frame that is to be analysed."""


class Runner:
    """Owns the analysis thread. ``wake`` is set by sources when a frame is there."""

    def __init__(
        self,
        analyzer: Analyzer,
        streams: Sequence[RunningStream],
        sinks: Sequence[Sink],
        observer: Observer,
        *,
        wake: threading.Event,
        on_lost: Callable[[OutputError], None] = lambda _: None,
        between: Callable[[], None] = lambda: None,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        """``on_lost`` is told of a sink that failed and is left out from then on.

        ``between`` is called after each round, on the analysis thread, which owns the engines: it must be brief.
        """
        self._analyzer = analyzer
        self.roster = Roster(streams, wake)
        """Streams come and go through it, from any thread."""
        self._streams = tuple(streams)
        self._sinks = list(sinks)
        self._observer = observer
        self._clock = clock
        self._wake = wake
        self._on_lost = on_lost
        self._between = between
        self._stop = threading.Event()
        self._failed_steps = 0
        self._failure_told_ns: int | None = None
        self._told_ratios: dict[StreamName, float] = {}
        self._thinned_to: dict[StreamName, int] = {}
        """What overload costs each, as their scenes say it."""
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)
        self.finished = threading.Event()
        """Set when every stream is over (one without streams waits for some), after ``stop``, or after a failure."""
        self.failure: BaseException | None = None
        """Why the thread gave up; raised again by ``join``."""
        self.rounds = 0
        """Times that the thread has looked at its streams: grows for as long as it is alive and not stuck."""

    def start(self) -> None:
        self._settle()
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after its current step."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float = 10.0) -> None:
        """Wait for the thread; raises what stopped it, or ModelError when inference hangs."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise ModelError(f"inference has not answered for {timeout_s:.0f} s: restart, or take another model")
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # top of the thread: handed to the owner by join()
            self.failure = error
        finally:
            self.roster.close()
            self.finished.set()

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self._settle()
            self.rounds += 1
            had_frames = self.round()
            self._between()
            self._publish_states()
            if had_frames:
                continue
            if self.roster.close_if_over():
                return
            self._wake.wait(IDLE_WAIT_S)

    def _settle(self) -> None:
        """Let in who comes and let go of who leaves; nothing of a stream is touched after that."""
        before, self._streams = self._streams, self.roster.settle(self._welcome, self._part_with)
        if self._streams is not before:
            self._tell_sampling()

    def _welcome(self, stream: RunningStream) -> None:
        self._analyzer.scheduler.join(stream.analysis.name, stream.analysis.plan)
        self._told_ratios.pop(stream.source.name, None)

    def _part_with(self, stream: RunningStream) -> None:
        self._analyzer.scheduler.leave(stream.analysis.name)
        self._told_ratios.pop(stream.source.name, None)
        self._thinned_to.pop(stream.source.name, None)
        self._observer.faces_tracked(stream.source.name, 0)
        newest = stream.board.newest() or Scene(stream.source.name, published_ns=self._clock())
        self._publish(stream, replace(newest, state=StreamState.ENDED, faces=(), is_last=True))

    def round(self) -> bool:
        """Read every stream once and analyse what is due; False when no stream had a frame."""
        with ExitStack() as borrowed:
            due, has_frames = self._read_due(self._streams, borrowed)
            if due:
                self._await_others(due, borrowed)
                self._step(self._in_turn(due))
        self._tell_load()
        return has_frames

    def _read_due(self, streams: Sequence[RunningStream], borrowed: ExitStack) -> tuple[list[Due], bool]:
        """The newest frames that are due, borrowed, and whether there was any frame at all."""
        due, has_frames = list[Due](), False
        for stream in streams:
            for frame in self._read(stream):
                has_frames = True
                if self._analyzer.is_due(stream.analysis, frame):
                    due.append((stream, borrowed.enter_context(frame)))
                else:
                    frame.release()
        return due, has_frames

    def _await_others(self, due: list[Due], borrowed: ExitStack) -> None:
        """Within the batching window, add the due frames of live streams whose look falls into it."""
        scheduler = self._analyzer.scheduler
        window = scheduler.batch_window(self._clock())
        if not window.length_ns or not all(stream.source.is_live for stream, _ in due):
            return
        had = {stream.source.name for stream, _ in due}
        missing = [s for s in self._streams if s.source.name not in had and self._is_expected(s, window.ends_ns)]
        while (left_s := window.left_s(self._clock(), len(missing))) > 0 and not self._stop.is_set():
            self._wake.wait(left_s)
            self._wake.clear()
            more, _ = self._read_due(missing, borrowed)
            due += more
            missing = [stream for stream in missing if all(stream is not came for came, _ in more)]

    def _is_expected(self, stream: RunningStream, until_ns: int) -> bool:
        is_playing = stream.source.is_live and stream.state is StreamState.PLAYING
        return is_playing and self._analyzer.is_expected(stream.analysis, until_ns)

    def _in_turn(self, due: Sequence[Due]) -> list[Due]:
        """Those that are searched in this round; the others are looked at in their next frame, and counted."""
        taken = self._analyzer.scheduler.looks_in_turn([stream.analysis.name for stream, _ in due])
        for stream, _ in due:
            if stream.analysis.name not in taken:
                self._observer.frame_dropped(stream.source.name, "analysis", "turn")
        return [(stream, frame) for stream, frame in due if stream.analysis.name in taken]

    def _tell_load(self) -> None:
        """Say so when the sampling was thinned out, or is so no more."""
        scheduler = self._analyzer.scheduler
        before = scheduler.level
        if not scheduler.update_load(self._clock()):
            return
        self._observer.overload_level(scheduler.level)
        self._tell_sampling()
        names = {stream.source.name: scheduler.stride_of(stream.analysis.name) for stream in self._streams}
        told = ", ".join(f"{name} 1/{stride}" for name, stride in names.items())
        severity = logging.WARNING if scheduler.level > before else logging.INFO
        log.log(severity, "overload level %d: sampled slots are now %s", scheduler.level, told)

    def _tell_sampling(self) -> None:
        """To each stream its own, where it is another now: a rung costs whom it does by who else is there."""
        scheduler = self._analyzer.scheduler
        for stream in self._streams:
            name, ratio = stream.source.name, 1 / scheduler.stride_of(stream.analysis.name)
            self._thinned_to[name] = scheduler.thinned_to(stream.analysis.name)
            if self._told_ratios.get(name) != ratio:
                self._told_ratios[name] = ratio
                self._observer.sampling_ratio(name, ratio)

    def _read(self, stream: RunningStream) -> list[Frame]:
        if stream.failure is not None:
            return []
        try:
            frame = stream.source.read(0.0)
        except UnmaskError as error:
            self._lose_frame(stream, error)
            return []
        if frame is None:
            return []
        stream.failed_reads = 0
        return [frame]

    def _lose_frame(self, stream: RunningStream, error: UnmaskError) -> None:
        """A live source may give a bad frame now and then; a file, or too many in a row, ends that stream alone."""
        stream.failed_reads += 1
        self._observer.frame_dropped(stream.source.name, "analysis", "error")
        if stream.source.is_live and stream.source.state not in OVER and stream.failed_reads < MAX_FAILED_READS:
            return
        stream.failure = error
        self._observer.stream_state(stream.source.name, StreamState.FAILED)

    def _step(self, due: Sequence[Due]) -> None:
        began_ns = self._clock()
        try:
            scenes = self._analyzer.step([(stream.analysis, frame) for stream, frame in due])
            self._analyzer.scheduler.worked([stream.analysis.name for stream, _ in due], began_ns, self._clock())
        except InferenceError as error:
            self._count_failure(due, error)
            return
        self._failed_steps = 0
        for (stream, _), scene in zip(due, scenes, strict=True):
            self._publish(stream, replace(scene, state=stream.state))

    def _count_failure(self, due: Sequence[Due], error: InferenceError) -> None:
        self._failed_steps += 1
        self._log_failure(error)
        for stream, _ in due:
            self._observer.frame_dropped(stream.source.name, "analysis", "error")
        if self._failed_steps >= MAX_FAILED_STEPS:
            raise ModelError(f"the model failed {self._failed_steps} times in a row: {error}") from error

    def _log_failure(self, error: InferenceError) -> None:
        """The first at once, for it may be the only one; those after it rarely, for each frame may be one."""
        now_ns, told_ns = self._clock(), self._failure_told_ns
        if told_ns is None or now_ns - told_ns >= FAILURE_TOLD_EVERY_S * 1e9:
            self._failure_told_ns = now_ns
            log.warning("an inference failed, its frames are left out: %s", error)

    def _publish(self, stream: RunningStream, scene: Scene) -> None:
        stream.board.publish(scene)
        for sink in tuple(self._sinks):
            self._send(sink, scene)

    def _send(self, sink: Sink, scene: Scene) -> None:
        """A sink that fails is left out and told of; the video goes on."""
        try:
            sink.publish(scene)
        except OutputError as error:
            self._sinks.remove(sink)
            self._on_lost(error)

    def _publish_states(self) -> None:
        """Show what changed without a frame: a lost stream has no faces; an ended one keeps its last word."""
        for stream in self._streams:
            newest, state = stream.board.newest(), stream.state
            thinned_to = self._thinned_to.get(stream.source.name, 1)
            keeps = state in (StreamState.PLAYING, StreamState.ENDED)
            if newest is not None and _says(newest, state, thinned_to) and (keeps or not newest.faces):
                continue
            newest = newest or Scene(stream.source.name, published_ns=self._clock())
            if state is not StreamState.PLAYING:
                self._observer.faces_tracked(stream.source.name, 0)
            faces = newest.faces if keeps else ()
            self._publish(stream, replace(newest, state=state, faces=faces, is_last=False, thinned_to=thinned_to))


def _says(scene: Scene, state: StreamState, thinned_to: int) -> bool:
    return (scene.state, scene.thinned_to, scene.is_last) == (state, thinned_to, False)
