"""All frames of a file, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator

from stream.ports import Source
from stream.types import Frame, StreamState

READ_TIMEOUT_S = 0.5
"""How long to wait for a frame before asking whether the file has ended."""
NOT_YET_S = 0.005
"""Between two questions: at its end a decoder answers at once, a moment before it says that it has ended."""


def frames_of(source: Source) -> Iterator[Frame]:
    """Borrowed frames in order; release each before the next. Raises SourceError as the source does."""
    while source.state is not StreamState.ENDED:
        frame = source.read(READ_TIMEOUT_S)
        if frame is not None:
            yield frame
        else:
            time.sleep(NOT_YET_S)
