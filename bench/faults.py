"""Every way in which one camera, one far side or one inference fails beside streams that must not notice.

A fault is a generator: what it needs is there when it yields; afterwards it adds its stream, breaks it, sees that it
broke, and mends it. What does not show as it should raises, for a fault that took no effect proves nothing.
"""

from __future__ import annotations

import logging
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.faulty_camera import X264, FaultyCamera, Login, picture, raw
from bench.peers import Mute, Relay, refused_port, write_certificate
from engines.errors import InferenceError
from engines.runtime.ports import Array, Backend
from engines.runtime.wrapped import WrappedBackend
from stream.benchmark.trial import Watching
from stream.config import StreamConfig
from stream.errors import MissingPartError, SourceError
from stream.types import StreamName, StreamState

FAULTY = StreamName("faulty")
POLL_S = 0.02
AWAITED_S = 30.0
PLAYS_AGAIN = 15
"""Pictures after which a mended camera counts as playing."""
AWAY_S = 1.0
FROZEN_S = 3.0
"""Longer than the benchmark's streams may be silent."""
FLAPS = 5
HANGS_S = 2.0
SLOW_ANSWER_S = 2.0
FAST_FPS, SLOW_FPS = 50, 10
"""Told from the usual 25 by what the application measures."""
JPEG = picture("ball", encoder="jpegenc", pay="rtpjpegpay name=pay0 pt=26", rate=SLOW_FPS)
HUNG_UP = ("eos", "error")
GONE = (*HUNG_UP, "refused")
SILENT = ("stalled", "timeout")
SCRAPER_WORDS = (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") * 5

Steps = Iterator[None]
Fault = Callable[["Stage"], Steps]


@dataclass
class Trouble:
    """What the next run of a network meets, once."""

    _next: Callable[[], None] | None = None

    def meet_next(self, what: Callable[[], None]) -> None:
        self._next = what

    @property
    def was_met(self) -> bool:
        return self._next is None

    def meet(self) -> None:
        """On the thread that runs the network."""
        what, self._next = self._next, None
        if what is not None:
            what()

    def wrap(self, stage: str, backend: Backend) -> Backend:  # noqa: ARG002 - as ``stream.parts.Wrap``
        return TroubledBackend(backend, self)


class TroubledBackend(WrappedBackend):
    """A Backend that meets trouble before it runs."""

    def __init__(self, inner: Backend, trouble: Trouble) -> None:
        super().__init__(inner)
        self._trouble = trouble

    @property
    def infer_device(self) -> Callable[[Mapping[str, int], int], dict[str, Array]] | None:
        """As the inner one's; None while that reads no device memory."""
        inner: Callable[[Mapping[str, int], int], dict[str, Array]] | None = getattr(self._inner, "infer_device", None)
        return None if inner is None else lambda pointers, batch: self._met(lambda: inner(pointers, batch))

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._met(lambda: self._inner.infer(arrays))

    def _met(self, run: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        self._trouble.meet()
        return run()


class Told(logging.Handler):
    """Keeps what the application logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    @contextmanager
    def listening(self) -> Iterator[Told]:
        logger = logging.getLogger("stream.app")
        logger.addHandler(self)
        try:
            yield self
        finally:
            logger.removeHandler(self)


def times_lost(now: Counter[tuple[StreamName, str]], before: Counter[tuple[StreamName, str]]) -> dict[str, int]:
    """How often the faulty stream was lost or cut since ``before``, by the reason. Pure."""
    return {reason: count for (stream, reason), count in (now - before).items() if stream == FAULTY}


@dataclass
class Stage:
    """The running watch, and the one stream beside it that a fault has; what it opens ends with ``closing``."""

    run: Watching
    trouble: Trouble
    folder: Path
    seconds: float
    """How long a fault lasts that nobody mends."""
    closing: ExitStack = field(default_factory=ExitStack)
    _known: Counter[tuple[StreamName, str]] = field(default_factory=Counter)

    def begin(self) -> None:
        """What was lost before is not this fault's."""
        self._known = Counter(self.run.recorder.losses)

    @property
    def losses(self) -> dict[str, int]:
        """Of the faulty stream since ``begin``, by the reason."""
        return times_lost(self.run.recorder.losses, self._known)

    def camera(self, launch: str | None = None, **options: Any) -> FaultyCamera:
        camera = self.closing.enter_context(FaultyCamera(launch or picture("ball"), **options))
        if not camera.url:
            raise SourceError("the faulty camera's process ended at once: measure the row again")
        return camera

    def add(self, url: str, **details: Any) -> None:
        self.run.started.streams.add(StreamConfig(source=url, name=FAULTY, **details))
        self.closing.callback(self.run.started.streams.remove, FAULTY)

    def play(self, camera: FaultyCamera, **details: Any) -> None:
        """Watch it until it plays."""
        self.add(camera.url, **details)
        self.await_frames()

    def await_frames(self, more: int = PLAYS_AGAIN) -> None:
        recorder = self.run.recorder
        wanted = len(recorder.arrived_ns[FAULTY]) + more
        await_sign(
            lambda: len(recorder.arrived_ns[FAULTY]) >= wanted and recorder.state.get(FAULTY) is StreamState.PLAYING,
            "the faulty camera does not play",
        )

    def await_losses(self, reasons: tuple[str, ...], count: int = 1) -> None:
        """Until the faulty stream was lost or cut so often for one of these reasons."""
        await_sign(
            lambda: sum(self.losses.get(reason, 0) for reason in reasons) >= count,
            f"the fault did not show as {' or '.join(reasons)}",
        )

    def await_fps(self, is_it: Callable[[float], bool]) -> None:
        """Of the pictures from now on."""
        fps = self.run.recorder.fps
        fps.pop(FAULTY, None)
        await_sign(lambda: FAULTY in fps and is_it(fps[FAULTY]), "the camera's new frame rate was not seen")

    def await_damage(self) -> None:
        damaged = self.run.recorder.damaged
        before = damaged[FAULTY]
        await_sign(lambda: damaged[FAULTY] > before, "no picture was seen to be broken")

    def last(self) -> None:
        """For a fault that nobody mends."""
        time.sleep(self.seconds)

    def last_unseen(self, url: str, *reasons: str) -> None:
        """The same with a camera that never plays: until it was given up for one of these reasons at least once."""
        began_s = time.monotonic()
        self.add(url)
        self.await_losses(reasons)
        time.sleep(max(0.0, began_s + self.seconds - time.monotonic()))


def await_sign(condition: Callable[[], bool], else_: str, within_s: float = AWAITED_S) -> None:
    """That a fault took effect, or is over. Raises SourceError."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise SourceError(f"{else_} within {within_s:.0f} s: measure the row again")
        time.sleep(POLL_S)


# What is no fault, and must not be felt either


def _nothing(_: Stage) -> Steps:
    yield


def _comes_and_goes(on: Stage) -> Steps:
    camera = on.camera()
    yield
    on.play(camera)


# A camera that plays and is lost


def _killed(on: Stage) -> Steps:
    camera = on.camera()
    yield
    on.play(camera)
    camera.kill()
    on.await_losses(GONE)
    time.sleep(AWAY_S)
    camera.start_again(picture("ball"))
    on.await_frames()


def _frozen(on: Stage) -> Steps:
    camera = on.camera()
    yield
    on.play(camera)
    camera.freeze()
    time.sleep(FROZEN_S)
    on.await_losses(SILENT)
    camera.thaw()
    on.await_frames()


def _flapping(on: Stage) -> Steps:
    camera = on.camera()
    yield
    on.play(camera)
    for _ in range(FLAPS):
        camera.hang_up()
        time.sleep(1.0)
    on.await_losses(HUNG_UP, FLAPS - 1)
    on.await_frames()


def _other_codec(on: Stage) -> Steps:
    """Its slower pictures tell it from the one before."""
    camera = on.camera()
    yield
    on.play(camera)
    camera.launch(JPEG)
    on.await_losses(HUNG_UP)
    on.await_frames()
    on.await_fps(lambda fps: fps < 1.5 * SLOW_FPS)


# A camera that changes while it plays, and its network


def _other_size(on: Stage) -> Steps:
    camera = on.camera()
    yield
    on.play(camera)
    camera.change("caps", "caps", "video/x-raw,format=I420,width=480,height=360,framerate=25/1")
    on.await_losses(("caps_change",))
    on.await_frames()


def _other_rate(on: Stage) -> Steps:
    camera = on.camera()
    yield
    on.play(camera)
    camera.change("caps", "caps", f"video/x-raw,format=I420,width=320,height=240,framerate={FAST_FPS}/1")
    on.await_fps(lambda fps: fps > 0.8 * FAST_FPS)


def _jumps(seconds: float) -> Fault:
    """No sign is awaited: the packets' stamps jump (a test holds that), and the jitter buffer may hide it well."""

    def steps(on: Stage) -> Steps:
        camera = on.camera()
        yield
        on.play(camera)
        camera.shift(seconds)
        on.await_frames(2 * PLAYS_AGAIN)

    return steps


def _through(element: str) -> Fault:
    """The camera's packets go through an element that harms them, from its first one on."""
    pay = f"h264parse ! rtph264pay name=pay pt=96 mtu=300 config-interval=-1 ! {element}"

    def steps(on: Stage) -> Steps:
        camera = on.camera(f"( {raw('ball')} ! {X264} ! {pay} )")
        yield
        on.play(camera)
        on.await_damage()
        on.last()

    return steps


# A camera that is not there


def _refused(on: Stage) -> Steps:
    port = on.closing.enter_context(refused_port())
    yield
    on.last_unseen(f"rtsp://127.0.0.1:{port}/camera", "refused")


def _unauthorized(on: Stage) -> Steps:
    camera = on.camera(login=Login("guard", "secret"))
    yield
    on.last_unseen(camera.url, "unauthorized")


def _not_found(on: Stage) -> Steps:
    camera = on.camera()
    yield
    on.last_unseen(camera.url + "-elsewhere", "not_found")


def _untrusted(on: Stage) -> Steps:
    certificate = write_certificate(on.folder)
    if certificate is None:
        raise MissingPartError("openssl is missing: apt install openssl")
    camera = on.camera(certificate=certificate)
    yield
    on.last_unseen(camera.url, "untrusted")


def _never_answers(on: Stage) -> Steps:
    mute = on.closing.enter_context(Mute())
    yield
    on.last_unseen(f"rtsp://127.0.0.1:{mute.port}/camera", "timeout")


def _slow_to_answer(on: Stage) -> Steps:
    relay = on.closing.enter_context(Relay(on.camera().port, answer_after_s=SLOW_ANSWER_S))
    yield
    began_s = time.monotonic()
    on.add(f"rtsp://127.0.0.1:{relay.port}/camera")
    on.await_frames()
    if time.monotonic() < began_s + SLOW_ANSWER_S:
        raise SourceError("the slow camera was not slow: measure the row again")


# Far sides, and inference


def _recording_full(on: Stage) -> Steps:
    camera, told = on.camera(), on.closing.enter_context(Told().listening())
    yield
    on.play(camera, save=Path("/dev/full"))
    await_sign(lambda: bool(told.lines), "nobody told that the recording cannot be written")
    on.last()


def _scores_full(on: Stage) -> Steps:
    """No file of this process may grow: the scores' next line is refused as a full disk refuses it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = on.closing.enter_context(Told().listening())
    yield
    on.closing.callback(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    await_sign(lambda: bool(told.lines), "nobody told that the scores cannot be written")
    on.last()


def _deaf_scrapers(on: Stage) -> Steps:
    port = urlsplit(on.run.started.metrics_url or "").port or 0
    yield
    try:
        for words in SCRAPER_WORDS:
            scraper = on.closing.enter_context(socket.create_connection(("127.0.0.1", port)))
            scraper.sendall(words)
    except OSError as error:
        raise SourceError(f"the metrics let no scraper in ({error}): measure the row again") from error
    on.last()


def _inference_throws(on: Stage) -> Steps:
    def throw() -> None:
        raise InferenceError("the benchmark's own: the device was busy")

    yield
    before = on.run.recorder.failed_inferences
    on.trouble.meet_next(throw)
    await_sign(lambda: on.run.recorder.failed_inferences > before, "no inference was counted as failed")
    on.last()


def _inference_hangs(on: Stage) -> Steps:
    hung = list[float]()

    def hang() -> None:
        time.sleep(HANGS_S)
        hung.append(HANGS_S)

    yield
    on.trouble.meet_next(hang)
    await_sign(lambda: bool(hung), "no network ran")
    on.last()


NOTHING = "nothing fails"
FAULTS: dict[str, Fault] = {
    NOTHING: _nothing,
    "added and removed": _comes_and_goes,
    "killed, started again": _killed,
    "frozen, thawed": _frozen,
    "hung up every second": _flapping,
    "another codec": _other_codec,
    "another size": _other_size,
    "another frame rate": _other_rate,
    "clock jumps forward": _jumps(30.0),
    "clock jumps back": _jumps(-30.0),
    "20 % loss": _through("netsim name=pay0 drop-probability=0.2"),
    "corrupted packets": _through("breakmydata name=pay0 probability=0.0005"),
    "refused": _refused,
    "wrong password": _unauthorized,
    "wrong path": _not_found,
    "untrusted certificate": _untrusted,
    "never answers": _never_answers,
    "slow to answer": _slow_to_answer,
    "recording's disk full": _recording_full,
    "silent scrapers": _deaf_scrapers,
    "inference throws": _inference_throws,
    "inference hangs": _inference_hangs,
    "scores' disk full": _scores_full,
}
"""In the order in which they are measured; the last ends the scores of the whole run."""
