#!/usr/bin/env python3
"""Whether a watch in a container is well: its metrics answer, and some stream still brings frames. Only the stdlib.

Exit 0: well. 1: not, with one line that says why, which `docker inspect` shows.
"""

from __future__ import annotations

import re
import sys
import time
import urllib.request

SILENT_AFTER_S = 60.0
"""Longer than a live source takes to be opened again once."""
NEWEST = re.compile(r"^unmask_stream_last_frame_timestamp_seconds\{[^}]*\} (\S+)$", re.MULTILINE)
STREAMS = re.compile(r"^unmask_stream_state\{", re.MULTILINE)


def trouble(text: str, now_s: float) -> str | None:
    """What is wrong with a scrape; None: nothing. ``now_s``: seconds since the Unix epoch.

    A camera that is away is waited for, and says nothing against the program: only a stream that had frames and has
    none any more, while no other has, does.
    """
    if not STREAMS.search(text):
        return "the answer is not Unmask's"
    newest = max((float(value) for value in NEWEST.findall(text)), default=0.0)
    if newest and now_s - newest > SILENT_AFTER_S:
        return f"no frame from any stream for {now_s - newest:.0f} s"
    return None


def main(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=4) as answer:
            found = trouble(answer.read().decode(), time.time())
    except (OSError, ValueError) as error:
        found = f"{address} does not answer: {error}"
    if found is not None:
        print(found)
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
