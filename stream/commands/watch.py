"""``unmask watch``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stream.commands.arguments import Commands, add_backend_option, add_detector_options
from stream.commands.signals import reading_again_on_hangup, stopping_on_signals
from stream.commands.terminal import complain

if TYPE_CHECKING:
    from stream.app import Started
    from stream.lookout import Playing

SOURCES = """sources:
  webcam  webcam:1  /dev/video0         a camera on this machine
  rtsp://…  rtsps://…                   an IP camera (TCP; --transport udp by choice; user:password@ or --user)
  https://….mp4  https://….m3u8         a file or a live stream on a web server
  clip.mp4                              a file
  screen                                a video call on this screen
  csi:0                                 a camera on a Jetson's ribbon connector
  test                                  a moving pattern without faces"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "watch",
        help="watch cameras, calls or files live, with scores on the picture",
        description="Watch sources live: find faces, score them, draw the scores on the moving picture.",
        epilog=SOURCES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="what to watch (see below)")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file, read again on SIGHUP; options here win over it"
    )
    parser.add_argument(
        "--save", type=Path, metavar="OUT.mp4", help="record the overlaid video; {time} in it: when that begins"
    )
    parser.add_argument("--scores", type=Path, metavar="OUT.jsonl", help="append every score as a JSON line")
    parser.add_argument("--restream", action="store_true", help="serve the overlaid video as rtsp://…:8554/NAME")
    parser.add_argument("--wall", action="store_true", help="one picture of all streams, in place of their windows")
    parser.add_argument(
        "--display",
        action=argparse.BooleanOptionalAction,
        help="insist on a window, or open none (default: a window where there is a display)",
    )
    parser.add_argument(
        "--web",
        nargs="?",
        const=(None, None),
        type=_web_address,
        metavar="HOST:PORT",
        help="a live page of all streams and an API (default 127.0.0.1:8080; put sources before it)",
    )
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="Prometheus metrics (default 9108; -1: none)")
    parser.add_argument("--metrics-host", metavar="HOST", help="loopback address of metrics (default 127.0.0.1)")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="stop after this long")
    _add_source_options(parser)
    add_detector_options(parser)
    add_backend_option(parser)
    parser.set_defaults(run=_watch)


def _web_address(text: str) -> tuple[str | None, int | None]:
    from stream.config_web import HighPortError, host_and_port

    try:
        return host_and_port(text)
    except HighPortError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is no address such as 127.0.0.1:8080: sources belong before --web"
        ) from None


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transport", choices=("tcp", "udp"), help="how RTSP sends (default tcp)")
    parser.add_argument("--user", help="user name of the camera")
    parser.add_argument("--password-env", metavar="VARIABLE", help="environment variable with the camera's password")


def _watch(options: argparse.Namespace) -> int:
    from stream.app import watch
    from stream.observers import StreamFacts
    from stream.reload import Reload
    from stream.service_notify import ServiceNotify
    from stream.sinks.table import TableSink
    from stream.watch_options import watch_config

    config = watch_config(options)
    facts = StreamFacts()
    reload = Reload(lambda: watch_config(options), complain) if options.config else None
    with stopping_on_signals() as stop, reading_again_on_hangup(reload, stop):
        result = watch(
            config,
            stop=stop,
            sinks=[TableSink(drops=facts.drops)],
            observers=[facts],
            on_started=say_where,
            on_playing=_say_what,
            service=ServiceNotify.from_environment(os.environ),
            reload=reload,
        )
    for failure in result.failures:
        complain(failure)
    return result.exit_code


def say_where(started: Started) -> None:
    print(f"model: {started.model}", file=sys.stderr)
    if started.metrics_url is not None:
        print(f"metrics: {started.metrics_url}", file=sys.stderr)
    if started.log:
        print(f"log: {started.log}", file=sys.stderr)
    if started.page_url is not None:
        print(f"page {started.page_url}", file=sys.stderr)
    for url in started.restream_urls:
        print(f"overlaid video: {url}", file=sys.stderr)


def _say_what(playing: Playing) -> None:
    encoded = f", encoded by {playing.encoder}" if playing.encoder is not None else ""
    print(f"{playing.stream}: decoded by {playing.decoder}{encoded}", file=sys.stderr)
