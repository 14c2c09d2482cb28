"""Options over a configuration file: what is given wins, what is not stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.cli import _parser
from stream.config import AppConfig
from stream.errors import UsageError
from stream.watch_options import score_config, watch_config


def watch(*words: str) -> AppConfig:
    return watch_config(_parser().parse_args(["watch", *words]))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "house.yaml"
    path.write_text(
        "streams:\n  - {name: door, source: test}\n"
        "detector: {rate_hz: 5}\nmodel: {threads: 3}\nmetrics: {port: 9200}\nsave: from-file.mp4\n"
    )
    return str(path)


def test_sources_get_names_and_share_the_source_options() -> None:
    config = watch("webcam", "clip.mp4", "--transport", "udp")
    assert [stream.name for stream in config.streams] == ["webcam", "clip"]
    assert {stream.transport for stream in config.streams} == {"udp"}


def test_without_a_source_it_says_what_to_name() -> None:
    with pytest.raises(UsageError, match="nothing to watch: name a source"):
        watch()


def test_the_file_alone_is_enough(file: str) -> None:
    config = watch("--config", file)
    assert [stream.name for stream in config.streams] == ["door"]
    assert (config.save, config.metrics.port, config.model.threads) == (Path("from-file.mp4"), 9200, 3)


def test_options_win_over_the_file_and_leave_the_rest(file: str) -> None:
    config = watch("--config", file, "--save", "mine.mp4", "--metrics-port", "0", "--threads", "1")
    assert (config.save, config.metrics.port, config.model.threads) == (Path("mine.mp4"), 0, 1)
    assert config.detector.rate_hz == 5


@pytest.mark.parametrize("command", [["watch", "test"], ["score", "clip.mp4"]])
def test_what_runs_the_model_may_be_named(command: list[str]) -> None:
    def config(*words: str) -> AppConfig:
        return (watch_config if command[0] == "watch" else score_config)(_parser().parse_args([*command, *words]))

    assert config().model.backend == "auto"
    assert config("--backend", "openvino-cpu").model.backend == "openvino-cpu"
    with pytest.raises(UsageError, match=r"model\.backend: Input should be 'auto', 'tensorrt', "):
        config("--backend", "nix")


def test_sources_on_the_command_line_replace_the_files(file: str) -> None:
    assert [stream.source for stream in watch("--config", file, "webcam").streams] == ["webcam"]


def test_a_negative_metrics_port_turns_metrics_off() -> None:
    assert not watch("test", "--metrics-port", "-1").metrics.enabled
    assert watch("test").metrics.port == 9108


def test_two_sources_cannot_be_saved_to_one_file() -> None:
    with pytest.raises(UsageError, match=r"would be recorded to out\.mp4"):
        watch("webcam", "test", "--save", "out.mp4")
    saved = watch("webcam", "test", "--save", "{name}.mp4")
    assert [saved.save_path(stream) for stream in saved.streams] == [Path("webcam.mp4"), Path("test.mp4")]


@pytest.mark.parametrize("words", [("--metrics-port", "70000"), ("--duration", "-3"), ("--threads", "-1")])
def test_a_bad_number_is_one_line(words: tuple[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        watch("test", *words)
    assert "\n" not in str(caught.value)
    assert "see watch --help" in str(caught.value)


def test_a_password_in_a_source_shows_nowhere() -> None:
    config = watch("rtsp://ann:s3cr3t@10.0.0.1/cam")
    assert "s3cr3t" not in repr(config) + config.model_dump_json()


def test_the_home_of_somebody_unknown_is_a_name_like_any_other() -> None:
    options = _parser().parse_args(["score", "x.mp4", "--model", "~nobody-of-that-name/model"])
    assert score_config(options).model.name == "~nobody-of-that-name/model"


def test_a_model_folder_and_a_model_name_are_told_apart(tmp_path: Path) -> None:
    options = _parser().parse_args(["score", "x.mp4", "--model", str(tmp_path)])
    assert score_config(options).model.folder == tmp_path
    options = _parser().parse_args(["score", "x.mp4", "--model", "lite0-gru"])
    assert score_config(options).model.name == "lite0-gru"


def test_the_wall_is_an_option_that_keeps_the_files_own_settings(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text("streams: [{source: test, name: door}]\nwall: {fps: 2, size: 640x360}\n")
    wall = watch("--config", str(path), "--wall").wall
    assert (wall.enabled, wall.fps, wall.size) == (True, 2.0, (640, 360))
    assert not watch("test").wall.enabled
