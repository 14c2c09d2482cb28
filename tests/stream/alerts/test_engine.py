"""The alerts of a run, on their own thread: who is told what, in which order, and what a bug of one costs others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from stream.alerts import engine as engine_module
from stream.alerts.alert import Alert, AlertKind, AlertState
from stream.alerts.engine import AlertEngine
from stream.alerts.message import decoded, encoded, key_of, new_alert_id
from stream.alerts.open import open_alerts
from stream.alerts.outbox import Outbox, Route
from stream.alerts.rules import FakeHeld, Rule, StreamDown
from stream.alerts.spool import SpoolLimits
from stream.config_alerts import AlertsConfig
from stream.errors import OutputError
from stream.types import StreamName, StreamState
from tests.stream.alerts.alert_parts import CAM, alert_of, book_of, face_of, now_at, scene_at
from tests.stream.alerts.receivers import wait_until
from tests.stream.alerts.test_outbox import Counts, ScriptedSender

FAKE = FakeHeld(name="fake", for_s=1)
DOWN = StreamDown(name="down", for_s=0, resolve_after_s=0)


class Witness:
    """Everybody who may be told, in one list: order counts."""

    def __init__(self, folder: str | None = None) -> None:
        self.events: list[tuple[str, str, str | None]] = []
        self.alerts: list[Alert] = []
        self.folder = folder
        self.threads: set[str] = set()

    def take(self, alert: Alert) -> str | None:
        self.events.append(("take", key_of(alert), alert.evidence))
        return self.folder

    def alert_changed(self, alert: Alert) -> None:
        self.threads.add(threading.current_thread().name)
        self.alerts.append(alert)
        self.events.append(("told", key_of(alert), alert.evidence))

    def record(self, kind: str, said: Mapping[str, object]) -> None:
        self.events.append((kind, f"{said['id']}-{said['state']}", str(said["evidence"])))

    def start(self, streams: Callable[[], Sequence[StreamName]]) -> Sequence[Alert]:  # noqa: ARG002 - the seam's
        return ()

    def add(self, alert: Alert) -> None:
        self.events.append(("spool", key_of(alert), alert.evidence))

    def close(self) -> None:
        self.events.append(("closed", "", None))

    @property
    def keys(self) -> list[str]:
        return [key_of(alert) for alert in self.alerts]


class Run:
    """An engine with a hand-set world."""

    def __init__(self, *rules: Rule, witness: Witness | None = None) -> None:
        self.witness = witness or Witness()
        self.states = {CAM: StreamState.PLAYING}
        self.engine = AlertEngine(
            book_of(*rules), self.witness, evidence=self.witness, record=self.witness.record, clock=lambda: now_at(0)
        )
        self.engine.subscribe(self.witness)

    def __enter__(self) -> Run:
        self.engine.start(lambda: self.states)
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def fire(self) -> None:
        for at in (0, 1):
            self.engine.sink.publish(scene_at(at, face_of()))

    def wait_for(self, *keys: str) -> None:
        wait_until(lambda: self.witness.keys == [*keys], f"{keys}, not {self.witness.keys}")


def test_an_alert_goes_to_disk_then_to_the_log_then_to_listeners_with_its_evidence() -> None:
    with Run(FAKE, witness=Witness("20260102-door")) as run:
        run.fire()
        run.wait_for("a1-firing")
    assert run.witness.events == [
        ("take", "a1-firing", None),
        ("spool", "a1-firing", "20260102-door"),
        ("alert_firing", "a1-firing", "20260102-door"),
        ("told", "a1-firing", "20260102-door"),
        ("spool", "a1-resolved", "20260102-door"),
        ("alert_resolved", "a1-resolved", "20260102-door"),
        ("told", "a1-resolved", "20260102-door"),
        ("closed", "", None),
    ]
    assert run.witness.alerts[1].message.startswith("still so when the watch ended, after 0 s: ")


def test_the_analysis_thread_tells_nobody_anything() -> None:
    with Run(FAKE) as run:
        run.fire()
        run.wait_for("a1-firing")
        assert run.witness.threads == {"alerts"}


def test_the_worker_ticks_so_that_a_stream_without_scenes_is_noticed() -> None:
    with Run(DOWN) as run:
        run.states = {CAM: StreamState.FAILED}
        run.wait_for("a1-firing")
        run.states = {CAM: StreamState.PLAYING}
        run.wait_for("a1-firing", "a1-resolved")


def test_who_is_no_rule_may_raise_alerts_and_each_is_told_once() -> None:
    firing, over = alert_of("canary-1", kind=AlertKind.CANARY), alert_of("canary-1", AlertState.RESOLVED)
    with Run() as run:
        for alert in (alert_of("never-fired", AlertState.RESOLVED), firing, firing, over, over, firing):
            run.engine.raise_alert(alert)
        run.engine.raise_alert(alert_of("last"))
        run.wait_for("canary-1-firing", "canary-1-resolved", "last-firing")
        assert not run.engine._changed
    assert run.witness.keys[3:] == ["last-resolved"]


@pytest.mark.parametrize("name", ["", "../x", "a b", "a" * 65, "a/b"])
def test_an_id_that_no_file_may_have_is_a_bug(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        Run().engine.raise_alert(alert_of(name))


def test_a_flood_of_alerts_is_bounded_and_said(caplog: pytest.LogCaptureFixture) -> None:
    run = Run()
    for number in range(engine_module.MOST_RAISED + 3):
        run.engine.raise_alert(alert_of(f"a{number}"))
    assert sum("too many at once" in record.message for record in caplog.records) == 3


class BrokenError(Exception):
    """Of somebody who is told."""


def test_a_bug_of_one_keeps_the_alert_from_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise BrokenError

    class Broken(Witness):
        take = add = record = broken

    class BrokenListener:
        alert_changed = broken

    run = Run(FAKE, witness=Broken())
    run.engine.subscribe(BrokenListener())
    late = Witness()
    run.engine.subscribe(late)
    with run:
        run.fire()
        wait_until(lambda: late.keys == ["a1-firing"], "the last listener")
    assert [key_of(alert) for alert in late.alerts] == run.witness.keys == ["a1-firing", "a1-resolved"]
    assert {"evidence", "spool", "log", "listener"} <= {record.args[0] for record in caplog.records if record.exc_info}  # type: ignore[index]


def test_states_that_cannot_be_told_do_not_end_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    with Run(DOWN) as run:
        run.states = None  # type: ignore[assignment]
        wait_until(lambda: "going on" in caplog.text, "the complaint")
        run.states = {CAM: StreamState.FAILED}
        run.wait_for("a1-firing")


def test_a_listener_that_hangs_does_not_hold_up_the_end_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on = threading.Event()

    class Hanging:
        def alert_changed(self, alert: Alert) -> None:  # noqa: ARG002
            goes_on.wait(60)

    monkeypatch.setattr(engine_module, "JOIN_S", 0.1)
    run = Run(FAKE)
    run.engine.subscribe(Hanging())
    with run:
        run.fire()
        run.wait_for("a1-firing")
    assert "has not answered for 0.1 s" in caplog.text
    assert run.witness.events[-1][0] == "closed"
    goes_on.set()


def test_closing_twice_or_before_the_start_does_nothing() -> None:
    run = Run(FAKE)
    run.engine.close()
    run.engine.close()
    assert run.witness.events == [("closed", "", None)]


def test_the_terminal_shows_an_alert_as_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with Run(FAKE, witness=Witness("20260102-door")) as run:
        run.fire()
        run.wait_for("a1-firing")
    told = [record.message for record in caplog.records]
    assert told[0] == "alert firing (warning, fake): face 1 on door has been fake for 1 s; evidence: 20260102-door"
    assert told[1].startswith("alert resolved (warning, fake): still so when the watch ended")


def test_what_a_killed_run_left_firing_is_resolved_by_the_next_one(tmp_path: Path) -> None:
    killed = Outbox(tmp_path, {"ops": Route(ScriptedSender())}, SpoolLimits(), Counts())
    killed.start(tuple)
    killed.add(alert_of("old", evidence="folder-old"))
    killed.close()  # as far as the disk goes: nobody resolved it
    sender, witness = ScriptedSender(), Witness()
    outbox = Outbox(tmp_path, {"ops": Route(sender)}, SpoolLimits(), Counts())
    engine = AlertEngine(book_of(), outbox)
    engine.subscribe(witness)
    engine.start(dict)
    wait_until(lambda: sender.sent == ["old-resolved"], "its end")
    engine.close()
    assert witness.alerts[0].message.startswith("the run that saw it was ended by force: ")
    assert witness.alerts[0].evidence == "folder-old"


def test_without_sinks_no_folder_is_made_and_listeners_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = AlertsConfig.model_validate({"rules": [{"name": "down", "kind": "stream_down", "for_s": 0}]})
    engine, witness = open_alerts(config, AllCounts()), Witness()
    engine.subscribe(witness)
    engine.start(lambda: {CAM: StreamState.FAILED})
    wait_until(lambda: witness.alerts, "the alert")
    engine.close()
    assert [*tmp_path.iterdir()] == []


class AllCounts(Counts):
    """All that the metrics are told."""

    def __init__(self) -> None:
        super().__init__()
        self.sinks, self.expects = list[str](), False

    def expect_alerts(self) -> None:
        self.expects = True

    def add_alert_sink(self, sink: str) -> None:
        self.sinks.append(sink)

    def alert_changed(self, alert: Alert) -> None:
        """Counted elsewhere."""


def test_a_folder_that_cannot_be_used_ends_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sink = {"kind": "command", "run": ["/bin/true"]}
    config = AlertsConfig.model_validate({"to": [sink], "spool": str(tmp_path / "file" / "x")})
    with pytest.raises(OutputError, match=r"alerts\.spool"):
        open_alerts(config, AllCounts())


def test_a_rule_about_a_stream_that_is_not_there_is_said(caplog: pytest.LogCaptureFixture) -> None:
    rules = [{"name": "down", "kind": "stream_down", "streams": ["dor", "gate-*", "door"]}]
    open_alerts(AlertsConfig.model_validate({"rules": rules}), AllCounts(), streams=["door", "yard"]).close()
    assert [record.message for record in caplog.records] == [
        "alert rule down: there is no stream dor yet; there are door, yard"
    ]


def test_ids_are_unique_in_order_and_fit_for_files() -> None:
    ids = [new_alert_id(now_at(at)) for at in range(100)]
    assert len(set(ids)) == 100
    assert ids == sorted(ids)
    assert all(len(one) == 24 and one.isalnum() for one in ids)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"id": 1}', b"\xff", encoded(alert_of())[:-1]])
def test_what_is_no_message_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind: it is put aside
        decoded(body)
