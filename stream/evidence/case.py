"""One alert's evidence, from the moment it is asked for until it lies on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from engines.errors import EngineError
from stream.alerts.alert import Alert
from stream.errors import OutputError
from stream.evidence.folders import TIMELINE, FolderBeingWritten, as_json
from stream.evidence.heatmap import CELLS, Scorer, TimedCrop, occlusion_map
from stream.evidence.manifest import Missing, timeline_json
from stream.evidence.memory import Moment, Picture
from stream.evidence.pictures import heat_jpeg, jpeg, others, snapshot_jpeg
from stream.gst.clip_from_packets import write_clip
from stream.gst.packet_ring import Capture, PacketRing, Packets
from stream.overlay import OverlayStyle

OpenScorer = Callable[[], AbstractContextManager[Scorer]]
"""The model on runtimes of its own, so that the live ones are not held up."""


@dataclass
class Case:
    """What was taken when the alert fired. Belongs to the evidence thread once it is handed over."""

    alert: Alert
    """Its newest state."""
    into: FolderBeingWritten
    """There from the beginning: who wants the evidence gone before it is written finds it, and takes it away."""
    taken_at: float
    """Wall time."""
    taken_ns: int
    """The same on the monotonic clock."""
    due_ns: int
    """When the clip's end has come."""
    picture: Picture | None
    crops: tuple[TimedCrop, ...]
    """Of the alert's face, of one window, oldest first."""
    ring: PacketRing | None
    """None: there are no packets to be had of this stream."""
    capture: Capture | None
    no_clip: str = ""
    """Why there will be none, where that is known already."""

    @property
    def folder(self) -> str:
        """Its name."""
        return self.into.name


@dataclass
class CaseWriter:
    """Writes one case's files, one after the other; what cannot be had is noted and the others go on."""

    case: Case
    style: OverlayStyle
    blur_others: bool
    missing: list[Missing] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    """Of single files, by kind."""
    crop_times: dict[str, int] = field(default_factory=dict)

    @property
    def into(self) -> FolderBeingWritten:
        return self.case.into

    def snapshot(self) -> None:
        picture = self.case.picture
        if picture is None:
            self._lacks("snapshot", "no picture of this stream was analysed yet")
            return
        blurred = others(picture, self.case.alert.track_id) if self.blur_others else ()
        scene = picture.scene
        self.into.write("snapshot.jpg", "snapshot", snapshot_jpeg(picture, self.style, blurred))
        taken_at = self.case.taken_at - (self.case.taken_ns - scene.captured_ns) / 1e9
        self.details["snapshot"] = {"at": taken_at, "pts_ns": scene.pts_ns, "blurred_faces": len(blurred)}

    def faces(self) -> None:
        if not self.case.crops:
            self._lacks("face", self._no_face)
        for index, item in enumerate(self.case.crops):
            name = f"face-{index:02}.jpg"
            self.into.write(name, "face", jpeg(item.crop))
            self.crop_times[name] = item.pts_ns

    def heatmap(self, open_scorer: OpenScorer | None, why_not: str = "") -> None:
        """``why_not``: why there is no time for it now."""
        if open_scorer is None or not self.case.crops or why_not:
            known = why_not if self.case.crops else self._no_face
            self._lacks("heatmap", "it is switched off" if open_scorer is None else known)
            return
        try:
            with open_scorer() as scorer:
                heat = occlusion_map(scorer, self.case.crops)
        except EngineError as error:
            self._lacks("heatmap", str(error))
            return
        self.into.write("heatmap.jpg", "heatmap", heat_jpeg(heat))
        drops = [[round(float(value), 4) for value in row] for row in heat.drops]
        self.details["heatmap"] = {
            "method": "occlusion",
            "cells": CELLS,
            "crops": heat.crops,
            "fake_logit": round(heat.logit, 4),
            "drops": drops,
        }

    def clip(self) -> None:
        case = self.case
        packets = case.ring.ended(case.capture) if case.ring is not None and case.capture is not None else None
        if packets is None or case.no_clip:
            self._lacks("clip", case.no_clip)
            return
        if packets.caps is None:
            self._lacks("clip", "the source sent no encoded video")
            return
        try:
            clip = write_clip(packets, self.into.path, "clip")
        except OutputError as error:
            self._lacks("clip", str(error))
            return
        self.into.add(clip.path.name, "clip")
        self.details["clip"] = {"codec": clip.codec, "seconds": round(clip.seconds, 3), **self._times(packets)}

    def timeline(self, moments: tuple[Moment, ...]) -> None:
        self.into.write(TIMELINE, "timeline", as_json(timeline_json(self.case.alert, moments, self.crop_times)))

    @property
    def _no_face(self) -> str:
        if self.case.alert.track_id is None:
            return "the alert is not about one face"
        return "no picture of this face was given to the model in time"

    def _times(self, packets: Packets) -> dict[str, Any]:
        first, last = packets.packets[0].arrived_ns, packets.packets[-1].arrived_ns
        began_at, ended_at = (self.case.taken_at + (at - self.case.taken_ns) / 1e9 for at in (first, last))
        return {"began_at": began_at, "ended_at": ended_at, "cut": packets.cut or None}

    def _lacks(self, what: str, why: str) -> None:
        self.missing.append(Missing(what, why))
