"""The door to every kind of source."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stream.gst.launch import source_launch
from stream.gst.session import GstSession, PacketTap, VideoTap, element_exists
from stream.ports import Clock, Observer
from stream.sources.file import FileSource
from stream.sources.live import DEFAULT_RETRY, LiveSource, RetryPolicy
from stream.sources.uri import SourceUri
from stream.types import StreamName

HLS_SILENCE_S = 20.0
"""A live playlist brings pictures in pieces of many seconds."""


def open_source(
    name: StreamName,
    uri: SourceUri,
    *,
    observer: Observer,
    clock: Clock = time.monotonic_ns,
    video: VideoTap | None = None,
    on_frame: Callable[[], None] | None = None,
    retry: RetryPolicy = DEFAULT_RETRY,
    packets: PacketTap | None = None,
) -> LiveSource | FileSource:
    """A running source of the right kind; it must be closed.

    ``video`` is given every frame, ``on_frame`` is called when one can be read: both as VideoTap says. ``packets`` is
    given the encoded pictures of a live source. A live source that does not answer is no error. Raises MissingPartError
    for what this machine lacks, and SourceError for a file that cannot be a video.
    """
    launch = source_launch(uri, element_exists, os.environ)
    if uri.is_live:

        def open_live(on_sample: Callable[[Any], None], on_decoded: Callable[[float], None]) -> GstSession:
            return GstSession(launch, on_sample=on_sample, on_decoded=on_decoded, packets=packets)

        patience = _patient(retry) if uri.kind == "http" else retry
        return LiveSource(
            name, uri, open_live, observer=observer, clock=clock, video=video, on_frame=on_frame, retry=patience
        )

    def open_file(on_waiting: Callable[[], None] | None, on_decoded: Callable[[float], None]) -> GstSession:
        return GstSession(launch, on_waiting=on_waiting, on_decoded=on_decoded)

    return FileSource(name, uri, open_file, observer=observer, clock=clock, video=video, on_frame=on_frame)


def _patient(retry: RetryPolicy) -> RetryPolicy:
    return replace(
        retry,
        stalled_after_s=max(retry.stalled_after_s, HLS_SILENCE_S),
        first_frame_within_s=max(retry.first_frame_within_s, HLS_SILENCE_S),
    )
