"""A pretend RTSP camera that misbehaves as it is told: a process of its own, so that it can be frozen and killed.

For the tests of faults and the soak. Its owner holds a ``FaultyCamera``; the process behind it reads one JSON object a
line::

    with FaultyCamera(picture("black")) as camera:
        camera.change("src", "pattern", "white")
        camera.hang_up()
        camera.freeze()
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATH = "/camera"
X264 = "x264enc key-int-max=10 tune=zerolatency speed-preset=ultrafast threads=1 bitrate=500"
H264_PAY = "h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
LOSSY_PAY = "h264parse ! rtph264pay mtu=300 pt=96 config-interval=-1 ! netsim name=pay0 drop-probability=0.2"
"""As ``H264_PAY``, and a fifth of the packets never arrive."""
STAMP = slice(4, 8)
"""Where an RTP packet has its time (RFC 3550, 5.1)."""
VIDEO_CLOCK_HZ = 90_000
PASSWORD_VARIABLE = "FAULTY_CAMERA_PASSWORD"


def raw(pattern: str, *, width: int = 320, height: int = 240, rate: int = 25) -> str:
    """Live raw video: element ``src`` draws it, ``caps`` says its size and rate, both may be changed while it runs."""
    caps = f"video/x-raw,format=(string)I420,width={width},height={height},framerate=(fraction){rate}/1"
    return (
        f"videotestsrc name=src is-live=true pattern={pattern} ! videoscale ! videorate "
        f'! capsfilter name=caps caps="{caps}"'
    )


def picture(pattern: str, *, encoder: str = X264, pay: str = H264_PAY, **size: int) -> str:
    """A media's launch text; ``size``: as ``raw``."""
    return f"( {raw(pattern, **size)} ! {encoder} ! {pay} )"


@dataclass(frozen=True)
class Login:
    """What viewers must know."""

    user: str
    password: str


class FaultyCamera:
    """The process and the ways to make it fail; a context manager."""

    def __init__(
        self, launch: str, *, port: int = 0, login: Login | None = None, certificate: Path | None = None
    ) -> None:
        """``certificate``: a PEM file with key: serves rtsps. Returns when it can be connected to."""
        self._login, self._certificate = login, certificate
        self._process = self._start(launch, port)

    def _start(self, launch: str, port: int) -> subprocess.Popen[str]:
        login, certificate = self._login, self._certificate
        options = ["--port", str(port)]
        options += [] if login is None else ["--user", login.user]
        options += [] if certificate is None else ["--certificate", str(certificate)]
        secret = {} if login is None else {PASSWORD_VARIABLE: login.password}
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.faulty_camera", launch, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **secret},
        )
        self.url = process.stdout.readline().strip() if process.stdout else ""
        return process

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    def launch(self, text: str) -> None:
        """Everybody is hung up on; who comes back gets this media."""
        self._tell(do="launch", text=text)

    def hang_up(self) -> None:
        self._tell(do="hang_up")

    def change(self, element: str, name: str, value: str) -> None:
        """A property of the running media's element and of the next ones'."""
        self._tell(do="change", element=element, name=name, value=value)

    def shift(self, seconds: float) -> None:
        """All that is sent from now on carries time stamps that are off by so much."""
        self._tell(do="shift", ns=round(seconds * 1e9))

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def start_again(self, launch: str) -> None:
        """At the same address, in a new process."""
        port = self.port
        self.close()
        self._process = self._start(launch, port)

    def close(self) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                with suppress(BrokenPipeError):  # what was told last reaches nobody
                    pipe.close()

    def __enter__(self) -> FaultyCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, **words: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()


class _Server:
    """The RTSP server in the camera's own process."""

    def __init__(self, options: argparse.Namespace) -> None:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import Gio, Gst, GstRtspServer

        from stream.gst.mainloop import LoopThread
        from stream.gst.rtsp_clients import tune

        Gst.init(None)
        self._gst, self._rtsp, self._medias, self._changes = Gst, GstRtspServer, list[Any](), list[dict[str, Any]]()
        self._shift_ns: int | None = None
        self._loop = LoopThread("faulty-camera")
        self._server = GstRtspServer.RTSPServer()
        self._server.connect("client-connected", tune)
        self._server.set_address("127.0.0.1")
        self._server.set_service(str(options.port))
        if options.certificate:
            auth = GstRtspServer.RTSPAuth()
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(options.certificate))
            self._server.set_auth(auth)
        self._login = _login(options.user)
        if self._login is not None:
            self._server.set_auth(self._login)
        self._scheme = "rtsps" if options.certificate else "rtsp"
        self._mount(options.launch)
        self._server.attach(self._loop.context)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.get_bound_port()}{PATH}"

    def obey(self, words: Mapping[str, Any]) -> None:
        if words["do"] == "launch":
            self._changes.clear()
            self._mount(words["text"])
            self._hang_up()
        elif words["do"] == "hang_up":
            self._hang_up()
        elif words["do"] == "change":
            self._changes.append(dict(words))
            for media in tuple(self._medias):
                self._apply(media.get_element(), words)
        elif words["do"] == "shift":
            self._shift(words["ns"])

    def _mount(self, launch: str) -> None:
        factory = self._rtsp.RTSPMediaFactory()
        factory.set_shared(True)
        factory.set_latency(0)
        factory.set_launch(launch)
        factory.connect("media-configure", self._on_media)
        if self._login is not None:
            factory.set_permissions(_permissions())
        self._server.get_mount_points().add_factory(PATH, factory)

    def _hang_up(self) -> None:
        from stream.gst.rtsp_clients import hang_up

        hang_up(self._server)

    def _on_media(self, _factory: Any, media: Any) -> None:
        for words in tuple(self._changes):
            self._apply(media.get_element(), words)
        if self._shift_ns is not None:
            self._watch_stamps(media.get_element())
        self._medias.append(media)
        media.connect("unprepared", lambda gone: self._medias.remove(gone) if gone in self._medias else None)

    def _apply(self, element: Any, words: Mapping[str, Any]) -> None:
        target = element.get_by_name(words["element"])
        self._gst.util_set_object_arg(target, words["name"], words["value"])

    def _shift(self, ns: int) -> None:
        """Behind the payloader, and not by a pad's offset, which servers wait for or never see."""
        is_first, self._shift_ns = self._shift_ns is None, ns
        for media in tuple(self._medias) if is_first else ():
            self._watch_stamps(media.get_element())

    def _watch_stamps(self, element: Any) -> None:
        both = self._gst.PadProbeType.BUFFER | self._gst.PadProbeType.BUFFER_LIST
        element.get_by_name("pay0").get_static_pad("src").add_probe(both, self._stamp)

    def _stamp(self, _pad: Any, info: Any) -> Any:
        if info.type & self._gst.PadProbeType.BUFFER_LIST:
            listed = info.get_buffer_list()
            packets = [listed.get(at) for at in range(listed.length())]
        else:
            packets = [info.get_buffer()]
        for packet in packets:
            with packet.peek_memory(0).map(self._gst.MapFlags.READ | self._gst.MapFlags.WRITE) as mapped:
                mapped.data[STAMP] = shifted(bytes(mapped.data[STAMP]), self._shift_ns or 0)
        return self._gst.PadProbeReturn.OK


def shifted(stamp: bytes, ns: int) -> bytes:
    """An RTP time stamp, off by so much; it wraps around. Pure."""
    return ((int.from_bytes(stamp, "big") + ns * VIDEO_CLOCK_HZ // 10**9) % 2**32).to_bytes(4, "big")


def _login(user: str | None) -> Any:
    if user is None:
        return None
    from stream.gst.camera import _login as login

    return login(user, os.environ[PASSWORD_VARIABLE])


def _permissions() -> Any:
    from stream.gst.camera import _permissions as permissions

    return permissions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the owner goes away. The first line on standard output is the address."""
    parser = argparse.ArgumentParser(prog="python -m bench.faulty_camera", description=__doc__.splitlines()[0])
    parser.add_argument("launch", help="the media as a GStreamer launch line with pay0")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user")
    parser.add_argument("--certificate")
    server = _Server(parser.parse_args(arguments))
    print(server.url, flush=True)
    for line in sys.stdin:
        server.obey(json.loads(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
