"""One running pipeline: GStreamer's objects in here, plain values out.

A session is used once. Frames leave either through ``on_sample``, on GStreamer's thread, or through ``pull``, on the
reader's; the bus is polled by whoever owns the session, so no main loop is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import GLib, GObject, Gst, GstApp  # noqa: E402, F401 - GstApp gives appsink its methods

from stream.errors import MissingPartError  # noqa: E402
from stream.gst.codecs import RAW, decoder_ranks  # noqa: E402
from stream.gst.damage import MAX_IN_DECODER, DamageMarks, Entrance  # noqa: E402
from stream.gst.faults import (  # noqa: E402
    CUT_OFF,
    END,
    NO_VIDEO,
    NOT_STARTED,
    UNTRUSTED,
    Fault,
    GstError,
    fault_from_error,
)
from stream.gst.heap import give_back, keep_few_arenas  # noqa: E402
from stream.gst.launch import Launch  # noqa: E402

Gst.init(None)
keep_few_arenas()

UNTOLD_AFTER_S = 0.5
"""How long the error of a demuxer that gave up may take to come; see ``_given_up``."""
BEST_RANK = 512
"""Above all that plugins claim for themselves: our table decides which decoder is taken."""


class VideoTap(Protocol):
    """Takes every decoded frame of a source: the way to the overlaid video."""

    def push(self, sample: Any, segment: int) -> None:
        """``sample``: a Gst.Sample of I420 or NV12 video, shared with others: copy before writing into it.

        Live sources call it on GStreamer's thread, where it must return at once; files on the reader's, where it may
        wait.
        """


class PacketTap(Protocol):
    """Takes every encoded picture on its way into the decoder. GStreamer's thread calls it: it must return at once."""

    def begin(self) -> None:
        """A decoder was opened."""

    def push(self, buffer: Any, caps: Any) -> None:
        """``buffer``: a Gst.Buffer that the decoder shares: never written into."""


def element_exists(name: str) -> bool:
    """Whether this machine has a GStreamer element of that name."""
    return Gst.ElementFactory.find(name) is not None


@lru_cache(maxsize=64)
def element_runs(name: str) -> bool:
    """Whether the element is there and finds its device: hardware codecs exist on machines that lack the hardware."""
    element = Gst.ElementFactory.make(name, None)
    if element is None:
        return False
    result = element.set_state(Gst.State.READY)
    element.set_state(Gst.State.NULL)
    return bool(result != Gst.StateChangeReturn.FAILURE)


@lru_cache(maxsize=1)
def prefer_our_decoders() -> None:
    """Give the decoders of our table, in its order, the highest ranks; once per process."""
    for name, rank in decoder_ranks(element_exists, BEST_RANK).items():
        Gst.ElementFactory.find(name).set_rank(rank)


class GstSession:
    """A pipeline from its launch text to its end. ``start``, ``fault`` and ``stop`` belong to one owner thread."""

    def __init__(
        self,
        launch: Launch,
        *,
        on_sample: Callable[[Any], None] | None = None,
        on_waiting: Callable[[], None] | None = None,
        on_decoded: Callable[[float], None] | None = None,
        packets: PacketTap | None = None,
    ) -> None:
        """All callbacks run on GStreamer's threads and must return at once.

        Pictures that were made from broken ones are marked: see stream.gst.damage.
        ``on_sample`` gets every decoded Gst.Sample; without it ``pull`` does. ``on_waiting``: there is something to
        pull. ``on_decoded``: seconds that the decoder held a picture, reordering included; raw sources have none.
        ``packets`` is given what goes into the decoder.
        Raises MissingPartError when the pipeline cannot be built here.
        """
        prefer_our_decoders()
        self._on_sample, self._on_waiting, self._on_decoded = on_sample, on_waiting, on_decoded
        self._packets = packets
        self._decoder = RAW
        self._entered_ns: dict[int, int] = {}
        self._marks, self._has_packets = DamageMarks(), False
        self._failure: BaseException | None = None
        self._handlers: list[tuple[Any, int]] = []
        self._pipeline: Any = _parsed(launch.text)
        self._sink: Any = self._pipeline.get_by_name("frames")
        self._connect(self._pipeline, "deep-element-added", self._on_element)
        self._is_pictureless = self._is_untrusted = False
        self._has_started = True
        self._demuxers: list[Any] = []
        self._untold_since_s: float | None = None
        self._set_up_source(launch)
        self._set_up_sink()

    @property
    def decoder(self) -> str:
        """Factory name of the video decoder that runs, such as ``avdec_h264``."""
        return self._decoder

    @property
    def duration_s(self) -> float | None:
        """Of the whole source, where it is known."""
        known, duration_ns = self._pipeline.query_duration(Gst.Format.TIME)
        return duration_ns / Gst.SECOND if known and duration_ns > 0 else None

    def start(self) -> None:
        """Begin to play; whatever goes wrong is told by ``fault``."""
        self._has_started = self._pipeline.set_state(Gst.State.PLAYING) != Gst.StateChangeReturn.FAILURE

    def pull(self, timeout_s: float) -> Any:
        """The next Gst.Sample, or None: not yet, or never again (see ``is_drained``)."""
        return self._stamped(self._sink.try_pull_sample(round(timeout_s * Gst.SECOND)))

    @property
    def is_drained(self) -> bool:
        """Whether the source has ended and every frame was pulled."""
        return bool(self._sink.is_eos())

    def fault(self) -> Fault | None:
        """What the bus tells: an error or the end; None while all is well. Raises what a callback raised."""
        if self._failure is not None:
            raise self._failure
        message = self._pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR | Gst.MessageType.EOS)
        if message is None:
            return self._silent_fault()
        if message.type == Gst.MessageType.EOS:
            return END if self._has_video else NO_VIDEO
        return self._translated(_gst_error(message))

    def stop(self) -> None:
        """End the pipeline and free its threads and descriptors; may be called again."""
        self._pipeline.set_state(Gst.State.NULL)
        for target, handler in self._handlers:
            target.disconnect(handler)
        self._handlers.clear()
        self._demuxers.clear()
        give_back()

    def _silent_fault(self) -> Fault | None:
        """What the bus may never tell."""
        if not self._has_started:
            return NOT_STARTED
        if self._has_video:
            return None
        return NO_VIDEO if self._is_pictureless else self._untold()

    def _untold(self) -> Fault | None:
        """The fault of a demuxer that gave up and whose error is lost, once it had time to come."""
        if not any(_given_up(demuxer) for demuxer in self._demuxers):
            return None
        if self._untold_since_s is None:
            self._untold_since_s = time.monotonic()
        return CUT_OFF if time.monotonic() - self._untold_since_s > UNTOLD_AFTER_S else None

    @property
    def _has_video(self) -> bool:
        return self._sink.get_static_pad("sink").get_current_caps() is not None

    def _translated(self, error: GstError) -> Fault:
        if self._is_untrusted:
            return UNTRUSTED  # GStreamer's own words are those of a host that does not answer
        if "not-linked" in error.debug and not self._has_video:
            return NO_VIDEO
        return fault_from_error(error)

    def _connect(self, target: Any, signal: str, callback: Callable[..., Any]) -> None:
        self._handlers.append((target, target.connect(signal, callback)))

    def _set_up_source(self, launch: Launch) -> None:
        decode = self._pipeline.get_by_name("decode")
        if decode is not None:
            self._connect(decode, "no-more-pads", self._on_all_pads)
        source = self._pipeline.get_by_name("source")
        if source is None:
            return
        for name, value in launch.properties.items():
            Gst.util_set_object_arg(source, name, value)
        _log_in(source, launch)
        if GObject.signal_lookup("source-setup", source):
            self._connect(source, "source-setup", lambda _, fetcher: _log_in(fetcher, launch))
        if GObject.signal_lookup("select-stream", source):
            self._connect(source, "select-stream", _is_video_stream)
        if GObject.signal_lookup("accept-certificate", source):
            self._connect(source, "accept-certificate", self._on_bad_certificate)

    def _on_bad_certificate(self, *_: Any) -> bool:
        """rtspsrc asks what to do with a certificate that does not hold: never take it, and remember why."""
        self._is_untrusted = True
        return False

    def _on_all_pads(self, decode: Any) -> None:
        """Sound alone may neither fail nor end: nothing is linked that could tell."""
        self._is_pictureless = not any(pad.is_linked() for pad in decode.srcpads)

    def _set_up_sink(self) -> None:
        if self._on_sample is None and self._on_waiting is None:
            return
        self._sink.set_property("emit-signals", True)
        self._connect(self._sink, "new-sample", self._on_new_sample)
        self._connect(self._sink, "eos", self._on_eos)

    def _on_new_sample(self, sink: Any) -> Any:
        try:
            self._hand_over(sink)
        except Exception as error:  # top of GStreamer's call into Python: handed to the owner by fault()
            self._failure = error
            return Gst.FlowReturn.ERROR
        return Gst.FlowReturn.OK

    def _hand_over(self, sink: Any) -> None:
        if self._on_sample is not None:
            sample = self._stamped(sink.pull_sample())
            if sample is not None:
                self._on_sample(sample)
        if self._on_waiting is not None:
            self._on_waiting()

    def _stamped(self, sample: Any) -> Any:
        if sample is not None:
            self._marks.stamp(sample.get_buffer())
        return sample

    def _on_eos(self, _sink: Any) -> None:
        if self._on_waiting is not None:
            self._on_waiting()

    def _on_element(self, _pipeline: Any, _bin: Any, element: Any) -> None:
        factory = element.get_factory()
        kind = (factory.get_metadata("klass") if factory is not None else None) or ""
        self._has_packets = self._has_packets or "Depayloader" in kind
        if "Demux" in kind:
            self._demuxers.append(element)
        if "Decoder" in kind and ("Video" in kind or "Image" in kind):
            self._note_decoder(element, factory)

    def _note_decoder(self, element: Any, factory: Any) -> None:
        self._decoder = factory.get_name()
        if self._packets is not None:
            self._packets.begin()
            element.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self._on_packet, self._packets)
        entrance = self._marks.opened(gaps_are_losses=self._has_packets)
        element.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self._on_encoded, entrance)
        if self._on_decoded is not None:
            element.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self._on_picture)

    def _on_packet(self, pad: Any, info: Any, packets: PacketTap) -> Any:
        packets.push(info.get_buffer(), pad.get_current_caps())
        return Gst.PadProbeReturn.OK

    def _on_encoded(self, pad: Any, info: Any, entrance: Entrance) -> Any:
        buffer = info.get_buffer()
        entrance.entered(buffer, pad.get_current_caps())
        if self._on_decoded is not None and len(self._entered_ns) < MAX_IN_DECODER:
            self._entered_ns[buffer.pts] = time.monotonic_ns()
        return Gst.PadProbeReturn.OK

    def _on_picture(self, _pad: Any, info: Any) -> Any:
        entered_ns = self._entered_ns.pop(info.get_buffer().pts, None)
        if entered_ns is None:
            self._entered_ns.clear()  # time stamps that don't match would pile up
        elif self._on_decoded is not None:
            self._on_decoded((time.monotonic_ns() - entered_ns) / 1e9)
        return Gst.PadProbeReturn.OK


def _given_up(demuxer: Any) -> bool:
    """Whether a demuxer that fetches its own data has stopped without having found a stream in them.

    decodebin drops what a new element complains about until it is done with plugging it in (gstdecodebin2.c, the error
    filter in connect_pad). The demuxer's own thread may be faster, and its error then reaches nobody; some say nothing.
    """
    is_resting = any(
        pad.mode == Gst.PadMode.PULL and pad.get_task_state() == Gst.TaskState.PAUSED for pad in demuxer.sinkpads
    )
    return is_resting and not any(pad.has_current_caps() for pad in demuxer.srcpads)


def _parsed(text: str) -> Any:
    try:
        pipeline = Gst.parse_launch(text)
    except GLib.Error as error:
        raise MissingPartError(
            f"GStreamer cannot build the pipeline ({error.message}): run 'unmask doctor' to see what is missing"
        ) from error
    return pipeline


def _log_in(source: Any, launch: Launch) -> None:
    """Give the credentials to an element that takes them."""
    for name, value in (("user-id", launch.user), ("user-pw", launch.password)):
        if value is not None and source.find_property(name) is not None:
            source.set_property(name, value)


def _is_video_stream(_source: Any, _number: int, caps: Any) -> bool:
    """rtspsrc asks which of the camera's streams to set up: sound is not even sent."""
    return bool(caps.get_structure(0).get_string("media") == "video")


def _gst_error(message: Any) -> GstError:
    error, debug = message.parse_error()
    factory = message.src.get_factory() if isinstance(message.src, Gst.Element) else None
    return GstError(error.domain, error.code, error.message, debug or "", factory.get_name() if factory else "")
