"""What the API answers, as shapes with descriptions: they make the OpenAPI description and are made from our values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from stream.alerts.alert import Alert, AlertKind, AlertState, Severity
from stream.config import StreamConfig
from stream.live_streams import StreamStatus
from stream.types import FaceScore, QualityReason, StreamState, Verdict
from stream.web.ports import Condition, Evidence
from stream.web.scenes import Point, SceneHub, ToldScene

PREFIX = "/api/v1"


class Answer(BaseModel):
    """Anything this API answers."""

    model_config = ConfigDict(frozen=True)


class ErrorAnswer(Answer):
    """Anything that went wrong."""

    error: str = Field(description="One line that says what to do.")


class Alive(Answer):
    ok: Literal[True] = True


class ConditionAnswer(Answer):
    name: str
    ok: bool
    why: str


class ReadyAnswer(Answer):
    ready: bool
    conditions: list[ConditionAnswer]


class LoginAnswer(Answer):
    user: str
    role: str


class MeAnswer(Answer):
    user: str | None = Field(description="Null: nobody has logged in.")
    role: str | None = Field(description="viewer, operator or admin; null: log in first.")
    login_required: bool


class VideoAnswer(Answer):
    mjpeg: str | None = Field(description="Path of its MJPEG video.")
    webrtc: bool = Field(description="Whether an offer is answered.")


class StreamAnswer(Answer):
    name: str
    source: str = Field(description="Without user, password and query.")
    state: StreamState
    last_error: str | None
    fps: float = Field(description="Measured; 0: not known.")
    latency_ms: float = Field(description="Camera to score of the newest frame; 0: not known.")
    decoder: str | None = Field(description="Null: nothing was decoded yet.")
    encoder: str | None
    url: str | None = Field(description="Where its overlaid video is restreamed.")
    model: str | None
    backend: str | None
    priority: Literal["high", "normal", "low"]
    sample_every: int
    transport: Literal["tcp", "udp"]
    video: VideoAnswer


class FaceAnswer(Answer):
    track: int = Field(description="The face's number; never used twice in a run.")
    box: tuple[float, float, float, float] = Field(description="Left, top, right, bottom in pixels of `frame`.")
    verdict: Verdict
    fake_probability: float | None = Field(description="Calibrated, 1 = fake; null while no window has been scored.")
    reason: QualityReason | None = Field(description="Why the picture is too poor, if it is.")
    history: list[Point] | None = Field(
        default=None,
        description="[seconds since the epoch, fake probability] of the last minutes, oldest first; not in events.",
    )


class SceneAnswer(Answer):
    stream: str
    at: float = Field(description="Seconds since the epoch.")
    state: StreamState
    frame: tuple[int, int] = Field(description="Width and height of the analysed frame; 0: not known.")
    faces: list[FaceAnswer]
    fps: float
    latency_ms: float
    thinned_to: int = Field(description="Only every n-th slot is sampled: the machine does not keep up; 1: it does.")
    model: str
    backend: str


class AlertAnswer(Answer):
    id: str
    rule: str
    kind: AlertKind
    severity: Severity
    state: AlertState
    stream: str = Field(description="Empty: of the whole service.")
    track_id: int | None
    began_at: float = Field(description="Seconds since the epoch.")
    changed_at: float
    fake_probability: float | None
    message: str
    model: str
    backend: str
    evidence: str | None = Field(description="Name of its evidence folder; null when nothing was kept.")


class FileAnswer(Answer):
    name: str
    kind: str
    bytes: int
    sha256: str
    url: str


class EvidenceAnswer(Answer):
    files: list[FileAnswer]
    manifest: dict[str, Any]
    timeline: Any = Field(description="What was seen moment by moment; null where it was not kept.")


class AlertWithEvidence(AlertAnswer):
    evidence: EvidenceAnswer | None = Field(description="Null when nothing was kept.")  # type: ignore[assignment]


class MachineAnswer(Answer):
    cpu_share: float | None = Field(description="Of all cores, 0 to 1; null at the first look.")
    cores: int
    memory_used_bytes: int
    memory_total_bytes: int
    disk_free_bytes: int | None
    disk_total_bytes: int | None
    celsius: dict[str, float] = Field(description="By zone; empty where the machine does not tell.")


class EngineAnswer(Answer):
    stage: str = Field(description="detect or score.")
    model: str
    backend: str
    precision: str
    why: str
    fallen_back: bool = Field(description="Whether it stands in for a runtime that failed.")


class ThresholdsAnswer(Answer):
    real_at: float = Field(description="At this fake probability and below a face is called real.")
    fake_at: float = Field(description="At this one and above it is called fake.")


class HealthAnswer(Answer):
    version: str
    uptime_s: float
    ready: bool
    machine: MachineAnswer
    engines: list[EngineAnswer]
    thresholds: ThresholdsAnswer | None
    conditions: list[ConditionAnswer]
    clients: int = Field(description="Viewers of videos and listeners to events.")


class SdpAnswer(Answer):
    sdp: str


def stream_answer(
    status: StreamStatus, config: StreamConfig | None, told: ToldScene | None, *, mjpeg: bool, webrtc: bool
) -> StreamAnswer:
    asked = config or StreamConfig(source="test")
    return StreamAnswer(
        name=status.name,
        source=status.source,
        state=status.state,
        last_error=status.last_error,
        fps=round(status.fps, 2),
        latency_ms=round(told.scene.latency_ms, 1) if told else 0.0,
        decoder=status.decoder,
        encoder=status.encoder,
        url=status.url,
        model=(told.scene.model or None) if told else None,
        backend=(told.scene.backend or None) if told else None,
        priority=asked.priority,
        sample_every=asked.sample_every,
        transport=asked.transport,
        video=VideoAnswer(mjpeg=f"{PREFIX}/streams/{quote(status.name)}/video.mjpeg" if mjpeg else None, webrtc=webrtc),
    )


def scene_answer(told: ToldScene, hub: SceneHub | None = None) -> SceneAnswer:
    """``hub``: whose memory of faces' scores goes with it; None leaves them out."""
    scene = told.scene
    return SceneAnswer(
        stream=scene.stream,
        at=round(told.at, 3),
        state=scene.state,
        frame=scene.frame_wh,
        faces=[_face_answer(face, None if hub is None else hub.history(told, face)) for face in scene.faces],
        fps=round(scene.fps, 2),
        latency_ms=round(scene.latency_ms, 1),
        thinned_to=scene.thinned_to,
        model=scene.model,
        backend=scene.backend,
    )


def _face_answer(face: FaceScore, history: Sequence[Point] | None) -> FaceAnswer:
    left, top, right, bottom = (round(float(side), 1) for side in face.xyxy)
    return FaceAnswer(
        track=int(face.track_id),
        box=(left, top, right, bottom),
        verdict=face.verdict,
        fake_probability=None if face.fake_probability is None else round(float(face.fake_probability), 4),
        reason=face.reason,
        history=None if history is None else [(round(at, 2), round(float(value), 4)) for at, value in history],
    )


def _alert_values(alert: Alert) -> dict[str, Any]:
    return {key: getattr(alert, key) for key in AlertAnswer.model_fields}


def alert_answer(alert: Alert) -> AlertAnswer:
    return AlertAnswer(**_alert_values(alert))


def alert_with_evidence(alert: Alert, evidence: Evidence | None) -> AlertWithEvidence:
    return AlertWithEvidence(**{**_alert_values(alert), "evidence": evidence and _evidence_answer(alert.id, evidence)})


def _evidence_answer(alert_id: str, evidence: Evidence) -> EvidenceAnswer:
    files = [
        FileAnswer(
            name=file.name,
            kind=file.kind,
            bytes=file.size_bytes,
            sha256=file.sha256,
            url=f"{PREFIX}/alerts/{quote(alert_id, safe='')}/evidence/{quote(file.name, safe='')}",
        )
        for file in evidence.files
    ]
    return EvidenceAnswer(files=files, manifest=dict(evidence.manifest), timeline=evidence.timeline)


def condition_answers(conditions: Sequence[Condition]) -> list[ConditionAnswer]:
    return [ConditionAnswer(name=one.name, ok=one.is_met, why=one.why) for one in conditions]
