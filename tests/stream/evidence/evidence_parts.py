"""Scenes, alerts and keepers that the tests of evidence are made of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from engines.preprocess import Bytes
from stream.alerts.alert import Alert, AlertKind, AlertState, Severity
from stream.evidence.keeper import EvidenceKeeper, KeepingPlan
from stream.evidence.retention import Limits
from stream.overlay import OverlayStyle
from stream.scoring.scorer import ModelScorer
from stream.types import FaceScore, Frame, Scene, StreamName, StreamState, TrackId, Verdict, Xyxy
from tests.fakes import SIZE, backbone_of, frame_of, head_of, planes_of, spec_of
from tests.stream.sources.video_parts import wait_until

LOBBY = StreamName("lobby")
LEFT: Xyxy = (20.0, 60.0, 100.0, 160.0)
RIGHT: Xyxy = (200.0, 60.0, 280.0, 160.0)


def face_of(track: int, xyxy: Xyxy = LEFT, probability: float | None = 0.9) -> FaceScore:
    return FaceScore(TrackId(track), xyxy, Verdict.FAKE, probability, slots=(True,) * 12 + (False,) * 8)


def scene_of(*faces: FaceScore, pts_s: float = 1.0, stream: StreamName = LOBBY) -> Scene:
    now_ns = time.monotonic_ns()
    return Scene(
        stream, faces, round(pts_s * 1e9), now_ns, now_ns, state=StreamState.PLAYING, frame_wh=(320, 240), model="m"
    )


def lasting(pts_s: float = 1.0) -> Frame:
    """A frame that can be borrowed again."""
    planes = planes_of(320, 240)
    return Frame(LOBBY, planes, round(pts_s * 1e9), 0, 0, again=lambda: frame_of(pts_s, planes=planes))


def crop_of(level: int, side: int = SIZE) -> Bytes:
    return np.full((side, side, 3), level, np.uint8)


def alert_of(number: int = 1, *, track: int | None = 1, stream: str = LOBBY, age_s: float = 0.0) -> Alert:
    now = time.time() - age_s
    return Alert(
        id=f"{number:08x}5d3e4f0a9b7c",
        rule="fake-held",
        kind=AlertKind.FAKE,
        severity=Severity.CRITICAL,
        state=AlertState.FIRING,
        stream=StreamName(stream),
        track_id=None if track is None else TrackId(track),
        began_at=now,
        changed_at=now,
        fake_probability=0.9,
        message="a face has been called fake for 2 s",
    )


class Tallies:
    """Counts as the metrics do."""

    def __init__(self) -> None:
        self.bytes, self.failures = -1, 0

    def evidence_bytes(self, count: int) -> None:
        self.bytes = count

    def evidence_failed(self) -> None:
        self.failures += 1


class Records(list[tuple[str, Mapping[str, Any]]]):
    """What was recorded."""

    def __call__(self, kind: str, entry: Mapping[str, object]) -> None:
        self.append((kind, entry))


class Kept:
    """A keeper of a folder, with what it told."""

    def __init__(self, root: Path, *, after_s: float = 0.0, blur_others: bool = False, **options: Any) -> None:
        self.root, self.tally, self.records = root, Tallies(), Records()
        limits = options.pop("limits", Limits(30, 2**30))
        plan = KeepingPlan(root, 2.0, after_s, limits, blur_others, OverlayStyle())
        options.setdefault("record", self.records)
        self.keeper = EvidenceKeeper(plan, spec_of().window, lambda: {"unmask": "0"}, self.tally, **options)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self.keeper.close()

    def see(self, *faces: FaceScore, seconds: float = 1.0) -> None:
        """Ten frames a second of media time, with a crop of the first face each."""
        for number in range(round(seconds * 10)):
            scene = scene_of(*faces, pts_s=number / 10)
            for face in faces[:1]:
                self.keeper.face_embedded(LOBBY, face.track_id, scene.pts_ns, crop_of(100 + number))
            self.keeper.frame_analysed(lasting(), scene)
            self.keeper.publish(scene)

    def taken(self, alert: Alert) -> str:
        """The name of its folder, once it lies there whole."""
        name = self.keeper.take(alert)
        assert name is not None
        wait_until(lambda: name in self.names(), "the folder")
        return name

    def names(self) -> list[str]:
        """Of whole folders."""
        return sorted(path.name for path in self.root.iterdir() if not path.name.startswith("."))


def scorer_of(head: Any = 3.0) -> Any:
    """What opens a scripted model."""
    return lambda: nullcontext(ModelScorer(backbone_of(), head_of(head), spec_of()))
