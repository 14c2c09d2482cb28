"""Streams, faults and time: does anything grow? Memory, descriptors, threads and the age of scores over a long run.

    .venv/bin/python -m bench.soak [--minutes 30] [--streams 4] [--seed N] [--only FAULT] [--often 1] [--in-use]
                                     [--json FILE]

Every camera is a process of its own that is killed, frozen, hung up on, garbled, resized and shifted in time, as the
seed says; the whole application watches them all with a model that costs nothing. Each slope is given an hour, with
twice its standard error as noise; the exit code is 1 when one grows beyond its noise and its allowance, or a stream
never came back.

Resident memory says what the process costs, and moves for many reasons; what C's heap and Python have in use say
whether anything is kept. ``--in-use`` turns everything on beside: page, wall, restreams, a recording, alerts with
evidence, visitors who come and go, and an operator who takes a stream away and brings it back. ``--only`` and
``--often`` find what keeps it: one fault, many times as often as the others come.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.faulty_camera import LOSSY_PAY, FaultyCamera, picture
from bench.held import descriptors, heap_mb, resident_mb, threads
from bench.in_use import Usage, in_use
from bench.live import FixedFace, free_parts
from bench.slopes import Slope, slope_of
from stream.app import Started, watch
from stream.config import AppConfig, MetricsConfig, QualityConfig, RetryConfig, StreamConfig
from stream.config_canary import CanaryConfig
from stream.observers import SilentObserver
from stream.parts import Parts
from stream.types import Scene, StreamName, StreamState

SAMPLE_EVERY_S = 1.0
SETTLED = 0.25
"""The first quarter warms caches and pools up and is left out of the slopes."""
FAULT_EVERY_S = (2.0, 6.0)
BACK_WITHIN_S = 30.0
SIZES = ((320, 240), (480, 360), (640, 360))


@dataclass(frozen=True)
class Sample:
    """What the process held at one moment."""

    at_s: float
    rss_mb: float
    heap_mb: float
    """In use of the C library's heaps, free pages that it keeps left out; NaN where it is not glibc's."""
    kiloblocks: float
    """Thousands of blocks that Python has in use."""
    descriptors: float
    threads: float
    age_ms: float
    """Of the scores of the last second, median; NaN without any."""


@dataclass
class Witness(SilentObserver):
    """Ages of scores and states of streams; an Observer and a Sink."""

    ages_ms: list[float] = field(default_factory=list)
    states: dict[str, StreamState] = field(default_factory=dict)
    losses: int = 0
    scored: int = 0

    def stream_state(self, stream: StreamName, state: StreamState) -> None:
        self.states[stream] = state

    def reconnected(self, stream: StreamName, reason: str) -> None:  # noqa: ARG002 - the protocol's signature
        self.losses += 1

    def window_scored(self, *_: object) -> None:
        self.scored += 1

    def publish(self, scene: Scene) -> None:
        if scene.captured_ns and scene.state is StreamState.PLAYING and scene.faces:
            self.ages_ms.append((scene.published_ns - scene.captured_ns) / 1e6)

    def close(self) -> None:
        """Nothing is open."""


ALLOWED_PER_HOUR = {
    "rss_mb": 5.0,
    "heap_mb": 2.0,
    "kiloblocks": 10.0,
    "descriptors": 2.0,
    "threads": 2.0,
    "age_ms": 5.0,
}
"""Growth that no night would notice."""


def slopes(samples: Sequence[Sample]) -> list[Slope]:
    settled = samples[round(len(samples) * SETTLED) :]
    at_s = [sample.at_s for sample in settled]
    return [
        slope_of(name, at_s, [getattr(sample, name) for sample in settled], allowed)
        for name, allowed in ALLOWED_PER_HOUR.items()
    ]


Fault = Callable[[FaultyCamera, random.Random, threading.Event], None]


def _kill(camera: FaultyCamera, chance: random.Random, stop: threading.Event) -> None:
    camera.kill()
    stop.wait(chance.uniform(0.0, 3.0))
    camera.start_again(picture("ball"))


def _freeze(camera: FaultyCamera, chance: random.Random, stop: threading.Event) -> None:
    camera.freeze()
    stop.wait(chance.uniform(0.5, 4.0))
    camera.thaw()


def _hang_up(camera: FaultyCamera, _: random.Random, __: threading.Event) -> None:
    camera.hang_up()


def _resize(camera: FaultyCamera, chance: random.Random, _: threading.Event) -> None:
    width, height = chance.choice(SIZES)
    camera.change("caps", "caps", f"video/x-raw,format=I420,width={width},height={height},framerate=25/1")


def _shift(camera: FaultyCamera, chance: random.Random, _: threading.Event) -> None:
    camera.shift(chance.uniform(-20.0, 20.0))


def _flap(camera: FaultyCamera, __: random.Random, stop: threading.Event) -> None:
    for _ in range(3):
        camera.hang_up()
        stop.wait(1.0)


def _other_codec(camera: FaultyCamera, chance: random.Random, stop: threading.Event) -> None:
    camera.launch(picture("ball", encoder="jpegenc", pay="rtpjpegpay name=pay0 pt=26"))
    stop.wait(chance.uniform(2.0, 4.0))
    camera.launch(picture("ball"))


def _lose_packets(camera: FaultyCamera, chance: random.Random, stop: threading.Event) -> None:
    camera.launch(picture("ball", pay=LOSSY_PAY))
    stop.wait(chance.uniform(2.0, 4.0))
    camera.launch(picture("ball"))


FAULTS: dict[str, Fault] = {
    "killed": _kill,
    "frozen": _freeze,
    "hung up": _hang_up,
    "resized": _resize,
    "time shifted": _shift,
    "flapping": _flap,
    "other codec": _other_codec,
    "lost packets": _lose_packets,
}


@dataclass(frozen=True)
class SoakOrder:
    """What is to be tried."""

    seed: int
    minutes: float
    streams: int = 4
    only: tuple[str, ...] = tuple(FAULTS)
    """Of ``FAULTS``."""
    often: float = 1.0
    """So many times as many of them."""
    is_in_use: bool = False


@dataclass(frozen=True)
class Soaked:
    """What a soak found."""

    order: SoakOrder
    faults: dict[str, int]
    visits: dict[str, int]
    """What visitors came for and got, and what the operator did; empty without."""
    losses: int
    scored: int
    missing: tuple[str, ...]
    """Streams that did not play again at the end."""
    slopes: tuple[Slope, ...]
    samples: tuple[Sample, ...]

    @property
    def is_clean(self) -> bool:
        is_used = not self.order.is_in_use or all(self.visits.values())
        return self.scored > 0 and is_used and not self.missing and not any(slope.grows for slope in self.slopes)


class _Soak:
    """Cameras, the application on a thread, somebody who breaks things, and the samples."""

    def __init__(self, order: SoakOrder) -> None:
        self._order = order
        self._usage: Usage | None = None
        self._visits = dict[str, int]()
        self._witness, self._stop, self._calm = Witness(), threading.Event(), threading.Event()
        self._faults = dict.fromkeys(FAULTS, 0)
        self._failure: BaseException | None = None

    def run(self) -> Soaked:
        with ExitStack() as closing:
            cameras = [closing.enter_context(FaultyCamera(picture("ball"))) for _ in range(self._order.streams)]
            config = _config(cameras)
            if self._order.is_in_use:
                config = in_use(config, Path(closing.enter_context(TemporaryDirectory(prefix="soak-"))))
            watching = threading.Thread(target=self._watch, args=(config,))
            breaking = [
                threading.Thread(target=self._break, args=(camera, random.Random(self._order.seed * 1000 + index)))
                for index, camera in enumerate(cameras[1:])  # the first is never touched
            ]
            for thread in (watching, *breaking):
                thread.start()
            try:
                samples = self._sample()
                self._calm.set()
                for thread in breaking:
                    thread.join()
                if self._usage is not None:
                    self._usage.end_changes()
                missing = self._missing()
                self._visits = {} if self._usage is None else self._usage.close()
            finally:
                self._calm.set()
                self._stop.set()
                watching.join()
        if self._failure is not None:
            raise self._failure
        return self._result(samples, missing)

    def _result(self, samples: Sequence[Sample], missing: tuple[str, ...]) -> Soaked:
        told = self._witness
        return Soaked(
            self._order,
            self._faults,
            self._visits,
            told.losses,
            told.scored,
            missing,
            tuple(slopes(samples)),
            tuple(samples),
        )

    def _watch(self, config: AppConfig) -> None:
        free = free_parts()
        parts = Parts(free.model, FixedFace(), free.scorer)
        try:
            watch(
                config,
                stop=self._stop,
                parts=parts,
                sinks=[self._witness],
                observers=[self._witness],
                on_started=self._invite,
            )
        except BaseException as error:  # top of the thread: raised again by run()
            self._failure = error
            self._stop.set()
        finally:
            parts.close()

    def _invite(self, started: Started) -> None:
        if self._order.is_in_use:
            self._usage = Usage(started, self._order.seed)

    def _break(self, camera: FaultyCamera, chance: random.Random) -> None:
        while not self._calm.wait(chance.uniform(*FAULT_EVERY_S) / self._order.often) and not self._stop.is_set():
            name = chance.choice(self._order.only)
            self._faults[name] += 1
            try:
                FAULTS[name](camera, chance, self._calm)
            except Exception as error:  # top of the thread: raised again by run()
                self._failure = error
                self._stop.set()

    def _sample(self) -> list[Sample]:
        """Into memory that was taken before, so that the samples are no growth themselves."""
        began_s, count = time.monotonic(), 0
        table = np.zeros((math.ceil(self._order.minutes * 60 / SAMPLE_EVERY_S) + 1, len(fields(Sample))))
        while (at_s := time.monotonic() - began_s) < self._order.minutes * 60 and not self._stop.wait(SAMPLE_EVERY_S):
            ages, self._witness.ages_ms = self._witness.ages_ms, []
            table[count] = astuple(_now(at_s, ages))
            count += 1
        return [Sample(*map(float, row)) for row in table[:count]]

    def _missing(self) -> tuple[str, ...]:
        deadline = time.monotonic() + BACK_WITHIN_S
        while (away := self._away()) and time.monotonic() < deadline and not self._stop.is_set():
            time.sleep(0.1)
        return away

    def _away(self) -> tuple[str, ...]:
        return tuple(name for name, state in self._witness.states.items() if state is not StreamState.PLAYING)


def _config(cameras: Sequence[FaultyCamera]) -> AppConfig:
    return AppConfig(
        streams=tuple(StreamConfig(source=camera.url, name=f"camera{n}") for n, camera in enumerate(cameras)),
        display=False,
        metrics=MetricsConfig(port=0),
        canary=CanaryConfig(enabled="off"),  # a model that costs nothing knows no genuine clip
        quality=QualityConfig(min_sharpness=0.0, min_brightness=0.0),
        retry=RetryConfig(first_s=0.2, longest_s=2.0, stalled_after_s=2.0),
    )


def _now(at_s: float, ages_ms: Sequence[float]) -> Sample:
    age_ms = float(np.median(ages_ms)) if ages_ms else float("nan")
    return Sample(at_s, resident_mb(), heap_mb(), sys.getallocatedblocks() / 1000, descriptors(), threads(), age_ms)


def soak(order: SoakOrder) -> Soaked:
    """Raises what stopped the application, if anything did."""
    return _Soak(order).run()


def _table(result: Soaked) -> Table:
    table = Table("measure", "mean", "spread", "slope an hour", "noise (2 s.e.)", "allowed", "")
    for slope in result.slopes:
        numbers = (slope.level, slope.spread, slope.per_hour, slope.noise_per_hour, slope.allowed_per_hour)
        table.add_row(slope.name, *(f"{number:.2f}" for number in numbers), "GROWS" if slope.grows else "ok")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Do faults make anything grow?")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--seed", type=int, help="of the faults; a new one is made up and printed without it")
    parser.add_argument("--only", choices=FAULTS, action="append", default=[], help="this fault (again: and this)")
    parser.add_argument("--often", type=float, default=1.0, help="so many times as many faults")
    parser.add_argument("--in-use", action="store_true", help="with everything on, visitors and an operator")
    parser.add_argument("--json", type=Path, help="write the result here, too")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    console = Console()
    only = tuple(options.only) or tuple(FAULTS)
    order = SoakOrder(seed, options.minutes, options.streams, only, options.often, options.in_use)
    console.print(f"seed {order.seed}, {order.minutes:g} minutes, {order.streams} streams")
    result = soak(order)
    console.print(_table(result))
    console.print(f"faults: {result.faults}; losses and cuts: {result.losses}; windows scored: {result.scored}")
    console.print(f"visits: {result.visits or 'none'}")
    console.print(f"not back at the end: {', '.join(result.missing) or 'none'}")
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=1) + "\n")
    return 0 if result.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
