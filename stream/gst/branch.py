"""One part of the output: a pipeline of its own, fed with buffers, so that its failure and its slowness stay in it.

A tee would hand one branch's error to all; between branches buffers are passed by reference, which costs some
microseconds and no copy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

from stream.errors import OutputError  # noqa: E402

Gst.init(None)

ROOM_POLL_S = 0.002
"""How long a file's reader waits before it looks for room again."""
FINISH_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
"""How long a branch may take to finish and to stop once one did not finish: a write to a hung disk never returns."""

OnSample = Callable[[Any, Any], None]
"""Called with (Gst.Buffer, Gst.Caps) of each buffer that leaves the branch, on its streaming thread."""


def _nothing(*_: Any) -> None: ...


@dataclass(frozen=True)
class BranchHooks:
    """Whom a branch tells. All are called on GStreamer's threads and must return at once."""

    on_error: Callable[[OutputError], None]
    """Once at most."""
    error_from: Callable[[Any, str | None], OutputError]
    """Translates GStreamer's error and its debug text."""
    on_sample: OnSample = _nothing
    on_start: Callable[[Any, Any], None] = _nothing
    """With (pipeline, first caps), before it runs: for what depends on the frame's size."""


@dataclass
class Branch:
    """A pipeline whose appsrc is named ``in`` and whose appsink, if any, ``out``. It starts with the first buffer."""

    pipeline: Any
    hooks: BranchHooks
    waits: bool
    """For files: ``push`` waits for room. For live sources a full branch refuses the buffer."""
    max_buffers: int = 4
    abort: threading.Event = field(default_factory=threading.Event)
    """Set when a branch did not finish in time: nobody waits for room any more. Shared by branches that feed each
    other, since the thread that one of them must join may wait in the next."""
    _caps: Any = None
    _handler: int | None = None
    _failed: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._source = self.pipeline.get_by_name("in")
        for name, value in (("max-buffers", self.max_buffers), ("max-bytes", 0), ("block", False)):
            self._source.set_property(name, value)
        self._source.set_property("format", Gst.Format.TIME)
        sink = self.pipeline.get_by_name("out")
        if sink is not None:
            sink.set_property("emit-signals", True)
            self._handler = sink.connect("new-sample", self._on_sample)
        self.pipeline.get_bus().set_sync_handler(self._on_message)

    @property
    def has_failed(self) -> bool:
        return self._failed.is_set()

    def push(self, buffer: Any, caps: Any) -> bool:
        """Feed one buffer; False when it was not taken: no room, failed, or closed."""
        if self._failed.is_set() or self._closed.is_set():
            return False
        if self._caps is None:
            self._start(caps)
        if not self._finds_room():
            return False
        if not self._caps.is_equal(caps):
            self._set_caps(caps)
        return bool(self._source.emit("push-buffer", buffer) == Gst.FlowReturn.OK)

    def finish(self, timeout_s: float | None = None) -> bool:
        """Let everything inside come out, then stop; False when it did not in time. Calling it again does nothing.

        ``timeout_s``: FINISH_TIMEOUT_S unless given. Returns in bounded time, whatever hangs.
        """
        if self._closed.is_set():
            return True
        self._closed.set()
        if self._caps is not None and not self._failed.is_set():
            self._source.emit("end-of-stream")
            self._await_end(FINISH_TIMEOUT_S if timeout_s is None else timeout_s)
        self._stop()
        return self._ended.is_set() or self._caps is None

    def send_upstream(self, event: Any) -> None:
        """An event for the elements before ``out``, such as a request for a key frame."""
        sink = self.pipeline.get_by_name("out")
        if sink is not None:
            sink.get_static_pad("sink").push_event(event)

    def _start(self, caps: Any) -> None:
        self.hooks.on_start(self.pipeline, caps)
        self._set_caps(caps)
        self.pipeline.set_state(Gst.State.PLAYING)

    def _await_end(self, timeout_s: float) -> None:
        """Aborts before anything is stopped: who waits for room here would hold the thread that is to be joined."""
        patience_s = min(timeout_s, STOP_TIMEOUT_S) if self.abort.is_set() else timeout_s
        if not self._ended.wait(patience_s):
            self.abort.set()

    def _stop(self) -> None:
        """On a thread that may be left behind: stopping joins the streaming thread, which a hung disk can hold."""
        stopping = threading.Thread(target=self._set_null, name="output-stop", daemon=True)
        stopping.start()
        stopping.join(STOP_TIMEOUT_S if self.abort.is_set() else FINISH_TIMEOUT_S)

    def _set_null(self) -> None:
        self.pipeline.set_state(Gst.State.NULL)
        self.pipeline.get_bus().set_sync_handler(None)
        self.pipeline.get_bus().set_flushing(True)
        if self._handler is not None:  # it holds this branch, which holds the pipeline: neither would ever be freed
            self.pipeline.get_by_name("out").disconnect(self._handler)
            self._handler = None

    def _set_caps(self, caps: Any) -> None:
        self._caps = caps
        self._source.set_property("caps", caps)

    def _finds_room(self) -> bool:
        while self._source.get_property("current-level-buffers") >= self.max_buffers:
            if not self.waits or self._failed.wait(ROOM_POLL_S) or self._ended.is_set() or self.abort.is_set():
                return False
        return True

    def _on_sample(self, sink: Any) -> Any:
        sample = sink.emit("pull-sample")
        try:
            if sample is not None:
                self.hooks.on_sample(sample.get_buffer(), sample.get_caps())
        except Exception as error:  # top of GStreamer's call into Python: handed to the owner as the branch's failure
            self._fail(OutputError(f"the video output has stopped: {error!r}"))
            return Gst.FlowReturn.ERROR
        return Gst.FlowReturn.OK

    def _on_message(self, bus: Any, message: Any) -> Any:
        """On whichever thread posts: only marks what happened.

        A handler that drops a message must free it (gstbus.h, GstBusSyncHandler), which Python cannot: it would keep
        its element, and that one the pipeline. So each is passed on to the bus, and taken off it with the next.
        """
        while bus.pop() is not None:
            pass
        if message.type == Gst.MessageType.EOS:
            self._ended.set()
        elif message.type == Gst.MessageType.ERROR and not self._failed.is_set():
            self._fail(self.hooks.error_from(*message.parse_error()))
        return Gst.BusSyncReply.PASS

    def _fail(self, error: OutputError) -> None:
        self._failed.set()
        self._ended.set()
        self.hooks.on_error(error)


def parsed(launch: str) -> Any:
    """A pipeline from launch text that this room wrote; user text comes in as properties only.

    Raises OutputError that names the missing element.
    """
    try:
        return Gst.parse_launch(launch)
    except Exception as error:  # GLib.Error, which gi makes at run time
        raise OutputError(f"cannot build the video output ({error}); `unmask doctor` says what to install") from error
