"""Sinks that die and come back: nothing is lost, nothing comes twice, and nobody else waits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from stream.alerts import outbox as outbox_module
from stream.alerts.alert import Alert, Severity
from stream.alerts.courier import Waits
from stream.alerts.message import decoded, key_of
from stream.alerts.outbox import Outbox, Route
from stream.alerts.sender import NotSentError, RefusedError, Sender
from stream.alerts.senders.http_post import HttpPost
from stream.alerts.senders.webhook import WebhookSender
from stream.alerts.spool import SpoolLimits
from stream.types import StreamName
from tests.stream.alerts.alert_parts import alert_of, both_of
from tests.stream.alerts.receivers import WebReceiver, wait_until

ROOT = Path(__file__).parents[3]
QUICK = Waits(first_s=0.02, longest_s=0.1)


class Counts:
    """Keeps what is told of deliveries."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.waiting: dict[str, int] = {}

    def alert_delivery(self, sink: str, outcome: str) -> None:
        self.outcomes[sink, outcome] += 1

    def alerts_waiting(self, sink: str, count: int) -> None:
        self.waiting[sink] = count


class ScriptedSender:
    """Fails as it is told, and keeps what it took."""

    def __init__(self, *script: Exception, refresh_s: float | None = None) -> None:
        self.refresh_s = refresh_s
        self.script, self.sent, self.tries = list(script), list[str](), 0
        self.streams: list[Collection[StreamName]] = []
        self.hangs, self.is_closed = threading.Event(), False

    def send(self, alert: Alert) -> None:
        self.tries += 1
        while self.hangs.is_set():
            threading.Event().wait(0.01)
        if self.script:
            raise self.script.pop(0)
        self.sent.append(key_of(alert))

    def refresh(self, streams: Collection[StreamName]) -> None:
        self.streams.append(streams)

    def close(self) -> None:
        self.is_closed = True


@contextmanager
def opened(folder: Path, counts: Counts | None = None, **senders: Sender) -> Iterator[Outbox]:
    routes = {name: Route(sender) for name, sender in senders.items()}
    outbox = Outbox(folder, routes, SpoolLimits(), counts or Counts(), waits=QUICK)
    outbox.start(lambda: [StreamName("door")])
    try:
        yield outbox
    finally:
        outbox.close()


def hook(url: str) -> WebhookSender:
    return WebhookSender(HttpPost(SecretStr(url), timeout_s=5))


def files_of(folder: Path, sink: str, kind: str = "to") -> list[str]:
    return [decoded(file.read_bytes()).id for file in sorted((folder / kind / sink).glob("*.json"))]


def is_empty(folder: Path, sink: str) -> bool:
    """Read while it is emptied: names alone, for a file may be gone before it is opened."""
    return not any((folder / "to" / sink).glob("*.json"))


def test_a_server_that_dies_and_returns_gets_every_message_once_and_in_order(tmp_path: Path) -> None:
    alerts = [alert for number in range(20) for alert in both_of(f"a{number:02}")]
    with WebReceiver() as receiver, opened(tmp_path, ops=hook(receiver.url)) as outbox:
        for alert in alerts[:10]:
            outbox.add(alert)
        wait_until(lambda: len(receiver.posts) == 10, "the first ten")
        receiver.die()
        for alert in alerts[10:30]:
            outbox.add(alert)
        receiver.start()
        for alert in alerts[30:]:
            outbox.add(alert)
        wait_until(lambda: len(receiver.posts) >= 40, "all of them")
        wait_until(lambda: is_empty(tmp_path, "ops"), "an empty spool")
        assert receiver.keys == [key_of(alert) for alert in alerts]


def test_what_does_not_arrive_waits_for_the_next_run(tmp_path: Path) -> None:
    with WebReceiver() as receiver:
        receiver.die()
        with opened(tmp_path, ops=hook(receiver.url)) as outbox:
            for number in range(5):
                outbox.add(alert_of(f"a{number}"))
        assert files_of(tmp_path, "ops") == ["a0", "a1", "a2", "a3", "a4"]
        receiver.start()
        with opened(tmp_path, ops=hook(receiver.url)):
            wait_until(lambda: len(receiver.posts) == 5, "what had waited")
        assert receiver.keys == [f"a{number}-firing" for number in range(5)]


def test_a_dead_sink_holds_up_no_other_and_neither_does_one_that_hangs(tmp_path: Path) -> None:
    dead, hanging, healthy = (ScriptedSender(*[NotSentError("dead")] * n) for n in (10_000, 0, 0))
    hanging.hangs.set()
    counts = Counts()
    with opened(tmp_path, counts, dead=dead, hanging=hanging, healthy=healthy) as outbox:
        for number in range(50):
            outbox.add(alert_of(f"a{number}"))
        wait_until(lambda: len(healthy.sent) == 50, "the healthy sink")
        assert counts.waiting["dead"] == 50
        assert hanging.tries == 1
        hanging.hangs.clear()


def test_the_end_takes_bounded_time_though_a_sink_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "CLOSE_S", 0.2)
    hanging = ScriptedSender()
    hanging.hangs.set()
    with opened(tmp_path, ops=hanging) as outbox:
        outbox.add(alert_of("a"))
        wait_until(lambda: hanging.tries, "the first try")
    assert files_of(tmp_path, "ops") == ["a"]
    hanging.hangs.clear()
    wait_until(lambda: hanging.is_closed, "the thread's end")


def test_the_end_sends_what_can_be_sent_and_closes_every_sender(tmp_path: Path) -> None:
    slow, quick = ScriptedSender(NotSentError("not yet")), ScriptedSender()
    outbox = Outbox(
        tmp_path, {"slow": Route(slow), "quick": Route(quick)}, SpoolLimits(), Counts(), waits=Waits(60, 60)
    )
    outbox.start(tuple)
    outbox.add(alert_of("a"))
    wait_until(lambda: slow.tries, "the first try")
    outbox.close()
    assert (slow.sent, quick.sent) == (["a-firing"], ["a-firing"])
    assert (slow.is_closed, quick.is_closed) == (True, True)


def test_a_refused_message_is_put_aside_said_and_not_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sender, counts = ScriptedSender(RefusedError("it answered 410")), Counts()
    with opened(tmp_path, counts, ops=sender) as outbox:
        outbox.add(alert_of("a"))
        outbox.add(alert_of("b"))
        wait_until(lambda: sender.sent, "the next one")
    assert (sender.sent, sender.tries) == (["b-firing"], 2)
    assert files_of(tmp_path, "ops", "refused") == ["a"]
    assert "alert sink ops will not take a-firing (it answered 410)" in caplog.text
    assert counts.outcomes == {("ops", "refused"): 1, ("ops", "delivered"): 1}


def test_an_outage_is_said_once_and_its_end_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sender, counts = ScriptedSender(*[NotSentError("not reached (refused)")] * 5), Counts()
    with opened(tmp_path, counts, ops=sender) as outbox:
        outbox.add(alert_of("a"))
        wait_until(lambda: sender.sent, "the message")
    assert [record.message for record in caplog.records] == [
        "alert sink ops: not reached (refused); its messages wait and are tried again",
        "alert sink ops: reached again",
    ]
    assert counts.outcomes == {("ops", "failed"): 5, ("ops", "delivered"): 1}


def test_a_refresh_that_asks_nobody_does_not_end_an_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sender = ScriptedSender(*[NotSentError("dead")] * 10_000, refresh_s=0.0)
    with opened(tmp_path, ops=sender) as outbox:
        outbox.add(alert_of("a"))
        wait_until(lambda: sender.tries > 4, "some tries")
    assert [record.message for record in caplog.records] == [
        "alert sink ops: dead; its messages wait and are tried again"
    ]


def test_a_senders_bug_costs_neither_its_message_nor_its_thread(tmp_path: Path) -> None:
    sender = ScriptedSender(ZeroDivisionError("oh"), KeyError("no"))
    with opened(tmp_path, ops=sender) as outbox:
        outbox.add(alert_of("a"))
        wait_until(lambda: sender.sent == ["a-firing"], "the message")


def test_a_sender_is_refreshed_as_often_as_it_wants_with_the_streams_there_are(tmp_path: Path) -> None:
    wants, wants_not = ScriptedSender(refresh_s=0.02), ScriptedSender()
    with opened(tmp_path, wants=wants, wants_not=wants_not):
        wait_until(lambda: len(wants.streams) >= 3, "three refreshes")
    assert (wants.streams[0], wants_not.streams) == (["door"], [])


def test_less_severe_alerts_than_a_sink_wants_are_not_sent_to_it(tmp_path: Path) -> None:
    all_, some = ScriptedSender(), ScriptedSender()
    routes = {"all": Route(all_), "some": Route(some, Severity.CRITICAL)}
    outbox = Outbox(tmp_path, routes, SpoolLimits(), Counts())
    outbox.start(tuple)
    for name, severity in (("a", Severity.INFO), ("b", Severity.CRITICAL), ("c", Severity.WARNING)):
        outbox.add(alert_of(name, severity=severity))
    outbox.close()
    assert (all_.sent, some.sent) == (["a-firing", "b-firing", "c-firing"], ["b-firing"])


@given(st.integers(1, 100), st.floats(0, 1), st.floats(0, 1000))
def test_waits_double_up_to_a_limit_and_heed_the_receiver(failures: int, chance: float, asked_s: float) -> None:
    waits = Waits(first_s=1.0, longest_s=60.0)
    wait_s = waits.after(failures, asked_s, chance)
    doubled_s = min(60.0, 2.0 ** (failures - 1))
    assert max(doubled_s / 2, min(asked_s, 60.0)) <= wait_s <= max(doubled_s, min(asked_s, 60.0))


# A process that is killed

PROGRAM = """
import sys
from pathlib import Path
from tests.stream.alerts.alert_parts import alert_of
from tests.stream.alerts.test_outbox import hook, Counts, QUICK
from stream.alerts.outbox import Outbox, Route
from stream.alerts.spool import SpoolLimits

outbox = Outbox(Path(sys.argv[1]), {"ops": Route(hook(sys.argv[2]))}, SpoolLimits(), Counts(), waits=QUICK)
outbox.start(tuple)
for number in range(10_000):
    outbox.add(alert_of(f"a{number:05}"))
    print(number, flush=True)
"""


def killed_run(folder: Path, url: str, after: int) -> int:
    """A process that adds alerts until it is killed; how many it had added."""
    words = [sys.executable, "-c", PROGRAM, str(folder), url]
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return sum(line.endswith("\n") for line in told)


def test_a_process_killed_before_it_could_send_loses_nothing(tmp_path: Path) -> None:
    with WebReceiver() as receiver:
        receiver.die()
        added = killed_run(tmp_path, receiver.url, after=20)
        receiver.start()
        with opened(tmp_path, ops=hook(receiver.url)):
            wait_until(lambda: len(receiver.posts) >= added and not files_of(tmp_path, "ops"), "what had waited")
        assert receiver.keys[:added] == [f"a{number:05}-firing" for number in range(added)]
        assert len(receiver.keys) - added in (0, 1), "one may have been kept and not yet been told"


def test_a_process_killed_while_it_sends_repeats_at_most_that_one_message(tmp_path: Path) -> None:
    with WebReceiver() as receiver:
        added = killed_run(tmp_path, receiver.url, after=30)
        with opened(tmp_path, ops=hook(receiver.url)):
            wait_until(lambda: is_empty(tmp_path, "ops"), "what had waited")
        times = Counter(receiver.keys)
        assert set(times) >= {f"a{number:05}-firing" for number in range(added)}
        assert sum(times.values()) - len(times) <= 1
        assert [*dict.fromkeys(receiver.keys)] == sorted(times)


def test_messages_say_what_docs_say(tmp_path: Path) -> None:
    with WebReceiver() as receiver, opened(tmp_path, ops=hook(receiver.url)) as outbox:
        outbox.add(alert_of("a1", evidence="20260102-door"))
        wait_until(lambda: receiver.posts, "the message")
    text = (ROOT / "docs" / "alerts.md").read_text()
    block = text.partition("```json\n")[2].partition("```")[0]
    assert list(json.loads(block)) == list(receiver.posts[0].json)
