"""Who takes part in the analysis: asked for from any thread, settled by the analysis thread between two rounds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from stream.board import SceneBoard
from stream.errors import UnmaskError, UsageError
from stream.pipeline import StreamAnalysis
from stream.ports import Source
from stream.types import StreamState

ANSWER_TIMEOUT_S = 10.0
"""How long a stream that is to go waits for the end of the round that it takes part in: inference may hang."""
OVER = (StreamState.ENDED, StreamState.FAILED)


@dataclass
class RunningStream:
    """A source, what the analysis remembers of it, and where its scenes go."""

    source: Source
    analysis: StreamAnalysis
    board: SceneBoard
    failure: UnmaskError | None = None
    failed_reads: int = 0
    """In a row."""

    @property
    def state(self) -> StreamState:
        return StreamState.FAILED if self.failure is not None else self.source.state


@dataclass(frozen=True)
class _Wish:
    stream: RunningStream
    is_coming: bool
    done: threading.Event = field(default_factory=threading.Event)
    afterwards: Callable[[], None] = lambda: None


class Roster:
    """The streams of the next round. Its lock is held for a look at a list, never during a round."""

    def __init__(self, streams: Sequence[RunningStream], wake: threading.Event) -> None:
        """``wake`` is set when there is something to settle."""
        self._lock, self._wake = threading.Lock(), wake
        self._wishes = deque(_Wish(stream, is_coming=True) for stream in streams)
        self._held = 0
        self._is_closed = False
        self._streams: tuple[RunningStream, ...] = ()

    def bring_in(self, stream: RunningStream) -> None:
        """Analysed from the next round on. Raises UsageError when there will be none."""
        if not self._ask(_Wish(stream, is_coming=True)):
            raise UsageError("the run is over: start another one to watch more")

    def take_out(
        self,
        stream: RunningStream,
        timeout_s: float | None = None,
        *,
        afterwards: Callable[[], None] = lambda: None,
    ) -> bool:
        """Whether the analysis has let go of it for good; False when it did not answer in time.

        ``afterwards`` is called once it has, be it late, on the analysis thread: nothing is told of the stream then.
        """
        timeout_s = ANSWER_TIMEOUT_S if timeout_s is None else timeout_s
        wish = _Wish(stream, is_coming=False, afterwards=afterwards)
        return not self._ask(wish) or wish.done.wait(timeout_s)

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Meanwhile the run goes on though every stream may be over: one is about to come."""
        with self._lock:
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1

    def settle(
        self, on_came: Callable[[RunningStream], None], on_left: Callable[[RunningStream], None]
    ) -> tuple[RunningStream, ...]:
        """Who takes part from now on. Each that came or went is told of, in order; by the analysis thread only."""
        while (wish := self._next()) is not None:
            others = tuple(stream for stream in self._streams if stream is not wish.stream)
            self._streams = (*others, wish.stream) if wish.is_coming else others
            (on_came if wish.is_coming else on_left)(wish.stream)
            wish.afterwards()
            wish.done.set()
        return self._streams

    def close_if_over(self) -> bool:
        """Whether every stream is over and none is about to come; then none is let in any more.

        Without a stream it is not over: more may come.
        """
        with self._lock:
            is_waited_for = self._wishes or self._held or not self._streams
            if not is_waited_for and all(stream.state in OVER for stream in self._streams):
                self._is_closed = True
            return self._is_closed

    def close(self) -> None:
        """There is no further round: nobody need wait for one."""
        with self._lock:
            self._is_closed = True
            wishes, self._wishes = tuple(self._wishes), deque()
        for wish in wishes:
            wish.done.set()

    def _ask(self, wish: _Wish) -> bool:
        with self._lock:
            if self._is_closed:
                return False
            self._wishes.append(wish)
        self._wake.set()
        return True

    def _next(self) -> _Wish | None:
        with self._lock:
            return self._wishes.popleft() if self._wishes else None
