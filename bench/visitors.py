"""Visitors of a watch, who come and go: they read its metrics, listen, look at its videos and play its restreams.

For the soak, in a process of its own; some leave in the middle of an answer, as closed laptops do. From the command
line: ``python -m bench.visitors PAGE RESTREAM…`` visits until its standard input ends, then prints the visits as JSON.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from stream.gst.viewers import Viewer

ROOT = Path(__file__).parents[1]
API = "api/v1"
KINDS = ("metrics", "events", "verdicts", "videos", "stills", "restreams")
"""What they come for."""
STAY_S = (0.2, 3.0)
REST_S = (0.0, 1.0)
ANSWER_WITHIN_S = 10.0
END_WITHIN_S = 30.0


class Visitors:
    """Their process, for as long as it is wanted."""

    def __init__(self, page: str, restreams: Sequence[str], seed: int) -> None:
        command = [sys.executable, "-m", "bench.visitors", str(seed), page, *restreams]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def close(self) -> dict[str, int]:
        """What was visited how often, and got something."""
        try:
            told, _ = self._process.communicate(timeout=END_WITHIN_S)
        finally:
            self._process.kill()
        return dict(json.loads(told))


def _read(url: str, stop: threading.Event, chance: random.Random) -> bool:
    """A while of an answer without an end, or all of one that has one. Whether anything came."""
    got, leaving = 0, threading.Event()
    timer = threading.Timer(chance.uniform(*STAY_S), leaving.set)
    timer.start()
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as answer:  # a page of our own, by http
            while not (stop.is_set() or leaving.is_set()) and (read := answer.read1(65536)):
                got += len(read)
    finally:
        timer.cancel()
    return got > 0


def _play(url: str, stop: threading.Event, chance: random.Random) -> bool:
    viewer = Viewer(url)
    try:
        stop.wait(chance.uniform(*STAY_S))
        return viewer.pictures > 0
    finally:
        viewer.close()


def _visits(page: str, names: Sequence[str]) -> dict[str, list[str]]:
    videos = [f"{page}{API}/streams/{name}/video.mjpeg" for name in names]
    stills = [f"{page}{API}/streams/{name}/snapshot.jpg" for name in names]
    return {
        "metrics": [f"{page}metrics"],
        "events": [f"{page}{API}/events"],
        "verdicts": [f"{page}{API}/verdicts"],
        "videos": videos,
        "stills": stills,
    }


def visit(page: str, restreams: Sequence[str], seed: int, stop: threading.Event, told: Counter[str]) -> None:
    """One visitor after the other, until ``stop``."""
    chance = random.Random(seed)
    names = [url.rsplit("/", 1)[1] for url in restreams]
    visits = _visits(page, names)
    while not stop.wait(chance.uniform(*REST_S)):
        kind = chance.choice(KINDS)
        with suppress(OSError, HTTPException):  # refused or reset: its stream is away, or the watch ends
            if kind == "restreams":
                told[kind] += _play(chance.choice(restreams), stop, chance)
            else:
                told[kind] += _read(chance.choice(visits[kind]), stop, chance)


def main(arguments: Sequence[str]) -> int:
    """SEED PAGE RESTREAM…"""
    seed, page, *restreams = arguments
    stop, told = threading.Event(), Counter(dict.fromkeys(KINDS, 0))
    threads = [
        threading.Thread(target=visit, args=(page, restreams, int(seed) * 100 + number, stop, told))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
