"""What vouches for a watch: a log that cannot be quietly edited, and a canary that tells whether it still sees."""

from __future__ import annotations

import logging
import os
import subprocess  # nosec B404 # this interpreter, again
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.spec import ModelSpec
from stream.alerts.alert import Alert
from stream.canary.answers import recorded_for
from stream.canary.canary import Canary
from stream.canary.clips import CanaryClip, clips_from
from stream.canary.keeper import CanaryKeeper, ClipSource, Told
from stream.config import AppConfig
from stream.errors import MissingPartError, OutputError
from stream.evidence.chain_line import LOG_FOLDER
from stream.evidence_parts import config_sha256
from stream.parts import Parts
from stream.release import release
from stream.web.ports import Readiness

if TYPE_CHECKING:
    from stream.evidence.chain import ChainLog

log = logging.getLogger(__name__)

NICENESS = 10
CLIPS_TIMEOUT_S = 300.0
_CLIP_MAKER = """
import os, sys
sys.path[:] = [path for path in sys.path if path]
os.nice(int(sys.argv[1]))
from stream.demo.canary_clips import main
sys.exit(main())
"""
"""At low priority, and without the current folder, where anybody's ``json.py`` may lie."""


PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "XDG_CACHE_HOME"),
    *("LD_LIBRARY_PATH", "VIRTUAL_ENV"),
)
"""What the clips' maker gets of the environment, which also holds the cameras' passwords."""


class WatchLog:
    """The watch's records: written to the chain where there is one. ``record`` never raises: the video goes on."""

    def __init__(self, chain: ChainLog | None, readiness: Readiness, where: str = "") -> None:
        self._chain, self._readiness = chain, readiness
        self.where = where
        """The log's folder and its key's fingerprint, for people; empty when nothing is kept."""

    def record(self, kind: str, record: Mapping[str, Any]) -> None:
        """A line of the log; one that cannot be written is told, and the service is not ready until one can."""
        if self._chain is None:
            return
        try:
            self._chain.append(kind, record)
        except OutputError as error:
            log.error("%s", error)
            self._readiness.set("log", is_met=False, why=str(error))
        else:
            self._readiness.set("log", is_met=True, why="written")

    def close(self) -> None:
        """Write that the watch stops, sign, and let go."""
        if self._chain is None:
            return
        self.record("stop", {})
        try:
            self._chain.close()
        except OutputError as error:
            log.error("%s", error)


def open_log(config: AppConfig, parts: Parts, readiness: Readiness) -> WatchLog:
    """The log below ``evidence.folder``, begun with what runs. Raises OutputError when it cannot be written."""
    folder = config.evidence.folder
    if folder is None:
        return WatchLog(None, readiness)
    from stream.evidence.chain import ChainLog  # signatures and their package, for those who keep something

    chain = ChainLog(folder / LOG_FOLDER, config.evidence.key)
    opened = WatchLog(chain, readiness, f"{folder / LOG_FOLDER}, signed by {chain.fingerprint}")
    opened.record("start", start_record(config, parts))
    return opened


def start_record(config: AppConfig, parts: Parts) -> dict[str, Any]:
    """What runs: enough to tell later whether it was the same program, configuration, weights and engine."""
    model = parts.model
    return {
        "version": release(),
        "config_sha256": config_sha256(config),
        "model": model.spec.name,
        "files": dict(model.spec.files),
        "backend": parts.scorer.backend_name,
        "precision": model.precision,
        "engine": model.why,
        "detector": parts.detector.name,
        "detector_backend": parts.detector.backend_name,
    }


@dataclass(frozen=True)
class OpenCanary:
    """The canary of a watch; where it is off, each call does nothing."""

    canary: Canary | None = None
    keeper: CanaryKeeper | None = None

    def step(self) -> None:
        """Between two rounds, on the analysis thread."""
        if self.canary is not None:
            self.canary.step()

    def start(self) -> None:
        if self.canary is not None and self.keeper is not None:
            self.keeper.start(self.canary.ask)

    def runtime_changed(self) -> None:
        if self.keeper is not None:
            self.keeper.runtime_changed()

    def close(self) -> None:
        if self.keeper is not None:
            self.keeper.close()


def open_canary(
    config: AppConfig,
    parts: Parts,
    readiness: Readiness,
    *,
    show: Callable[[bool, Mapping[str, float]], None],
    record: Callable[[str, Mapping[str, Any]], None],
    alert: Callable[[Alert], None] = lambda _: None,
    source: ClipSource | None = None,
) -> OpenCanary:
    """Begins to sing at ``start``. ``source``: None makes the clips in a process of its own."""
    wish, spec = config.canary, parts.model.spec
    if (why_off := _why_off(wish.enabled, spec)) is not None:
        readiness.set("canary", is_met=True, why=f"off: {why_off}")
        return OpenCanary()
    told = Told(lambda is_met, why: readiness.set("canary", is_met=is_met, why=why), show, record, alert)
    keeper = CanaryKeeper(source or ClipMaker(), told, every_s=wish.every_min * 60, model=spec.name)
    return OpenCanary(Canary(parts.detector, parts.scorer, recorded_for(spec), keeper.done), keeper)


def _why_off(wish: str, spec: ModelSpec) -> str | None:
    """None where it is on."""
    if wish == "off":
        return "canary.enabled says so"
    is_known = wish == "on" or recorded_for(spec) is not None
    return None if is_known else f"what these weights of {spec.name} say of the clips is not recorded"


def clip_maker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """No more than it needs; of the places of packages ours is the first, and none depends on the current folder."""
    places = environment.get("PYTHONPATH", "").split(os.pathsep)
    ours = [str(Path(__file__).parents[1]), *(place for place in places if Path(place).is_absolute())]
    passed_on = {name: environment[name] for name in PASSED_ON if name in environment}
    return {**passed_on, "PYTHONPATH": os.pathsep.join(ours)}


class ClipMaker:
    """Makes the clips from the packages that hold their pictures, in a process of its own; nothing stays on disk."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_cancelled = False
        self._lock = threading.Lock()

    def load(self) -> tuple[CanaryClip, ...]:
        """Raises MissingPartError in one line when they cannot be made."""
        try:
            process = self._started()
            npz, complaint = process.communicate(timeout=CLIPS_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            raise MissingPartError(f"the canary's clips were not made within {CLIPS_TIMEOUT_S:.0f} s") from None
        except OSError as error:
            self._kill()
            raise MissingPartError(f"the canary's clips could not be made: {error}") from None
        if process.returncode:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
            raise MissingPartError(f"the canary's clips could not be made: {last[0]}")
        return clips_from(npz)

    def cancel(self) -> None:
        with self._lock:
            self._is_cancelled = True
        self._kill()

    def _kill(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-c", _CLIP_MAKER, str(NICENESS))
        with self._lock:
            if self._is_cancelled:
                raise MissingPartError("the canary was stopped")
            self._process = subprocess.Popen(  # nosec B603 # our own words
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clip_maker_environment(os.environ),
                start_new_session=True,  # Ctrl-C is for the watch, which then ends it
            )
            return self._process
