"""A watch as it is in use, for the soak: everything on, visitors, and an operator who takes a stream away and brings it
back."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from bench.visitors import Visitors
from stream.app import Started
from stream.config import AppConfig, WallConfig
from stream.config_alerts import AlertsConfig, ProbabilityRule, SpoolConfig, StreamDownRule
from stream.config_evidence import EvidenceConfig
from stream.config_restream import RestreamConfig
from stream.config_web import WebConfig

RULES = (
    ProbabilityRule(name="face", kind="probability", above=0.01, windows=1, of=1, cool_down_s=20.0),
    StreamDownRule(name="down", kind="stream_down", for_s=0.5, cool_down_s=20.0),
)
"""They fire: the soak's model gives every face the same score, between real and fake."""
WATCHED_S, AWAY_S = (5.0, 20.0), (0.0, 3.0)


def in_use(config: AppConfig, folder: Path) -> AppConfig:
    """The same watch with page, wall, restreams, a recording of its first stream, alerts and their evidence.

    It writes under ``folder``.
    """
    first, *others = config.streams
    evidence = EvidenceConfig(
        folder=folder / "evidence",
        key=folder / "log.pem",
        before_s=1.0,
        after_s=1.0,
        heatmap=False,  # 30 MB that come and go with each: what is kept would not stand out
    )
    outputs = {
        "streams": (first.model_copy(update={"save": folder / "{time}.mp4"}), *others),
        "web": WebConfig(enabled=True, port=0),
        "restream": RestreamConfig(enabled=True, port=0),
        "wall": WallConfig(enabled=True),
        "alerts": AlertsConfig(rules=RULES, spool=SpoolConfig(folder=folder / "spool")),
        "evidence": evidence,
    }
    return config.model_copy(update=outputs)


class Usage:
    """Visitors and an operator, from the start of the watch until ``close``."""

    def __init__(self, started: Started, seed: int) -> None:
        if started.page_url is None:
            raise ValueError("nobody can visit a watch without its page")
        self._visitors = Visitors(started.page_url, started.restream_urls, seed)
        self._stop = threading.Event()
        self._changes = 0
        self._operator = threading.Thread(target=self._operate, args=(started, random.Random(seed)))
        self._operator.start()

    def _operate(self, started: Started, chance: random.Random) -> None:
        """The last stream goes and comes, as often as chance says, and is there at the end."""
        name = started.streams.list()[-1].name
        stream = started.streams.described(name)
        while stream is not None and not self._stop.wait(chance.uniform(*WATCHED_S)):
            started.streams.remove(name)
            self._stop.wait(chance.uniform(*AWAY_S))
            started.streams.add(stream)
            self._changes += 1

    def end_changes(self) -> None:
        """The operator goes home; visitors stay."""
        self._stop.set()
        self._operator.join()

    def close(self) -> dict[str, int]:
        """What was visited, and how often a stream was taken away."""
        self.end_changes()
        return {**self._visitors.close(), "stream removed and added": self._changes}
