"""Keeps what was seen around an alert: taken at once, written on a thread of its own, deleted when it is old."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from engines.preprocess import Bytes
from engines.spec import WindowSpec
from stream.alerts.alert import Alert
from stream.errors import UnmaskError
from stream.evidence.case import Case, CaseWriter, OpenScorer
from stream.evidence.folders import FolderBeingWritten, folder_name, open_root
from stream.evidence.heatmap import TimedCrop
from stream.evidence.manifest import clock_facts, manifest_json
from stream.evidence.memory import Memory, Picture
from stream.evidence.retention import Limits, Record, no_record, sweep
from stream.gst.packet_ring import PacketRing
from stream.gst.raw_packets import RawPackets
from stream.overlay import OverlayStyle
from stream.types import Frame, Scene, StreamName, TrackId

log = logging.getLogger(__name__)

MOST_CASES = 16
"""Alerts whose evidence waits for its clip's end or for being written; more at once leave none."""
MOST_HEATMAPS = 4
"""With more cases waiting there is no time for heat maps."""
SWEEP_EVERY_S = 3600.0
SLACK_S = 15.0
"""Moments are remembered so much longer than a clip lasts: alerts come late, and cases wait for their turn."""
OLDEST_S = 60.0
"""An alert that is older when it is told of is taken as if it had fired then."""
CLOSE_WITHIN_S = 30.0
NICENESS = 10
"""Of the thread: live video and analysis go first."""


class Tally(Protocol):
    """Counts what the metrics show."""

    def evidence_bytes(self, count: int) -> None:
        """On disk now."""

    def evidence_failed(self) -> None:
        """An alert's evidence could not be kept."""


@dataclass(frozen=True)
class KeepingPlan:
    """What is kept, and for how long."""

    root: Path
    before_s: float
    after_s: float
    limits: Limits
    blur_others: bool
    style: OverlayStyle


class EvidenceKeeper:
    """An EvidenceTaker, an AlertListener, a Sink of scenes and a Witness of the analysis.

    ``take`` and ``alert_changed`` belong to the alerts' thread, the scenes and crops to the analysis, ``packets``
    and ``forget`` to whoever opens streams; disk, encoding and inference happen on the keeper's own thread.
    """

    def __init__(
        self,
        plan: KeepingPlan,
        window: WindowSpec,
        facts: Callable[[], Mapping[str, Any]],
        tally: Tally,
        *,
        record: Record = no_record,
        open_scorer: OpenScorer | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``facts``: of the program, for manifests; ``open_scorer``: None makes no heat maps.

        Raises OutputError when nothing can be kept there.
        """
        open_root(plan.root)
        self._plan, self._window, self._facts, self._tally = plan, window, facts, tally
        self._record, self._open_scorer, self._wall = record, open_scorer, wall_clock
        self._memory = Memory(slots=window.slots, keep_s=plan.before_s + plan.after_s + OLDEST_S + SLACK_S)
        self._rings: dict[StreamName, PacketRing] = {}
        self._raw: dict[StreamName, RawPackets] = {}
        self._wake = threading.Condition()
        self._cases: deque[Case] = deque()
        self._is_closing = False
        self._bytes = 0
        self._sweep_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._thread.start()

    # Asked by alerts

    def take(self, alert: Alert) -> str | None:
        """Begin to keep evidence of an alert that fires, as EvidenceTaker says."""
        try:
            return self._take(alert)
        except OSError as error:
            self._fail(alert, _disk_words(error))
        except Exception as error:  # an alert must reach people with evidence or without
            self._fail(alert, f"{type(error).__name__}: {error}")
        return None

    def alert_changed(self, alert: Alert) -> None:
        """What becomes of an alert before its evidence is written stands in the manifest; later changes do not."""
        with self._wake:
            for case in self._cases:
                if case.alert.id == alert.id:
                    case.alert = replace(alert, evidence=case.folder)

    # Told by the analysis

    def face_embedded(self, stream: StreamName, track_id: TrackId, pts_ns: int, crop: Bytes) -> None:
        self._memory.face_embedded(stream, track_id, pts_ns, crop)

    def frame_analysed(self, frame: Frame, scene: Scene) -> None:
        self._memory.frame_analysed(frame, scene)

    def publish(self, scene: Scene) -> None:
        self._memory.remember(scene, self._wall())

    # Told by who opens streams

    def packets(self, stream: StreamName, *, may_be_raw: bool) -> tuple[PacketRing, RawPackets | None]:
        """Where a live stream's encoded pictures go, and its decoded ones where it may send no others.

        What came before a stream was opened again stays until it plays.
        """
        ring = self._rings.setdefault(stream, PacketRing(self._plan.before_s))
        ring.renew()
        self._stop_encoding(stream)
        if may_be_raw:
            self._raw[stream] = RawPackets(stream, ring)
        return ring, self._raw.get(stream)

    def forget(self, stream: StreamName) -> None:
        """The stream is watched no more; cases that wait have what they need."""
        self._rings.pop(stream, None)
        self._stop_encoding(stream)
        self.forget_sights(stream)

    def forget_sights(self, stream: StreamName) -> None:
        """The analysis has told the last of it, which may be long after it was asked to."""
        self._memory.forget(stream)

    def close(self) -> None:
        """Write what waits, with the clips' ends as they are; may be called again."""
        with self._wake:
            self._is_closing = True
            self._wake.notify_all()
        self._thread.join(CLOSE_WITHIN_S)
        for stream in list(self._raw):
            self._stop_encoding(stream)

    def _stop_encoding(self, stream: StreamName) -> None:
        raw = self._raw.pop(stream, None)
        if raw is not None:
            raw.close()

    # Taking

    def _take(self, alert: Alert) -> str | None:
        if not alert.stream:
            return None  # of the whole service: there is nothing to see
        with self._wake:
            if self._is_closing:
                return None
            if len(self._cases) >= MOST_CASES:
                self._fail(alert, f"{MOST_CASES} others are still being kept")
                return None
            into = FolderBeingWritten(self._plan.root, self._free_name(alert), alert.id)
            try:
                case = self._case(alert, into)
            except BaseException:
                into.abandon()
                raise
            self._cases.append(case)
            self._wake.notify_all()
        return case.folder

    def _case(self, alert: Alert, into: FolderBeingWritten) -> Case:
        now_ns, now = time.monotonic_ns(), self._wall()
        fired_ns = now_ns - round(min(max(now - alert.began_at, 0.0), OLDEST_S) * 1e9)
        due_ns = fired_ns + round(self._plan.after_s * 1e9)
        ring, no_clip = self._ring_of(alert.stream)
        capture = None if ring is None else ring.capture(fired_ns - round(self._plan.before_s * 1e9), due_ns)
        crops = self._crops(alert)
        return Case(alert, into, now, now_ns, due_ns, self._picture(alert.stream), crops, ring, capture, no_clip)

    def _ring_of(self, stream: StreamName) -> tuple[PacketRing | None, str]:
        """Its ring, and why there will be no clip."""
        if self._plan.blur_others:
            return None, "faces that the alert is not about are to be blurred, and encoded video cannot be"
        ring = self._rings.get(stream)
        return ring, "" if ring is not None else "the stream is not live, or watched no more"

    def _crops(self, alert: Alert) -> tuple[TimedCrop, ...]:
        """Of the window that fired, not older."""
        if alert.track_id is None:
            return ()
        crops = self._memory.crops(alert.stream, alert.track_id)
        span_ns = self._window.slots * self._window.period_s * 1e9
        return tuple(item for item in crops if crops[-1].pts_ns - item.pts_ns <= span_ns)

    def _picture(self, stream: StreamName) -> Picture | None:
        try:
            return self._memory.picture(stream)
        except UnmaskError as error:
            log.warning("no snapshot of %s: %s", stream, error)
            return None

    def _free_name(self, alert: Alert) -> str:
        name = wanted = folder_name(alert.began_at, alert.stream, alert.id)
        taken, number = {case.folder for case in self._cases}, 2  # one that a purge took is still in the queue
        while name in taken or (self._plan.root / name).exists():
            name, number = f"{wanted}.{number}", number + 1
        return name

    # The thread

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # only Linux has priorities of threads
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            self._sweep_if_due()
            case = self._next()
            if case is not None:
                self._keep(case)
            elif self._is_closing and not self._cases:
                return

    def _next(self) -> Case | None:
        """The oldest case once its clip's end has come; None when it is time to look after something else.

        It stays listed while it is written, so that the number of cases in memory is bounded.
        """
        with self._wake:
            first = self._cases[0] if self._cases else None
            until_s = SWEEP_EVERY_S if first is None else (first.due_ns - time.monotonic_ns()) / 1e9
            if until_s > 0 and not self._is_closing:
                self._wake.wait(min(until_s, SWEEP_EVERY_S))
                return None
            return first

    def _keep(self, case: Case) -> None:
        try:
            self._write(case)
        except Exception as error:  # top of the thread: one alert's evidence must not cost the others'
            if case.into.was_taken_away:
                log.info("the evidence of alert %s was purged before it was written", case.alert.id)
            else:
                words = _disk_words(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                self._fail(case.alert, words)
        finally:
            case.into.abandon()
            with self._wake:
                self._cases.popleft()

    def _write(self, case: Case) -> None:
        into = case.into
        digest = into.finish(self._filled(CaseWriter(case, self._plan.style, self._plan.blur_others)))
        self._count(sum(file.bytes for file in into.files))
        files = [file.as_json() for file in into.files]
        entry = {"alert": case.alert.id, "folder": case.folder, "manifest_sha256": digest, "files": files}
        self._record("evidence", entry)

    def _filled(self, writer: CaseWriter) -> dict[str, Any]:
        """Write all files but the manifest, and give that."""
        case, plan = writer.case, self._plan
        writer.snapshot()
        writer.faces()
        writer.clip()
        writer.heatmap(self._open_scorer, self._too_busy())
        fired = max(case.alert.began_at, case.taken_at - OLDEST_S)
        writer.timeline(self._memory.moments(case.alert.stream, fired - plan.before_s, fired + plan.after_s))
        facts = {**self._facts(), "clock": clock_facts()}
        with self._wake:
            alert = replace(case.alert, evidence=case.folder)
        return manifest_json(alert, case.folder, writer.into.files, writer.missing, facts, writer.details)

    def _too_busy(self) -> str:
        if self._is_closing:
            return "the program was being stopped"
        return "too many alerts came at once" if len(self._cases) > MOST_HEATMAPS else ""

    def _count(self, size: int) -> None:
        self._bytes += size
        self._tally.evidence_bytes(self._bytes)
        if self._bytes > self._plan.limits.keep_bytes:
            self._sweep_at_s = 0.0

    def _sweep_if_due(self) -> None:
        if time.monotonic() < self._sweep_at_s:
            return
        self._sweep_at_s = time.monotonic() + SWEEP_EVERY_S
        try:
            gone, self._bytes = sweep(self._plan.root, self._wall(), self._plan.limits, self._record)
        except OSError as error:
            log.error("old evidence in %s cannot be deleted (%s): delete it by hand", self._plan.root, error.strerror)
            return
        except Exception:  # evidence of what fires is worth more than room
            log.exception("old evidence in %s cannot be deleted, by a fault of this program", self._plan.root)
            return
        self._tally.evidence_bytes(self._bytes)
        if gone:
            log.info("deleted the evidence of %d alerts: too old, or too much", len(gone))

    def _fail(self, alert: Alert, why: str) -> None:
        log.error("evidence of alert %s (%s) was not kept: %s", alert.id, alert.stream or "service", why)
        self._tally.evidence_failed()


def _disk_words(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full: free some space, or lower evidence.keep_bytes"
    return f"{error.strerror or error}: see to evidence.folder"
