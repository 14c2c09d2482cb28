"""What vouches for a watch: its log says what ran, its canary is heard, and neither stops the video."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")

from engines.catalog import LoadedModel
from engines.runtime.swappable import RuntimeChange, SwappableBackend
from stream import app, vouching
from stream.app import Started, watch
from stream.canary.clips import GENUINE, SWAPPED, CanaryClip
from stream.config import AppConfig, StreamConfig
from stream.errors import MissingPartError, OutputError
from stream.evidence.chain import ChainLog, log_files
from stream.evidence.chain_line import LOG_FOLDER, LogLine, line_from
from stream.evidence.verify import verify
from stream.evidence_parts import config_sha256
from stream.metrics import Metrics
from stream.parts import Parts
from stream.scoring.scorer import ModelScorer
from stream.vouching import ClipMaker, WatchLog, clip_maker_environment, open_canary, open_log
from stream.web.ports import Readiness
from tests.fakes import FEATURES, backbone_of, head_of, spec_of
from tests.stream.canary.test_canary import CLIPS, by_brightness, waited
from tests.stream.test_app import config, parts


def evidence_in(tmp_path: Path) -> dict[str, Any]:
    return {"folder": tmp_path / "evidence", "key": tmp_path / "keys" / "log.pem"}


def records(folder: Path) -> list[LogLine]:
    return [line_from(text) for path in log_files(folder / LOG_FOLDER) for text in path.read_bytes().splitlines()]


def test_a_watch_logs_what_ran_from_start_to_stop(tmp_path: Path) -> None:
    asked = config(tmp_path, "test", evidence=evidence_in(tmp_path), duration_s=1.0)
    said: list[Started] = []
    watch(asked, parts=parts(), on_started=said.append)
    report = verify(tmp_path / "evidence")
    assert report.is_intact
    assert report.key in said[0].log
    lines = records(tmp_path / "evidence")
    assert [line.kind for line in lines] == ["log", "signature", "start", "stop", "signature"]
    start = lines[2].record
    assert (start["model"], start["backend"], start["detector"]) == ("scripted", "scripted", "fixed")
    assert start["config_sha256"] == config_sha256(asked)


def test_only_its_owner_can_read_what_a_watch_keeps(tmp_path: Path) -> None:
    """The log opens its folder before the evidence does, and makes the one above it."""
    asked = config(tmp_path, "test", evidence=evidence_in(tmp_path), duration_s=0.5)
    watch(asked, parts=parts())
    kept = [tmp_path / "evidence", *(tmp_path / "evidence").rglob("*")]
    assert len(kept) > 4
    for path in kept:
        assert path.stat().st_mode & 0o077 == 0, path


def test_nothing_is_kept_unless_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    said: list[Started] = []
    watch(config(tmp_path, "test", duration_s=0.5, scores=None), parts=parts(), on_started=said.append)
    assert said[0].log == ""
    assert list(tmp_path.iterdir()) == []


def test_a_second_watch_on_one_folder_is_refused_before_it_starts(tmp_path: Path) -> None:
    asked = config(tmp_path, "test", evidence=evidence_in(tmp_path))
    log = open_log(asked, parts(), Readiness())
    with pytest.raises(OutputError, match="another process writes the log"):
        watch(asked, parts=parts())
    log.close()


def test_the_key_has_a_home_away_from_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    asked = config(tmp_path, "test", evidence={"folder": tmp_path / "evidence"})
    open_log(asked, parts(), Readiness()).close()
    assert (tmp_path / "data" / "unmask" / "keys" / "log.pem").is_file()


def test_the_hash_of_a_configuration_tells_changes_and_no_secrets() -> None:
    def hash_of(**changes: Any) -> str:
        return config_sha256(AppConfig(streams=(StreamConfig(source="rtsp://cam/1", **changes),)))

    assert hash_of() == hash_of()
    assert hash_of() != hash_of(priority="high")
    assert hash_of(user="ann") == hash_of(user="bob")


def test_a_log_that_cannot_be_written_is_told_and_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readiness = Readiness()
    log = open_log(config(tmp_path, "test", evidence=evidence_in(tmp_path)), parts(), readiness)

    def fail(*_: object) -> None:
        raise OutputError("the log cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ChainLog, "append", fail)
        log.record("note", {})
    assert [(condition.name, condition.is_met) for condition in readiness.conditions] == [("log", False)]
    log.record("note", {})
    assert readiness.is_ready
    log.close()
    assert verify(tmp_path / "evidence").is_intact


def test_without_a_log_a_record_goes_nowhere() -> None:
    readiness = Readiness()
    log = WatchLog(None, readiness)
    log.record("note", {})
    log.close()
    assert readiness.conditions == ()


class Clips:
    def load(self) -> Sequence[CanaryClip]:
        return CLIPS

    def cancel(self) -> None: ...


def canary_heard(tmp_path: Path, **wish: Any) -> tuple[Readiness, Metrics, list[Mapping[str, Any]], Callable[[], None]]:
    """A canary of scripted engines that call every face fake, until it has answered once."""
    readiness, metrics, heard = Readiness(), Metrics(), list[Mapping[str, Any]]()
    opened = open_canary(
        config(tmp_path, "test", canary=wish),
        parts(),
        readiness,
        show=metrics.show_canary,
        record=lambda kind, record: heard.append({"kind": kind, **record}),
        source=Clips(),
    )
    opened.start()

    def sing() -> None:
        def is_heard() -> bool:
            opened.step()
            return bool(heard)

        waited(is_heard)
        opened.close()

    return readiness, metrics, heard, sing


def test_a_canary_of_a_model_that_nobody_has_recorded_is_off(tmp_path: Path) -> None:
    readiness, metrics, heard, _ = canary_heard(tmp_path, enabled="auto")
    assert readiness.is_ready
    assert readiness.conditions[0].why == "off: what these weights of scripted say of the clips is not recorded"
    assert "unmask_canary" not in metrics.scrape()
    assert heard == []


def test_a_canary_that_is_wrong_shows_everywhere(tmp_path: Path) -> None:
    readiness, metrics, heard, sing = canary_heard(tmp_path, enabled="on")
    assert not readiness.is_ready
    sing()
    assert not readiness.is_ready
    assert "the genuine clip is called fake" in readiness.conditions[0].why
    assert "unmask_canary_ok 0.0" in metrics.scrape()
    assert 'unmask_canary_probability{clip="swapped"} 0.98' in metrics.scrape()
    assert (heard[0]["kind"], heard[0]["right"], heard[0]["why"]) == ("canary", False, "start")


def test_a_recorded_model_without_clips_is_not_ready_and_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``auto``: what is not looked at must not pass for right."""
    monkeypatch.setattr(vouching, "recorded_for", lambda _: {GENUINE: 0.24, SWAPPED: 0.95})
    monkeypatch.setattr(vouching, "_CLIP_MAKER", "raise SystemExit('there is no portrait')")
    readiness, metrics = Readiness(), Metrics()
    asked = config(tmp_path, "test", canary={"enabled": "auto"})
    opened = open_canary(asked, parts(), readiness, show=metrics.show_canary, record=lambda *_: None)
    opened.start()
    waited(lambda: "unmask_canary_ok 0.0" in metrics.scrape())
    opened.close()
    assert not readiness.is_ready
    assert "there is no portrait (canary.enabled: off does without)" in readiness.conditions[0].why


def test_the_maker_of_clips_learns_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the process itself tells."""
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    monkeypatch.setattr(vouching, "_CLIP_MAKER", "import os; raise SystemExit(' '.join(sorted(os.environ)))")
    with pytest.raises(MissingPartError) as told:
        ClipMaker().load()
    assert "PATH" in str(told.value)
    assert "CAMERA_PASSWORD" not in str(told.value)


def test_the_maker_of_clips_finds_packages_where_this_process_does() -> None:
    given = clip_maker_environment({"PYTHONPATH": os.pathsep.join(["/opt/more", "", "here"]), "PATH": "/bin", "X": "y"})
    ours = str(Path(vouching.__file__).parents[1])
    assert given == {"PATH": "/bin", "PYTHONPATH": os.pathsep.join([ours, "/opt/more"])}


def test_clips_that_take_too_long_may_be_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vouching, "CLIPS_TIMEOUT_S", 0.05)
    monkeypatch.setattr(vouching, "_CLIP_MAKER", "import time; time.sleep(60)")
    maker = ClipMaker()
    for _ in range(2):
        with pytest.raises(MissingPartError, match="not made within 0 s"):
            maker.load()


def test_a_running_watch_sings_and_its_streams_do_not_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClipMaker, "load", lambda _: CLIPS)
    stop = threading.Event()

    def stop_once_heard(_: Started) -> None:
        def look() -> None:
            folder = tmp_path / "evidence"
            waited(lambda: any(line.kind == "canary" for line in records(folder)))
            stop.set()

        threading.Thread(target=look, daemon=True).start()

    asked = config(
        tmp_path, "test", evidence=evidence_in(tmp_path), canary={"enabled": "on", "every_min": 60}, duration_s=60.0
    )
    result = watch(asked, parts=parts(), stop=stop, on_started=stop_once_heard)
    assert stop.is_set()
    assert result.exit_code == 0
    assert {stream for stream, _ in result.facts.windows} <= {"test"}
    assert set(result.facts.frames) == {"test"}
    scores = (tmp_path / "scores.jsonl").read_text()
    assert '"stream":"canary"' not in scores


def test_a_runtime_that_comes_in_and_is_wrong_is_caught_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that answers, and wrongly: every face looks bright to it."""
    monkeypatch.setattr(ClipMaker, "load", lambda _: CLIPS)
    opened: list[SwappableBackend] = []

    def scripted(_: AppConfig, *, on_change: Callable[[RuntimeChange], None]) -> Parts:
        backbone = SwappableBackend(backbone_of(), on_change, model="scripted", graph="backbone.onnx")
        opened.append(backbone)
        head, spec = head_of(by_brightness), spec_of()
        return Parts(LoadedModel(spec, backbone, head), parts().detector, ModelScorer(backbone, head, spec))

    monkeypatch.setattr(app, "open_parts", scripted)
    folder, stop = tmp_path / "evidence", threading.Event()

    def passes() -> list[bool]:
        return [bool(line.record["right"]) for line in records(folder) if line.kind == "canary"]

    def change_over(_: Started) -> None:
        def act() -> None:
            waited(lambda: passes() == [True])
            opened[0].swap(backbone_of(lambda crops: np.ones((len(crops), FEATURES))))
            waited(lambda: len(passes()) > 1)
            stop.set()

        threading.Thread(target=act, daemon=True).start()

    watch(
        config(tmp_path, "test", evidence=evidence_in(tmp_path), canary={"enabled": "on"}, duration_s=60.0),
        stop=stop,
        on_started=change_over,
    )
    lines = [line for line in records(folder) if line.kind in ("canary", "runtime", "alert_firing")]
    assert [line.kind for line in lines[:4]] == ["canary", "runtime", "canary", "alert_firing"]
    assert (lines[2].record["right"], lines[2].record["why"]) == (False, "runtime changed")
    assert lines[3].record["kind"] == "canary"
    assert verify(folder).is_intact


def test_clips_that_are_wanted_no_more_are_not_made(tmp_path: Path) -> None:
    maker = ClipMaker()
    asked = config(tmp_path, "test", canary={"enabled": "on"})
    opened = open_canary(asked, parts(), Readiness(), show=lambda *_: None, record=lambda *_: None, source=maker)
    opened.start()
    opened.close()
    with pytest.raises(MissingPartError, match="was stopped"):
        maker.load()


@pytest.mark.parametrize(("said", "meant"), [(True, "on"), (False, "off"), ("on", "on"), ("off", "off")])
def test_on_and_off_are_words_in_yaml(said: object, meant: str) -> None:
    assert AppConfig.model_validate({"canary": {"enabled": said}}).canary.enabled == meant
