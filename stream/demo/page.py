"""``unmask demo --page``: the demo's camera, over and over, with the live page, an alert's rule and its evidence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from stream.app import Started, WatchResult, watch
from stream.config import AppConfig, MetricsConfig, StreamConfig
from stream.config_alerts import AlertsConfig, FakeRule
from stream.config_evidence import EvidenceConfig
from stream.config_web import WebConfig
from stream.demo.run import DemoFiles, clip_of
from stream.errors import OutputError, PageAddressError
from stream.evidence.chain import LogHeldError
from stream.gst.camera import RtspCamera
from stream.parts import Parts

FAKE_FOR_S = 3.0
COOL_DOWN_S = 10.0
"""Less than a round of the clip: each swapped half is told."""
FREE_PORT = 0


def run_page(
    folder: Path,
    *,
    stop: threading.Event,
    port: int = 8080,
    console: Console | None = None,
    half_s: float = 22.0,
    parts: Parts | None = None,
    on_started: Callable[[Started], None] = lambda _: None,
) -> WatchResult:
    """Make the clip if absent, and show it as a camera on the page until ``stop`` is set.

    ``parts`` are used in place of the default model and detector. Raises UnmaskError when the path is broken, such as
    OutputError when another page has its folder or its port.
    """
    console = console or Console()
    files = DemoFiles(folder)
    truth = clip_of(files, half_s, console)

    def told(started: Started) -> None:
        swapped_s = truth.parts[1].start_s
        console.print(f"open {started.page_url} in a browser; Ctrl-C ends it", style="bold")
        console.print(
            f"a made-up camera: {swapped_s:.0f} seconds genuine, then {truth.duration_s - swapped_s:.0f} swapped, over "
            f"and over. A face that has been fake for {FAKE_FOR_S:.0f} seconds raises an alert, whose evidence lies in "
            f"{folder / 'evidence'}."
        )
        on_started(started)

    with _one_at_a_time(folder, port), RtspCamera(files.clip) as camera:
        return watch(page_config(folder, camera.url, port), stop=stop, parts=parts, on_started=told)


@contextmanager
def _one_at_a_time(folder: Path, port: int) -> Iterator[None]:
    """Say what is in the way of a second page by this command's own options. Raises OutputError."""
    try:
        yield
    except LogHeldError:
        raise OutputError(
            f"the page runs already, with its evidence in {folder}: end that one with Ctrl-C, or give another --folder "
            "and --port"
        ) from None
    except PageAddressError:
        raise OutputError(
            f"port {port} cannot be used, perhaps because the page runs already: end that one, or choose another with "
            "--port"
        ) from None


def page_config(folder: Path, url: str, port: int) -> AppConfig:
    """What a guard's desk would run, but for one camera."""
    return AppConfig(
        streams=(StreamConfig(source=url, name="demo"),),
        display=False,
        metrics=MetricsConfig(port=FREE_PORT),
        web=WebConfig(enabled=True, port=port),
        alerts=AlertsConfig(
            rules=(FakeRule(name="fake-face", kind="fake", for_s=FAKE_FOR_S, cool_down_s=COOL_DOWN_S),)
        ),
        evidence=EvidenceConfig(folder=folder / "evidence", key=folder / "log.pem"),
    )
