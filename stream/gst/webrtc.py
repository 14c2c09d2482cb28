"""WebRTC viewers of one stream: H.264 encoded once for all of them, and a pipeline of its own for each.

::

    drawn frames ─► appsrc ! scale ! encoder ! appsink ─┬─► viewer: appsrc ! rtph264pay ! webrtcbin
                                                        └─► …
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

from stream.errors import MissingPartError, OutputError  # noqa: E402
from stream.gst.branch import Branch, BranchHooks, parsed  # noqa: E402
from stream.gst.encoder_on_demand import EncoderOnDemand, feed, stop, stop_aside  # noqa: E402
from stream.gst.jpegs import LARGEST_WH, scale_launch  # noqa: E402
from stream.gst.recording import find_encoder, kbps_of  # noqa: E402
from stream.gst.session import element_exists  # noqa: E402

try:
    gi.require_version("GstSdp", "1.0")
    gi.require_version("GstWebRTC", "1.0")
    from gi.repository import GstSdp, GstWebRTC
except (ImportError, ValueError):  # gi's words for a namespace that is not there
    GstSdp = GstWebRTC = None

Gst.init(None)

ELEMENTS = ("webrtcbin", "nicesink", "dtlssrtpenc", "srtpenc", "rtph264pay", "h264parse")
ADVICE = "this machine has no WebRTC: watch by MJPEG, or sudo apt install gstreamer1.0-nice gir1.2-gst-plugins-bad-1.0"
MOST_PEERS = 16
"""Of one stream."""
LOOK_S = 5.0
"""How often it is asked whether a viewer still may watch."""
MAX_WAITING = 10
"""Access units that may wait for a viewer before it is skipped to the next key frame."""
CONNECTS_WITHIN_S = 20.0
SILENT_S = 10.0
"""Who is sent video and tells nothing for this long is gone: a browser reports every second (RTCP)."""
KEY_EVERY_S = 0.5
"""At most so often a key frame is made for somebody who asks."""
GOP = 60
BASELINE = " ! video/x-h264,profile=(string){constrained-baseline,baseline}"
"""What every browser decodes."""
HELD_TO_BASELINE = ("nvh264enc", "vah264enc", "x264enc", "openh264enc")
"""Encoders that are told so by their caps; Jetson's makes nothing else unless it is asked."""


def has_webrtc() -> bool:
    """Whether this machine has all parts of it, an encoder included."""
    if GstWebRTC is None or not all(element_exists(name) for name in ELEMENTS):
        return False
    try:
        find_encoder()
    except MissingPartError:
        return False
    return True


def h264_payload(offer_sdp: str) -> int:
    """The offer's payload type for H.264 in packets of any size (packetization-mode 1), baseline first.

    Raises OutputError when the viewer takes none (RFC 6184, 8.1).
    """
    numbers = re.findall(r"^a=rtpmap:(\d+) H264/90000", offer_sdp, re.MULTILINE | re.IGNORECASE)
    told = {number: re.search(rf"^a=fmtp:{number} (.*)", offer_sdp, re.MULTILINE) for number in numbers}
    ways = {number: found[1].lower() for number, found in told.items() if found is not None}
    has_video = re.search(r"^m=video ", offer_sdp, re.MULTILINE) is not None
    fit = [number for number, way in ways.items() if has_video and "packetization-mode=1" in way]
    fit.sort(key=lambda number: "profile-level-id=42e0" not in ways[number])
    if not fit:
        raise OutputError("this browser takes no H.264 by WebRTC: watch by MJPEG")
    return int(fit[0])


def without_candidates(offer_sdp: str) -> str:
    """Addresses that a viewer names are not called: it calls us, and is answered where it calls from.

    As GStreamer spells it: its reader takes blanks before a line and within one, behind which a candidate could hide.
    Raises OutputError for what is no SDP.
    """
    lines = str(_message(offer_sdp).as_text()).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("a=candidate"))


class PeerFeed(EncoderOnDemand):
    """``push`` is called by the drawing's thread and returns at once; ``answer`` by any thread."""

    def __init__(self, name: str, local_address: str | None) -> None:
        """``local_address``: the only one of this machine that viewers are answered from; None: all of them."""
        super().__init__(name)
        self._local_address = local_address
        self._peers: tuple[_Peer, ...] = ()
        """Never changed, only replaced."""
        self._key_asked_s = 0.0

    @property
    def is_watched(self) -> bool:
        return bool(self._peers)

    @property
    def peers(self) -> int:
        return len(self._peers)

    def answer(self, offer_sdp: str, timeout_s: float, may_watch: Callable[[], bool] = lambda: True) -> str:
        """SDP answer with its candidates. Raises OutputError when there can be none.

        ``may_watch`` is asked now and then, on the encoder's thread; the viewer goes when it says no.
        """
        payload = h264_payload(offer_sdp)
        if len(self._peers) >= MOST_PEERS:
            raise OutputError(f"{MOST_PEERS} viewers watch {self._name} by WebRTC already: watch by MJPEG")
        peer = _Peer(payload, self._local_address, self._leave, self._want_key, may_watch)
        try:
            answer = peer.answer(offer_sdp, timeout_s)
            self._join(peer)
        except BaseException:
            peer.close()
            raise
        return answer

    def push(self, buffer: Any, caps: Any) -> None:
        """One drawn frame; left out when nobody watches or the encoder is busy."""
        with self._lock:
            if self._is_closed or not self._peers:
                return
            branch, before = self._branch_for(caps)
        feed(branch, before, buffer, caps)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            peers, self._peers = self._peers, ()
            branch = self._taken()
        stop(branch)
        for peer in peers:
            peer.close()

    def _join(self, peer: _Peer) -> None:
        with self._lock:
            if self._is_closed:
                raise OutputError(f"{self._name} is watched no more")
            self._peers = (*self._peers, peer)
            failed = self._taken_failed()
        stop_aside(failed)
        self._want_key()

    def _leave(self, peer: _Peer) -> None:
        """Called on one of the peer's own threads, which cannot end themselves."""
        with self._lock:
            self._peers = tuple(other for other in self._peers if other is not peer)
            branch = None if self._peers else self._taken()
        threading.Thread(target=_shut, args=(peer, branch), name="viewers-stop", daemon=True).start()

    def _opened(self, caps: Any) -> Branch:
        encoder = find_encoder()
        profile = BASELINE if encoder.element in HELD_TO_BASELINE else ""
        launch = (
            f"appsrc name=in ! {scale_launch(caps)} ! {encoder.launch('live', kbps=kbps_of(*LARGEST_WH), gop=GOP)}"
            f"{profile} ! h264parse ! video/x-h264,stream-format=(string)avc,alignment=(string)au "
            "! appsink name=out sync=false"
        )
        return Branch(parsed(launch), BranchHooks(self._tell, self._error, self._hand_out), False, 2)

    def _hand_out(self, buffer: Any, caps: Any) -> None:
        for peer in self._peers:
            peer.push(buffer, caps)

    def _want_key(self) -> None:
        branch, now_s = self._branch, time.monotonic()
        if branch is not None and now_s - self._key_asked_s >= KEY_EVERY_S:
            self._key_asked_s = now_s
            branch.send_upstream(GstVideo.video_event_new_upstream_force_key_unit(Gst.CLOCK_TIME_NONE, True, 0))

    def _error(self, error: Any, _debug: str | None) -> OutputError:
        return OutputError(f"encoding {self._name} for viewers has stopped: {error.message}")


def _shut(peer: _Peer, branch: Branch | None) -> None:
    peer.close()
    stop(branch)


class _Peer:
    """One viewer. It is gone, and says so once, when its browser is: closed, silent, or never connected."""

    def __init__(
        self,
        payload: int,
        local_address: str | None,
        on_gone: Callable[[_Peer], None],
        want_key: Callable[[], None],
        may_watch: Callable[[], bool],
    ) -> None:
        self._on_gone, self._want_key, self._may_watch = on_gone, want_key, may_watch
        self._lock = threading.Lock()
        self._is_gone = self._is_closed = self._has_key = False
        self._heard_s = self._fed_s = self._looked_s = 0.0
        self._gathered = threading.Event()
        self._pipeline = parsed(_launch(payload))
        self._pipeline.get_bus().set_flushing(True)  # nobody reads it
        self._feed, self._rtc = self._pipeline.get_by_name("feed"), self._pipeline.get_by_name("rtc")
        _keep_to(self._rtc, local_address)
        self._handlers = [
            self._rtc.connect("notify::ice-gathering-state", self._on_gathering),
            self._rtc.connect("notify::connection-state", self._on_connection),
            self._rtc.connect("deep-element-added", self._on_element),
        ]
        self._probes: list[tuple[Any, int]] = []
        self._watch(self._feed.get_static_pad("src"), Gst.PadProbeType.EVENT_UPSTREAM, self._on_event)
        self._late = threading.Timer(CONNECTS_WITHIN_S, self._go)
        self._late.daemon = True

    def answer(self, offer_sdp: str, timeout_s: float) -> str:
        """Raises OutputError."""
        deadline = time.monotonic() + timeout_s
        self._late.start()
        self._pipeline.set_state(Gst.State.PLAYING)
        self._ask("set-remote-description", _offer(offer_sdp), deadline)
        promise = self._ask("create-answer", None, deadline)
        reply = promise.get_reply()  # owns the answer: it must live as long
        answer = reply.get_value("answer") if reply is not None and reply.has_field("answer") else None
        if answer is None:
            raise OutputError("the viewer's WebRTC offer cannot be answered: watch by MJPEG")
        self._ask("set-local-description", answer, deadline)
        if not self._gathered.wait(max(0.0, deadline - time.monotonic())):
            raise OutputError("no address was found to answer the viewer from: watch by MJPEG")
        return str(self._rtc.get_property("local-description").sdp.as_text())

    def push(self, buffer: Any, caps: Any) -> None:
        """One access unit, on the encoder's thread. Times are the viewer's own, on arrival."""
        now_s = time.monotonic()
        if self._is_gone or self._is_silent(now_s) or self._is_unwanted(now_s):
            return
        if self._feed.get_property("current-level-buffers") > MAX_WAITING:
            self._has_key = False
        self._has_key = self._has_key or not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        if not self._has_key:
            return
        stamped = buffer.copy_region(Gst.BufferCopyFlags.MEMORY | Gst.BufferCopyFlags.FLAGS, 0, buffer.get_size())
        stamped.pts = stamped.dts = Gst.CLOCK_TIME_NONE
        if self._feed.get_property("caps") is None:
            self._feed.set_property("caps", caps)
        self._feed.emit("push-buffer", stamped)

    def close(self) -> None:
        """Not on a thread of its own pipeline. Calling it again does nothing."""
        with self._lock:
            if self._is_closed:
                return
            self._is_gone = self._is_closed = True
        self._late.cancel()
        for handler in self._handlers:
            self._rtc.disconnect(handler)
        self._pipeline.set_state(Gst.State.NULL)
        for pad, probe in self._probes:
            pad.remove_probe(probe)
        self._probes.clear()

    def _ask(self, signal: str, what: Any, deadline: float) -> Any:
        """Emit one of webrtcbin's requests and wait for its reply."""
        replied = threading.Event()
        promise = Gst.Promise.new_with_change_func(lambda *_: replied.set())
        self._rtc.emit(signal, what, promise)
        if not replied.wait(max(0.0, deadline - time.monotonic())):
            raise OutputError("GStreamer did not answer the viewer in time: watch by MJPEG")
        reply = promise.get_reply()
        if reply is not None and reply.has_field("error"):
            raise OutputError("the viewer's WebRTC offer cannot be answered: watch by MJPEG")
        return promise

    def _is_silent(self, now_s: float) -> bool:
        """Only who is sent something is expected to tell of it: a camera that was away begins the count anew."""
        if now_s - self._fed_s > SILENT_S / 4:
            self._heard_s = now_s
        self._fed_s = now_s
        if now_s - self._heard_s <= SILENT_S:
            return False
        self._go()
        return True

    def _is_unwanted(self, now_s: float) -> bool:
        if now_s - self._looked_s < LOOK_S:
            return False
        self._looked_s = now_s
        if self._may_watch():
            return False
        self._go()
        return True

    def _go(self) -> None:
        with self._lock:
            if self._is_gone:
                return
            self._is_gone = True
        self._on_gone(self)

    def _on_gathering(self, rtc: Any, _: Any) -> None:
        if rtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self._gathered.set()

    def _on_connection(self, rtc: Any, _: Any) -> None:
        state, states = rtc.get_property("connection-state"), GstWebRTC.WebRTCPeerConnectionState
        if state == states.CONNECTED:
            self._late.cancel()
            self._want_key()
        elif state in (states.FAILED, states.CLOSED):
            self._go()

    def _on_element(self, _bin: Any, _inner: Any, element: Any) -> None:
        """What comes from the viewer comes through nicesrc."""
        factory = element.get_factory()
        if factory is not None and factory.get_name() == "nicesrc":
            self._watch(element.get_static_pad("src"), Gst.PadProbeType.BUFFER, self._on_heard)

    def _watch(self, pad: Any, kind: Any, callback: Callable[[Any, Any], Any]) -> None:
        self._probes.append((pad, pad.add_probe(kind, callback)))

    def _on_heard(self, _pad: Any, _info: Any) -> Any:
        self._heard_s = time.monotonic()
        return Gst.PadProbeReturn.OK

    def _on_event(self, _pad: Any, info: Any) -> Any:
        """The viewer lost a picture and cannot go on without a key frame (RTCP PLI)."""
        if GstVideo.video_event_is_force_key_unit(info.get_event()):
            self._want_key()
        return Gst.PadProbeReturn.OK


def _launch(payload: int) -> str:
    caps = f"application/x-rtp,media=video,encoding-name=H264,payload={payload},clock-rate=90000"
    return (
        "appsrc name=feed is-live=true do-timestamp=true format=time block=false max-bytes=0 max-buffers=0 "
        f"! rtph264pay pt={payload} mtu=1200 config-interval=-1 aggregate-mode=zero-latency ! {caps} "
        "! webrtcbin name=rtc bundle-policy=max-bundle"
    )


def _keep_to(rtc: Any, local_address: str | None) -> None:
    """UDP only, and from one address if one is given: loopback is left out by libnice unless it is named.

    Raises OutputError where this cannot be had: rather no video than one from another address.
    """
    try:
        ice = _ice_of(rtc)
        ice.get_property("agent").set_property("ice-tcp", False)
        if local_address is not None:
            ice.emit("add-local-ip-address", local_address)
    except TypeError as error:  # gi's word for a property or a signal that is not there
        raise OutputError("this GStreamer's WebRTC cannot be kept to one address: watch by MJPEG") from error


def _ice_of(rtc: Any) -> Any:
    """webrtcbin's ICE agent.

    GStreamer 1.22 never sinks its floating reference: Python takes it for its own and would free the agent that
    webrtcbin goes on using. Then one more is taken, which webrtcbin gives back at its end.
    """
    ice = rtc.get_property("ice-agent")
    if ice.__grefcount__ < 2:
        ctypes.CDLL("libgobject-2.0.so.0").g_object_ref(ctypes.c_void_p(hash(ice)))  # a wrapper's hash is its address
    return ice


def _offer(sdp: str) -> Any:
    return GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, _message(without_candidates(sdp)))


def _message(sdp: str) -> Any:
    result, message = GstSdp.SDPMessage.new_from_text(sdp)
    if result != GstSdp.SDPResult.OK:
        raise OutputError("the viewer's WebRTC offer is no SDP")
    return message
