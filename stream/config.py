"""What a run is asked to do: read once, at the edge, from YAML or from the command line's options.

No configuration object reaches a stage; ``app`` hands each the numbers it uses. Keys that are left out take the
defaults below. Paths are relative to the folder the command runs in. Secrets are named here, never written: by
``password_env``, by ``password_file``, or as ``${NAME}`` in a source; ``repr`` and dumps show none.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from engines.spec import ModelSpec
from stream.config_alerts import AlertsConfig
from stream.config_canary import CanaryConfig
from stream.config_evidence import EvidenceConfig
from stream.config_file import ConfigError, YamlFile, problems_of
from stream.config_restream import RestreamConfig
from stream.config_section import (
    Fraction,
    NotNegative,
    PlainName,
    Port,
    Positive,
    Section,
    Text,
    UserText,
    VariableName,
    is_loopback,
    secret_in,
    variable,
)
from stream.config_web import WebConfig
from stream.errors import UsageError
from stream.scoring.scorer import MAX_BATCH
from stream.scoring.verdict import VerdictPolicy, policy_of
from stream.sources.uri import hides_all, redacted_host_and_path, redacted_path

WALL = "wall"
"""Name and RTSP path of the picture of all streams."""
Display = bool | Literal["auto"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_EITHER = (("user", "user_env"), ("password_env", "password_file"))
"""Keys that say the same in two ways."""


def redacted(source: str) -> str:
    """A source without its user, password, query and fragment, and without secrets in its path: fit for logs.

    Wider than a URL's rules: a password with an unescaped slash, or a missing scheme, must not show either.
    """
    scheme, separator, rest = source.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return redacted_path(source)
    if hides_all(rest) or re.search(r"[?#].*@", rest, flags=re.DOTALL):  # a query with an @, or a password with a "?"?
        return f"{scheme}://***"
    rest = re.sub(r".*@", "***@", rest, flags=re.DOTALL)
    host_and_path, *query = re.split(r"[?#]", rest, maxsplit=1)
    return f"{scheme}://{redacted_host_and_path(host_and_path)}{'?***' if query else ''}"


SourceText = Annotated[Text, PlainSerializer(redacted)]
"""May hold a user and password; dumps are redacted."""


@dataclass(frozen=True)
class Credentials:
    """Of a camera; they show in no text."""

    user: str | None = field(default=None, repr=False)
    password: SecretStr | None = None


class StreamDefaults(Section):
    """What all streams share; a stream's own key wins."""

    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP sends."""
    user: UserText | None = Field(default=None, repr=False)
    user_env: VariableName | None = None
    """Environment variable that holds the user name."""
    password_env: VariableName | None = None
    """Environment variable that holds the password."""
    password_file: Path | None = None
    """File that holds the password and nothing else."""
    restream: bool = True
    """Whether this stream is served when ``restream`` is enabled."""
    priority: Literal["high", "normal", "low"] = "normal"
    """A live stream's turns when not all can be served; under overload low is thinned out first and high last."""
    sample_every: Annotated[int, Field(ge=1)] = 1
    """Of a live stream's faces every n-th slot is sampled, the others are masked."""
    detect_rate_hz: Positive | None = None
    """Looks for faces a second in place of ``detector.rate_hz``."""

    @model_validator(mode="after")
    def _one_of_each(self) -> StreamDefaults:
        for first, second in _EITHER:
            if getattr(self, first) is not None and getattr(self, second) is not None:
                raise ValueError(f"give {first} or {second}, not both")
        return self


class StreamConfig(StreamDefaults):
    """One source to watch."""

    source: SourceText = Field(repr=False)
    """``webcam``, ``/dev/video0``, ``rtsp://…``, a file, …; ``${NAME}`` stands for an environment variable."""
    name: PlainName = ""
    """Shown, logged and used as a metric label; left out, one is made from the kind of source."""
    save: Path | None = None
    """Record the overlaid video here."""

    def __repr_args__(self) -> Sequence[tuple[str | None, Any]]:
        return [("source", redacted(self.source)), *super().__repr_args__()]

    def address(self, environment: Mapping[str, str] = os.environ) -> str:
        """The source with its variables filled in; a secret. Raises UsageError when one is not set.

        Between ``://`` and ``@`` values are percent-encoded, so a password may hold any character.
        """
        user_info = _USER_INFO.search(self.source)
        end = user_info.end() if user_info else 0
        front = _VARIABLE.sub(lambda found: quote(self._variable(found[1], environment), safe=""), self.source[:end])
        return front + _VARIABLE.sub(lambda found: self._variable(found[1], environment), self.source[end:])

    def credentials(self, environment: Mapping[str, str] = os.environ) -> Credentials:
        """User and password from where the configuration says; a device on this machine has none.

        Raises UsageError when they are not there.
        """
        if _is_device(self.source):
            return Credentials()
        user = self.user if self.user_env is None else self._variable(self.user_env, environment)
        if self.password_env is not None:
            return Credentials(user, SecretStr(self._variable(self.password_env, environment)))
        if self.password_file is not None:
            return Credentials(user, SecretStr(secret_in(self.password_file)))
        return Credentials(user)

    def _variable(self, name: str, environment: Mapping[str, str]) -> str:
        return variable(name, f"stream {self.name or redacted(self.source)}", environment)


class ModelConfig(Section):
    """What scores faces."""

    name: Text | None = None
    """A catalog name; None takes the default model."""
    folder: Path | None = None
    """A model's own folder (spec.json and its graphs) in place of a catalog name."""
    backend: Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime-cuda", "openvino-cpu", "onnxruntime-cpu"] = "auto"
    """What runs it; ``auto``: the fastest engine that was built for this machine, or else ONNX Runtime on the CPU."""
    build: Literal["auto", "off"] = "off"
    """``auto``: ``watch`` starts on what is there, builds what could be faster in the background, and changes over."""
    threads: Annotated[int, Field(ge=0)] = 0
    """For inference; 0 takes half the cores, so that video keeps the others."""

    @field_validator("build", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        """YAML reads a bare ``off`` as false."""
        return "off" if value is False else value

    @model_validator(mode="after")
    def _one_model(self) -> ModelConfig:
        if self.name is not None and self.folder is not None:
            raise ValueError("give name or folder, not both")
        return self


class DetectorConfig(Section):
    """What finds faces."""

    name: Literal["centerface", "scrfd", "yunet"] = "centerface"
    weights: Path | None = None
    """An .onnx file; None takes the detector's own."""
    confidence: Fraction = 0.5
    rate_hz: Positive = 10.0
    """Detections a second and stream, at most."""
    width: Annotated[int, Field(ge=64, le=4096)] = 320
    """Longest side of the picture that is searched: wider finds smaller faces and takes longer."""


class TrackerConfig(Section):
    """What keeps identities."""

    lost_after_s: Positive = 1.0
    """A face not found for this long is gone; later it gets a new id."""


class QualityConfig(Section):
    """When a face is too poor to be judged; a key left out takes the gate's own limit."""

    min_side_px: NotNegative | None = None
    min_sharpness: NotNegative | None = None
    min_brightness: NotNegative | None = None
    max_cut_off: Fraction | None = None
    min_confidence: Fraction | None = None


class ScoringConfig(Section):
    """When a face is called real or fake; a key left out takes the model's or the policy's own value."""

    fake_at: Fraction | None = None
    real_at: Fraction | None = None
    margin: Fraction | None = None
    hold_s: NotNegative | None = None
    smoothing_s: NotNegative | None = None
    grace_s: NotNegative | None = None
    stale_after_s: Positive = 1.0
    """A score older than this is drawn as stale."""

    def policy(self, spec: ModelSpec) -> VerdictPolicy:
        """The model's limits with these in their place. Raises UsageError when they contradict each other."""
        given = {key: value for key, value in self.model_dump(exclude={"stale_after_s"}).items() if value is not None}
        try:
            return replace(policy_of(spec), **given)
        except ValueError as error:
            raise UsageError(f"scoring: {error}: change one of them") from None


class AnalysisConfig(Section):
    """How live streams share the one analysis thread; files are always analysed whole."""

    batch_window_ms: Annotated[float, Field(ge=0, le=200)] = 2.0
    """How long a due frame waits for those of other streams that fall due; 0: not at all."""
    max_batch: Annotated[int, Field(ge=1)] = MAX_BATCH
    """Crops of live streams in one step: what is left over waits for a later frame, or is masked and counted."""
    max_detections: Annotated[int, Field(ge=1)] = 4
    """Frames of live streams that are searched in one step."""
    busy_above: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of its time that the thread may work before sampling is thinned out; 1: never."""
    calm_every: Annotated[int, Field(ge=1)] = 2
    """Of a face that has long been real every n-th slot is sampled; 1: all."""
    calm_after_s: NotNegative = 3.0
    """How long that is."""


def _picture_size(text: Any) -> Any:
    """``1280x720`` as (1280, 720)."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text) if isinstance(text, str) else None
    if isinstance(text, str) and found is None:
        raise ValueError("write it like 1280x720")
    return text if found is None else (int(found[1]), int(found[2]))


def _sides(size_wh: tuple[int, int]) -> tuple[int, int]:
    if any(side % 8 or not 128 <= side <= 4096 for side in size_wh):
        raise ValueError("sides must be 128 to 4096 and multiples of 8, such as 1280x720")
    return size_wh


class WallConfig(Section):
    """One picture of all streams, with their verdicts."""

    enabled: bool = False
    """Shown in one window, in place of a window for each stream."""
    save: Path | None = None
    """Record it here."""
    restream: bool = True
    """Whether it is served as rtsp://host:port/wall when ``restream`` is enabled."""
    size: Annotated[tuple[int, int], BeforeValidator(_picture_size), AfterValidator(_sides)] = (1280, 720)
    """Written like ``1280x720``."""
    fps: Annotated[float, Field(gt=0, le=30)] = 5.0
    """Pictures a second; the streams keep their own rates."""


class MetricsConfig(Section):
    """Prometheus metrics: http://host:port/metrics."""

    enabled: bool = True
    host: Text = "127.0.0.1"
    """Loopback: this port asks for nothing. Other machines scrape ``/metrics`` of the page."""
    port: Port = 9108
    """0 takes a free one."""

    @field_validator("port", mode="before")
    @classmethod
    def _none_is_said_otherwise(cls, value: object) -> object:
        """The command line's -1."""
        if value == -1:
            raise ValueError("-1 is no port: for no metrics write enabled: false in its place")
        return value

    @model_validator(mode="after")
    def _nobody_let_in(self) -> MetricsConfig:
        if self.enabled and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines, and this port has neither TLS nor a password: "
                "leave it at 127.0.0.1 and let others scrape /metrics of the page with a token (web.host, web.users "
                "and web.tls)"
            )
        return self


class RetryConfig(Section):
    """How a lost live source is opened again: for ever, with waits that double up to a limit."""

    first_s: Positive = 0.5
    longest_s: Positive = 30.0
    stalled_after_s: Positive = 5.0
    """A live source without a frame for this long counts as lost."""

    @model_validator(mode="after")
    def _ordered(self) -> RetryConfig:
        if self.first_s > self.longest_s:
            raise ValueError("first_s must not be more than longest_s")
        return self


class AppConfig(Section):
    """A whole run."""

    streams: tuple[StreamConfig, ...] = ()
    defaults: StreamDefaults = StreamDefaults()
    model: ModelConfig = ModelConfig()
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()
    quality: QualityConfig = QualityConfig()
    scoring: ScoringConfig = ScoringConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    display: Display = "auto"
    """A window for each stream: ``auto`` opens one where there is a display, ``true`` insists, ``false`` opens none."""
    save: Path | None = None
    """Record the overlaid video; ``{name}`` stands for the stream's name and is needed for several streams, ``{time}``
    for when the recording begins. Without it, a file of that name is written over."""
    scores: Path | None = None
    """Append every score as a JSON line."""
    restream: RestreamConfig = RestreamConfig()
    wall: WallConfig = WallConfig()
    metrics: MetricsConfig = MetricsConfig()
    web: WebConfig = WebConfig()
    retry: RetryConfig = RetryConfig()
    alerts: AlertsConfig = AlertsConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    canary: CanaryConfig = CanaryConfig()
    duration_s: Positive | None = None
    """Stop after this long; None runs until the sources end or somebody stops it."""

    @model_validator(mode="before")
    @classmethod
    def _complete_streams(cls, values: Any) -> Any:
        """Give every stream the shared defaults and a name."""
        streams = values.get("streams") if isinstance(values, dict) else None
        if not isinstance(streams, list | tuple):
            return values
        shared = values.get("defaults")
        filled = [_with_defaults(_plain(stream), _plain(shared) or {}) for stream in streams]
        return {**values, "streams": _with_names(filled)}

    @model_validator(mode="after")
    def _names_and_files_differ(self) -> AppConfig:
        for name, count in Counter(stream.name for stream in self.streams).items():
            if count > 1:
                raise ValueError(f"streams: {count} are named {name}: names must differ")
        for path, count in Counter(path for path in map(self.save_path, self.streams) if path).items():
            if count > 1:
                raise ValueError(f"save: {count} streams would be recorded to {path}: put {{name}} in it")
            if path == self.wall.save:
                raise ValueError(f"wall.save: a stream would be recorded to {path}: name another file")
        if self.wall.enabled and any(stream.name == WALL for stream in self.streams):
            raise ValueError(f"streams: {WALL} is the name of the wall's own picture: name the stream otherwise")
        return self

    def with_streams(self, streams: Sequence[StreamConfig]) -> AppConfig:
        """The same run with other streams: they get the shared defaults and names. Raises UsageError."""
        values = {key: getattr(self, key) for key in type(self).model_fields}
        try:
            return AppConfig.model_validate({**values, "streams": list(streams)})
        except ValidationError as error:
            raise UsageError(problems_of(error, AppConfig)[0]) from None

    def save_path(self, stream: StreamConfig) -> Path | None:
        """Where this stream's overlaid video goes."""
        if stream.save is not None or self.save is None:
            return stream.save
        return Path(str(self.save).replace("{name}", stream.name))


def load_config(path: Path) -> AppConfig:
    """Read a YAML file and make sure its secrets are there.

    Raises ConfigError (a UsageError) whose ``problems`` name file, line, key and what to do.
    """
    file = YamlFile(path)
    try:
        config = AppConfig.model_validate(file.values)
    except ValidationError as error:
        raise ConfigError(problems_of(error, AppConfig, file)) from None
    _check_secrets(config, file)
    return config


def check(path: Path) -> list[str]:
    """What a good configuration asks for, in lines for people, without secrets. Raises ConfigError as load_config."""
    config = load_config(path)
    model = config.model.folder or config.model.name or "the default model"
    metrics = f"http://{config.metrics.host}:{config.metrics.port}/metrics" if config.metrics.enabled else "off"
    return [
        f"{path}: good",
        *(_stream_line(config, stream) for stream in config.streams),
        *(["streams: none: name sources on the command line"] if not config.streams else []),
        f"model: {model} on {config.model.backend}; faces: {config.detector.name}, {config.detector.rate_hz:g} Hz",
        *_alert_lines(config.alerts),
        *_evidence_lines(config.evidence),
        f"page: {_page_words(config.web)}",
        *_restream_lines(config.restream),
        f"metrics: {metrics}; window: {_window_words(config.display)}; scores: {config.scores or 'not written'}",
    ]


def _evidence_lines(evidence: EvidenceConfig) -> list[str]:
    if evidence.folder is None:
        return ["evidence: none is kept without evidence.folder"] if evidence.model_fields_set else []
    most = evidence.keep_bytes.human_readable()
    return [f"evidence: kept in {evidence.folder} for {evidence.keep_days:g} days, at most {most}"]


def _page_words(web: WebConfig) -> str:
    if not web.enabled:
        return "off (watch --web turns it on)"
    host = f"[{web.host}]" if ":" in web.host else web.host
    people = "anybody on this machine" if web.users is None else f"users {web.users}"
    is_tls = web.tls is not None
    return f"http{'s'[:is_tls]}://{host}:{web.port}/ ({people}{', TLS'[: 5 * is_tls]})"


def _restream_lines(restream: RestreamConfig) -> list[str]:
    if not restream.enabled:
        return []
    asks = "with a password" if restream.has_password else "without a password"
    return [f"restream: {restream.scheme}://{restream.host}:{restream.port}/NAME, {asks}"]


def _window_words(display: Display) -> str:
    return "where there is a display" if display == "auto" else "yes" if display else "no"


def _stream_line(config: AppConfig, stream: StreamConfig) -> str:
    saved = config.save_path(stream)
    return f"stream {stream.name}: {redacted(stream.source)}" + (f", recorded to {saved}" if saved else "")


def _alert_lines(alerts: AlertsConfig) -> list[str]:
    """None where nothing is to be told."""
    if not alerts.rules:
        return []
    told = ", ".join(sink.name for sink in alerts.to) or "the log only"
    return [f"alerts: {', '.join(rule.name for rule in alerts.rules)}; told to {told}"]


def _check_secrets(config: AppConfig, file: YamlFile) -> None:
    problems = []
    for index, stream in enumerate(config.streams):
        for look in (stream.address, stream.credentials):
            try:
                look()
            except UsageError as error:
                problems.append(f"{file.path}:{file.line(('streams', index))}: {error}")
    try:
        config.restream.check()
    except UsageError as error:
        problems.append(f"{file.path}:{file.line(('restream',))}: {error}")
    for index, problem in config.alerts.problems():
        problems.append(f"{file.path}:{file.line(('alerts', 'to', index))}: {problem}")
    if problems:
        raise ConfigError(problems)


_RIVALS = {key: other for pair in _EITHER for key, other in (pair, pair[::-1])}
"""A stream's own key silences the shared one that says the same in another way."""


def _with_defaults(given: Any, shared: Any) -> Any:
    if not isinstance(given, dict) or not isinstance(shared, dict):
        return given
    wanted = {key: value for key, value in shared.items() if key not in given and _RIVALS.get(key) not in given}
    return {**{key: value for key, value in wanted.items() if key in StreamDefaults.model_fields}, **given}


def _plain(section: Any) -> Any:
    """A model's given keys as they are: ``model_dump`` would redact them."""
    if not isinstance(section, StreamDefaults):
        return section
    return {key: getattr(section, key) for key in section.model_fields_set}


def _with_names(streams: Sequence[Any]) -> list[Any]:
    """Fill in the names that were left out."""
    given = [stream.get("name") for stream in streams if isinstance(stream, dict)]
    taken = {name for name in given if isinstance(name, str)}
    named = []
    for stream in streams:
        if isinstance(stream, dict) and not stream.get("name") and isinstance(stream.get("source"), str):
            name = _free_name(default_name(stream["source"]), taken)
            taken.add(name)
            stream = {**stream, "name": name}
        named.append(stream)
    return named


def _free_name(name: str, taken: set[Any]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def default_name(source: str) -> str:
    """A short name from the kind of source or a file's name, never an address: ``webcam-1``, ``rtsp``, ``clip``."""
    shown = redacted(source)
    scheme, found, _ = shown.partition("://")
    text = scheme if found else shown if _is_device(shown) else Path(shown).stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:30] or "stream"


def _is_device(source: str) -> bool:
    return re.fullmatch(r"[a-z]+(:\w+)?", source) is not None
