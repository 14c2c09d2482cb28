"""Configurations as people write them: good ones, and every way they go wrong."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from engines.spec import Calibration, ModelSpec, PixelSpec, VerdictLimits, WindowSpec
from stream.config import (
    AppConfig,
    DetectorConfig,
    QualityConfig,
    ScoringConfig,
    StreamConfig,
    StreamDefaults,
    check,
    load_config,
    redacted,
)
from stream.config_file import ConfigError, YamlFile
from stream.errors import UsageError
from stream.faces.open import DETECTORS
from stream.faces.quality import QualityLimits
from stream.scoring.verdict import VerdictPolicy

CONFIGS = Path(__file__).parents[2] / "configs"
SECRETS = {
    "CAMERA_USER": "watcher",
    "CAMERA_PASSWORD": "hunter2",
    "CAMERAS_USER": "watcher",
    "CAMERAS_PASSWORD": "hunter2",
    "YARD_PASSWORD": "hunter3",
    "WEBHOOK_SECRET": "hunter4",
    "MQTT_PASSWORD": "hunter5",
    "SMTP_PASSWORD": "hunter6",
    "DEMO_URL": "rtsp://root:hunter2@127.0.0.1:8555/camera",
}
SPEC = ModelSpec(
    name="tiny",
    pixels=PixelSpec(size=8, mean=(0, 0, 0), std=(1, 1, 1)),
    window=WindowSpec(slots=10, period_s=0.3, feature_dim=4),
    calibration=Calibration(temperature=1),
    frame_calibration=Calibration(temperature=1),
    verdict=VerdictLimits(fake_at=0.8, real_at=0.2),
    files={},
)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def written(folder: Path, text: str) -> Path:
    path = folder / "unmask.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> tuple[str, ...]:
    """What load_config says is wrong, without the file's name."""
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
    return tuple(problem.removeprefix(f"{path}:") for problem in caught.value.problems)


shipped = pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)


def test_the_six_configurations_are_shipped() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {"alerts", "webcam", "rtsp", "demo", "jetson", "many"}


@shipped
@pytest.mark.usefixtures("secrets")
def test_a_shipped_configuration_loads(path: Path) -> None:
    config = load_config(path)
    assert config.streams
    assert all(stream.address() for stream in config.streams)


@shipped
@pytest.mark.usefixtures("secrets")
def test_checking_a_shipped_configuration_shows_its_streams_and_no_secret(path: Path) -> None:
    text = "\n".join(check(path))
    assert text.startswith(f"{path}: good")
    assert all(f"stream {stream.name}: " in text for stream in load_config(path).streams)
    assert "hunter" not in text
    assert "watcher" not in text


@shipped
def test_a_shipped_configuration_says_how_to_run_it(path: Path) -> None:
    assert f"unmask watch --config configs/{path.name}" in path.read_text(encoding="utf-8")


def test_the_webcam_example_names_every_key_of_its_sections() -> None:
    text = (CONFIGS / "webcam.yaml").read_text(encoding="utf-8")
    sections = {name: field.annotation for name, field in AppConfig.model_fields.items()}
    for name, section in sections.items():
        if name == "defaults":  # in many.yaml: one camera shares nothing
            continue
        assert re.search(rf"^(# )?{name}:", text, re.MULTILINE), name
        if name not in ("streams", "quality") and hasattr(section, "model_fields"):
            named = r"^  (# )?{}:|# or {}\b"  # of two that say the same, one
            missing = [key for key in section.model_fields if not re.search(named.format(key, key), text, re.MULTILINE)]
            assert missing == [], name


def test_the_commented_keys_of_the_webcam_example_exist_too(tmp_path: Path) -> None:
    text = (CONFIGS / "webcam.yaml").read_text(encoding="utf-8")
    text = re.sub(r"^(\s*)# (\w+: |\w+:$|  \w+: )", r"\1\2", text, flags=re.MULTILINE)
    text = text.replace("  folder: my-model", "  # folder: my-model").replace("quality: #", "quality:\n  #", 1)
    config = load_config(written(tmp_path, text))
    assert config.duration_s == 60
    assert config.quality.min_side_px == QualityLimits().min_side_px
    assert config.scoring.fake_at == 0.65
    assert config.detector.weights == Path("scrfd.onnx")
    assert config.save == Path("recordings/{name}-{time}.mp4")


def test_the_values_of_the_webcam_example_are_the_defaults() -> None:
    given = load_config(CONFIGS / "webcam.yaml").model_dump(exclude={"streams", "scoring"})
    assert given == AppConfig().model_dump(exclude={"streams", "scoring"})
    scoring = load_config(CONFIGS / "webcam.yaml").scoring
    assert scoring.policy(SPEC) == ScoringConfig().policy(SPEC)
    assert scoring.stale_after_s == ScoringConfig().stale_after_s


def test_a_run_from_the_command_line_has_sane_defaults() -> None:
    config = AppConfig(streams=(StreamConfig(source="webcam"),))
    assert config.streams[0].name == "webcam"
    assert (config.metrics.host, config.metrics.port, config.metrics.enabled) == ("127.0.0.1", 9108, True)
    assert (config.detector.name, config.display, config.restream.enabled) == ("centerface", "auto", False)
    assert (config.save, config.scores, config.duration_s, config.model.name) == (None, None, None, None)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "# nothing yet\n")
    assert load_config(path) == AppConfig()
    assert any("on the command line" in line for line in check(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "streams:\n  - source: webcam\n    transprot: udp\n",
            r"3: streams\[0\].transprot: unknown key; did you mean ",
        ),
        ("dispaly: no\n", r"1: dispaly: unknown key; did you mean display\? known: streams, defaults, model"),
        ("metrics:\n  zzz: 1\n", r"2: metrics.zzz: unknown key; known: enabled, host, port$"),
        ("streams:\n  - name: x\n", r"2: streams\[0\].source: missing"),
        ("streams:\n  - source: ''\n", r"2: streams\[0\].source: must not be blank"),
        ("streams:\n  - source: 5\n", r"2: streams\[0\].source: must be a valid string"),
        ("streams:\n  - source: a.mp4\n    name: rtsp://x\n", r"3: streams\[0\].name: must be 1-40 letters"),
        ("streams: webcam\n", r"1: streams: must be a valid tuple"),
        ("streams:\n  - webcam\n", r"2: streams\[0\]: must be "),
        ("metrics: {port: 99999}\n", r"1: metrics.port: must be less than or equal to 65535"),
        ("detector:\n  name: retina\n", r"2: detector.name: must be 'centerface', 'scrfd' or 'yunet'"),
        ("detector: {rate_hz: 0}\n", r"1: detector.rate_hz: must be greater than 0"),
        ("scoring: {margin: .nan}\n", r"1: scoring.margin: must be a finite number"),
        ("duration_s: -1\n", r"1: duration_s: must be greater than 0"),
        ("model: {name: a, folder: b}\n", r"1: model: give name or folder, not both"),
        ("retry: {first_s: 60}\n", r"1: retry: first_s must not be more than longest_s"),
        ("metrics: {port: -1}\n", r"1: metrics.port: -1 is no port: for no metrics write enabled: false in its place$"),
        ("on: 1\n", r"1: 'on' is not read as text here: put it in quotes"),
        ("3: 1\n", r"1: '3' is not read as text"),
        ("display: true\n\ndisplay: false\n", r"3: display: said twice"),
        ("metrics:\n  port: 1\n  port: 2\n", r"3: port: said twice"),
        ("- webcam\n", r"1: must hold keys such as `streams:`, not a list"),
        ("webcam\n", r"1: must hold keys such as `streams:`, not a str"),
        ("metrics: {port: 1\n", r"2: not YAML: "),
        ("a: &a\n\tb: 1\n", r"2: not YAML: "),
        ("display: !!python/object/apply:os.getcwd []\n", r"1: not YAML: could not determine a constructor"),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_the_way_out(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert re.match(expected, problem), problem


def test_all_mistakes_are_told_in_the_file_s_order(tmp_path: Path) -> None:
    found = problems(tmp_path, "streams:\n  - sorce: webcam\ndispaly: no\nmetrics: {port: -1}\n")
    assert [problem.split(":")[0] for problem in found] == ["2", "2", "3", "4"]
    with pytest.raises(ConfigError, match=r"\(and 3 more problems\)$"):
        load_config(tmp_path / "unmask.yaml")


def test_an_unknown_key_names_all_the_known_ones(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "streams:\n  - {source: webcam, zzz: 1}\n")
    assert [key for key in StreamConfig.model_fields if key not in problem] == []


def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "streams:\n  - source: rtsp://cam/x\n    password: hunter2\n")
    assert problem == (
        "3: streams[0].password: a password does not belong in this file: use password_env or password_file"
    )


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_says_what_to_give(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*: give a YAML file"):
        load_config(tmp_path / name)


def test_a_video_given_as_configuration_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\x00\x00\x00\x20ftypisom\xff\xfe\xfd" * 40)
    with pytest.raises(UsageError, match="not a text file") as caught:
        load_config(path)
    assert caught.value.exit_code == 2


def test_lines_are_found_in_lists_and_mappings(tmp_path: Path) -> None:
    file = YamlFile(written(tmp_path, "streams:\n  - source: a\n  - source: b\n    name: c\nmetrics:\n  port: 1\n"))
    assert [file.line(place) for place in (("streams", 1), ("streams", 1, "name"), ("metrics", "port"))] == [3, 4, 6]
    assert file.line(("metrics", "host")) == 5
    assert file.line(()) == 1


def test_an_anchor_is_shared_by_several_streams(tmp_path: Path) -> None:
    text = "streams:\n  - &one\n    source: a.mp4\n    transport: udp\n  - <<: *one\n    source: b.mp4\n"
    config = load_config(written(tmp_path, text))
    assert [(stream.source, stream.transport) for stream in config.streams] == [("a.mp4", "udp"), ("b.mp4", "udp")]


# Names


def test_streams_without_a_name_get_one_from_their_kind() -> None:
    sources = [
        "webcam",
        "webcam",
        "webcam:1",
        "/dev/video0",
        "rtsp://root:pw@cam/x",
        "clips/My clip.mp4",
        "root:pw@cam",
    ]
    config = AppConfig(streams=tuple(StreamConfig(source=source) for source in sources))
    names = [stream.name for stream in config.streams]
    assert names == ["webcam", "webcam-2", "webcam-1", "video0", "rtsp", "My-clip", "cam"]


@given(sources=st.lists(st.text(min_size=1, max_size=60).filter(str.strip), max_size=6))
def test_made_up_names_are_plain_and_differ(sources: list[str]) -> None:
    config = AppConfig(streams=tuple(StreamConfig(source=source) for source in sources))
    names = [stream.name for stream in config.streams]
    assert len(set(names)) == len(sources)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", name) for name in names)


def test_two_streams_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "streams:\n  - {name: a, source: webcam}\n  - {name: a, source: screen}\n"
    (problem,) = problems(tmp_path, text)
    assert problem == "1: streams: 2 are named a: names must differ"


def test_several_streams_are_recorded_to_a_file_each(tmp_path: Path) -> None:
    streams = "streams:\n  - {name: a, source: webcam}\n  - {name: b, source: screen}\n"
    (problem,) = problems(tmp_path, streams + "save: out.mp4\n")
    assert problem == "1: save: 2 streams would be recorded to out.mp4: put {name} in it"
    config = load_config(written(tmp_path, streams + "save: out/{name}.mp4\n"))
    assert [config.save_path(stream) for stream in config.streams] == [Path("out/a.mp4"), Path("out/b.mp4")]


def test_a_stream_s_own_recording_wins() -> None:
    config = AppConfig(streams=(StreamConfig(source="webcam", save=Path("mine.mp4")),), save=Path("all.mp4"))
    assert config.save_path(config.streams[0]) == Path("mine.mp4")


# Shared settings


def test_streams_take_the_shared_settings_unless_they_say_otherwise() -> None:
    config = AppConfig(
        defaults=StreamDefaults(transport="udp", password_env="ALL", user_env="WHO"),
        streams=(
            StreamConfig(source="rtsp://a/x"),
            StreamConfig(source="rtsp://b/x", transport="tcp", password_file=Path("b.txt"), user="joe"),
        ),
    )
    first, second = config.streams
    assert (first.transport, first.password_env, first.user_env) == ("udp", "ALL", "WHO")
    assert (second.transport, second.password_env, second.password_file) == ("tcp", None, Path("b.txt"))
    assert (second.user, second.user_env) == ("joe", None)


def test_a_stream_s_own_place_in_the_line_wins() -> None:
    config = AppConfig(
        defaults=StreamDefaults(priority="low", sample_every=2, detect_rate_hz=5),
        streams=(StreamConfig(source="webcam", priority="high"), StreamConfig(source="rtsp://door/1")),
    )
    asked = [(stream.priority, stream.sample_every, stream.detect_rate_hz) for stream in config.streams]
    assert asked == [("high", 2, 5), ("low", 2, 5)]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("defaults", "priority", "urgent"),
        ("defaults", "sample_every", 0),
        ("defaults", "detect_rate_hz", 0),
        ("analysis", "batch_window_ms", -1),
        ("analysis", "batch_window_ms", 1000),
        ("analysis", "max_batch", 0),
        ("analysis", "max_detections", 0),
        ("analysis", "busy_above", 1.5),
        ("analysis", "calm_every", 0),
    ],
)
def test_a_share_of_the_analysis_that_cannot_be_is_refused(section: str, key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        AppConfig.model_validate({section: {key: value}})


def test_a_secret_comes_from_one_place(tmp_path: Path) -> None:
    text = "streams:\n  - source: rtsp://a/x\n    password_env: A\n    password_file: b\n"
    assert problems(tmp_path, text) == ("2: streams[0]: give password_env or password_file, not both",)


# Secrets


def test_credentials_come_from_the_environment() -> None:
    stream = StreamConfig(source="rtsp://cam/x", user_env="WHO", password_env="PASS")
    found = stream.credentials({"WHO": "root", "PASS": "hunter2"})
    assert found.user == "root"
    assert found.password is not None
    assert found.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(found)
    assert "root" not in repr(found)


def test_a_password_file_holds_the_password_and_a_line_end(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(" hunter2 \r\n", encoding="utf-8")
    found = StreamConfig(source="rtsp://cam/x", user="root", password_file=secret).credentials({})
    assert found.password is not None
    assert found.password.get_secret_value() == " hunter2 "


def test_a_password_file_in_the_home_of_somebody_unknown_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="password_file ~nobody-of-that-name/secret cannot be read"):
        StreamConfig(source="rtsp://cam/x", password_file=Path("~nobody-of-that-name/secret")).credentials({})


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "cannot be read"), (b"\n", "is empty"), (b"\xff", "not text")]
)
def test_a_password_file_without_a_password_is_one_clear_line(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    secret = tmp_path / "password"
    if content is not None:
        secret.write_bytes(content)
    with pytest.raises(UsageError, match=rf"password_file .*{expected}.*: write the password into it"):
        StreamConfig(source="rtsp://cam/x", password_file=secret).credentials({})


def test_a_device_on_this_machine_needs_no_password() -> None:
    stream = StreamConfig(source="webcam:1", password_env="NEVER_SET")
    assert stream.credentials({}).password is None


def test_a_missing_variable_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    text = "streams:\n  - source: webcam\n  - {name: yard, source: rtsp://cam/x, password_env: NO_SUCH_SECRET}\n"
    assert problems(tmp_path, text) == ("3: stream yard: NO_SUCH_SECRET is not set: export NO_SUCH_SECRET=…",)


@given(user=st.text(min_size=1, max_size=10), password=st.text(min_size=1, max_size=20))
def test_a_variable_in_a_url_s_user_part_is_escaped(user: str, password: str) -> None:
    stream = StreamConfig(source="rtsp://${WHO}:${PASS}@cam:554/x?y=${PATH_Y}")
    address = stream.address({"WHO": user, "PASS": password, "PATH_Y": "a/b"})
    assert re.fullmatch(r"rtsp://[\w%.~-]+:[\w%.~-]+@cam:554/x\?y=a/b", address, re.ASCII)


def test_a_whole_address_can_come_from_the_environment() -> None:
    assert StreamConfig(source="${CAM}").address({"CAM": "rtsp://a:b@c/d"}) == "rtsp://a:b@c/d"
    assert StreamConfig(source="cost$5.mp4").address({}) == "cost$5.mp4"


@given(
    password=st.text(max_size=20).filter(lambda text: re.search(r"[&;]\w+=", text) is None),
    template=st.sampled_from(
        [
            *("rtsp://root:{}@cam/x", "rtsps://root:{}@10.0.0.1:322/x?token=1", "root:{}@cam/x", "http://cam/x?pw={}"),
            *("rtsp://cam:554/user=root&password={}&channel=1", "rtsp://cam/pwd={}", "cam/user=root&password={}"),
        ]
    ),
)
@example(password="://", template="root:{}@cam/x")
@example(password="/?#@", template="rtsp://root:{}@cam/x")
@example(password="\n", template="rtsp://root:{}@cam/x")
@example(password="/?#@", template="rtsp://cam:554/user=root&password={}&channel=1")
@example(password="\n&", template="cam/user=root&password={}")
def test_no_password_shows_in_any_text_of_a_configuration(password: str, template: str) -> None:
    source = template.format(f"Zq9{password}Zq9")
    config = AppConfig(streams=(StreamConfig(source=source, user="somebody"),))
    for text in (redacted(source), repr(config), str(config), config.model_dump_json(), config.streams[0].name):
        assert "Zq9" not in text
        assert "somebody" not in text


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://root:pw@cam:554/x", "rtsp://***@cam:554/x"),
        ("rtsp://root:p/w@cam/x", "rtsp://***@cam/x"),
        ("rtsp://root:p@w@cam/x", "rtsp://***@cam/x"),
        ("https://cam/live.m3u8?token=abc#z", "https://cam/live.m3u8?***"),
        ("https://cam/x?mail=a@b", "https://***"),
        ("root:pw@cam/x", "***@cam/x"),
        ("webcam:1", "webcam:1"),
        ("clip@2x.mp4", "clip@2x.mp4"),
        ("rtsp://cam/x", "rtsp://cam/x"),
        ("rtsp://root:pw@cam:554/user=a&password=b&channel=1", "rtsp://***@cam:554/user=***&password=***&channel=1"),
        ("rtsp://cam/user=a&password=b?c#d", "rtsp://cam/user=***&password=***?***"),
        ("rtsp://cam/user=a&password=b@c", "rtsp://***"),
        ("rtsp://cam:554/0/root:pw/main", "rtsp://cam:554/0/***/main"),
        ("cam:554/user=a&password=b&channel=1", "cam:554/user=***&password=***&channel=1"),
        ("cam:554/user=a&password=b@c", "***"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(source: str, shown: str) -> None:
    assert redacted(source) == shown


# Limits of a verdict


def test_limits_left_out_are_the_model_s_own() -> None:
    policy = ScoringConfig(fake_at=0.9, hold_s=2.0).policy(SPEC)
    assert (policy.fake_at, policy.real_at, policy.hold_s) == (0.9, 0.2, 2.0)
    assert policy.forget_s == pytest.approx(3.0)


def test_every_scoring_key_is_a_limit_of_the_verdict() -> None:
    known = {field.name for field in fields(VerdictPolicy)} - {"forget_s"}
    assert set(ScoringConfig.model_fields) - {"stale_after_s"} == known


def test_every_quality_key_is_a_limit_of_the_gate() -> None:
    assert set(QualityConfig.model_fields) == {field.name for field in fields(QualityLimits)}


def test_every_known_detector_can_be_configured() -> None:
    assert [AppConfig(detector=DetectorConfig(name=name)).detector.name for name in DETECTORS] == [*DETECTORS]


def test_limits_that_contradict_the_model_s_are_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"scoring: real_at 0\.9 must not lie above fake_at 0\.8"):
        ScoringConfig(real_at=0.9).policy(SPEC)


def test_a_configuration_cannot_be_changed() -> None:
    config = AppConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.display = False  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(("written", "read"), [("off", "off"), ('"off"', "off"), ("auto", "auto")])
def test_building_is_off_however_yaml_reads_the_word(tmp_path: Path, written: str, read: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"model:\n  build: {written}\nstreams:\n  - source: webcam\n")
    assert load_config(path).model.build == read


# The wall


@pytest.mark.parametrize("size", ["1280x720", "128x1024"])
def test_the_walls_size_is_written_like_1280x720(size: str) -> None:
    config = AppConfig.model_validate({"streams": [{"source": "test"}], "wall": {"enabled": True, "size": size}})
    assert "x".join(map(str, config.wall.size)) == size
    assert config.with_streams(config.streams) == config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"wall": {"size": "1280 720"}}, "write it like 1280x720"),
        ({"wall": {"size": "1284x720"}}, "multiples of 8"),
        ({"wall": {"size": "64x64"}}, "128 to 4096"),
        ({"wall": {"fps": 60}}, "30"),
        (
            {"wall": {"enabled": True}, "streams": [{"source": "test", "name": "wall"}]},
            "name of the wall's own picture",
        ),
        ({"wall": {"save": "a.mp4"}, "save": "a.mp4", "streams": [{"source": "test"}]}, "name another file"),
    ],
)
def test_a_wall_that_cannot_be_is_told(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AppConfig.model_validate({"streams": [{"source": "test"}], **values})
