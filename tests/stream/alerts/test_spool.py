"""What waits on disk: in order, within bounds, whole whenever the process dies."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.alerts import spool as spool_module
from stream.alerts.alert import Alert, AlertState, Severity
from stream.alerts.message import decoded, encoded, key_of
from stream.alerts.spool import KEPT_REFUSED, Spool, SpoolLimits
from stream.errors import OutputError
from tests.stream.alerts.alert_parts import alert_of, both_of

OPS = {"ops": Severity.INFO}
TWO = {"ops": Severity.INFO, "mail": Severity.INFO}


@contextmanager
def opened(folder: Path, sinks: dict[str, Severity] = OPS, **limits: int) -> Iterator[Spool]:
    spool = Spool(folder, sinks, SpoolLimits(**limits))
    try:
        yield spool
    finally:
        spool.close()


def taken(spool: Spool, sink: str = "ops") -> list[str]:
    """All that waits, which is done then."""
    keys = []
    while (found := spool.oldest(sink)) is not None:
        waiting, alert = found
        keys.append(key_of(alert))
        spool.done(sink, waiting)
    return keys


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


def test_messages_come_out_in_order_for_each_sink(tmp_path: Path) -> None:
    with opened(tmp_path, TWO) as spool:
        for name in "abc":
            spool.add(alert_of(name))
        assert (spool.count("ops"), spool.count("mail")) == (3, 3)
        assert taken(spool) == ["a-firing", "b-firing", "c-firing"]
        assert taken(spool, "mail") == ["a-firing", "b-firing", "c-firing"]


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "spool"):
        assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_what_waits_survives_its_process_and_stays_in_order(tmp_path: Path) -> None:
    for round_ in range(3):
        with opened(tmp_path) as spool:
            spool.add(alert_of(f"r{round_}"))
    with opened(tmp_path) as spool:
        assert taken(spool) == ["r0-firing", "r1-firing", "r2-firing"]


def test_a_message_stays_until_it_is_done(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.add(alert_of("a"))
        assert spool.oldest("ops") == spool.oldest("ops")
    with opened(tmp_path) as spool:
        assert taken(spool) == ["a-firing"]
    with opened(tmp_path) as spool:
        assert taken(spool) == []


def test_an_alert_comes_out_as_it_went_in(tmp_path: Path) -> None:
    alert = alert_of("a", evidence="20260102-door", message='Größe "7"\n…')
    with opened(tmp_path) as spool:
        spool.add(alert)
    with opened(tmp_path) as spool:
        found = spool.oldest("ops")
        assert found is not None
        assert found[1] == alert


def test_only_sinks_that_want_to_know_are_told(tmp_path: Path) -> None:
    with opened(tmp_path, {"ops": Severity.INFO, "mail": Severity.CRITICAL}) as spool:
        assert spool.add(alert_of("a", severity=Severity.WARNING)) == ("ops",)
        assert spool.add(alert_of("b", severity=Severity.CRITICAL)) == ("ops", "mail")
        assert taken(spool, "mail") == ["b-firing"]


def test_nobody_else_may_read_what_waits(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        spool.add(alert_of("a"))
        assert {path.stat().st_mode & 0o077 for path in files_in(tmp_path)} == {0}


@pytest.mark.parametrize(("limits", "kept"), [({"messages": 2}, 2), ({"bytes": 3 * len(encoded(alert_of("a0")))}, 3)])
def test_the_oldest_goes_when_there_is_no_room_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, limits: dict[str, int], kept: int
) -> None:
    dropped: list[str] = []
    spool = Spool(tmp_path, OPS, SpoolLimits(**limits), dropped.append)
    for number in range(6):
        spool.add(alert_of(f"a{number}"))
    assert dropped == ["ops"] * (6 - kept)
    assert "too many alerts wait for ops" in caplog.text
    assert len(files_in(tmp_path / "to")) == kept
    assert taken(spool) == [f"a{number}-firing" for number in range(6 - kept, 6)]
    spool.close()


def test_a_smaller_limit_holds_for_what_waited_before(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for number in range(6):
            spool.add(alert_of(f"a{number}"))
    with opened(tmp_path, messages=2) as spool:
        assert taken(spool) == ["a4-firing", "a5-firing"]


def test_what_is_being_sent_is_not_dropped_meanwhile(tmp_path: Path) -> None:
    with opened(tmp_path, messages=2) as spool:
        spool.add(alert_of("a"))
        found = spool.oldest("ops")
        assert found is not None
        for name in "bcd":
            spool.add(alert_of(name))
        spool.done("ops", found[0])
        assert taken(spool) == ["d-firing"]


def test_what_is_refused_is_put_aside_and_kept_within_bounds(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for number in range(3):
            spool.add(alert_of(f"a{number}"))
            found = spool.oldest("ops")
            assert found is not None
            spool.refuse("ops", found[0])
        assert taken(spool) == []
        aside = sorted((tmp_path / "refused" / "ops").iterdir())
        assert [decoded(path.read_bytes()).id for path in aside] == ["a0", "a1", "a2"]
        for number in range(KEPT_REFUSED + 5):
            (tmp_path / "refused" / "ops" / f"{number:020d}-x.json").write_text("{}")
        spool.add(alert_of("last"))
        found = spool.oldest("ops")
        assert found is not None
        spool.refuse("ops", found[0])
        assert len(list((tmp_path / "refused" / "ops").iterdir())) == KEPT_REFUSED


def test_a_damaged_message_is_put_aside_and_the_next_one_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as spool:
        spool.add(alert_of("a"))
        spool.add(alert_of("b"))
        damaged = min((tmp_path / "to" / "ops").iterdir())
        damaged.write_bytes(b'{"id": "a", ')
        assert taken(spool) == ["b-firing"]
        assert [path.name for path in (tmp_path / "refused" / "ops").iterdir()] == [damaged.name]
    assert "damaged" in caplog.text


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path):
        (tmp_path / "to" / "ops" / "notes.json").write_text("mine")
    with opened(tmp_path) as spool:
        assert spool.count("ops") == 0
    assert (tmp_path / "to" / "ops" / "notes.json").read_text() == "mine"


def test_what_waits_for_a_sink_that_is_gone_is_said_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path, TWO) as spool:
        spool.add(alert_of("a"))
    with opened(tmp_path), caplog.at_level(logging.WARNING):
        pass
    assert "1 alerts wait in" in caplog.text
    with opened(tmp_path, TWO) as spool:
        assert taken(spool, "mail") == ["a-firing"]


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        opened(tmp_path),
        pytest.raises(OutputError, match=r"used by another run: name another folder in alerts.spool"),
    ):
        Spool(tmp_path, OPS, SpoolLimits())
    with opened(tmp_path):
        pass


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot wait in .*: name another folder in alerts.spool"):
        Spool(tmp_path / "file" / "spool", OPS, SpoolLimits())


def test_alerts_that_never_ended_are_found_by_the_next_run(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for alert in (*both_of("a"), alert_of("b", evidence="folder-b")):
            spool.add(alert)
    with opened(tmp_path) as spool:
        assert spool.left_firing() == (alert_of("b", evidence="folder-b"),)
        spool.add(alert_of("b", AlertState.RESOLVED))
        assert spool.left_firing() == ()


def test_a_full_disk_is_said_and_the_message_waits_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as spool:
        spool.add(alert_of("a"))
        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "fsync", full)
            spool.add(alert_of("b"))
        assert not [path for path in files_in(tmp_path) if "b-firing" in path.name], "room that is needed"
        spool.add(alert_of("c"))
        assert "No space left on device" in caplog.text
        assert taken(spool) == ["a-firing", "b-firing", "c-firing"]
    with opened(tmp_path) as spool:
        assert taken(spool) == []


def test_a_file_system_without_links_keeps_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(spool_module.os, "link", no_links)
    with opened(tmp_path, TWO) as spool:
        spool.add(alert_of("a"))
    with opened(tmp_path, TWO) as spool:
        assert taken(spool) == taken(spool, "mail") == ["a-firing"]


# Killed at any point


class KilledError(BaseException):
    """The process ends here: nothing catches it."""


DISK_CALLS = ("open", "fsync", "link")


@contextmanager
def killed_at(call: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk's n-th call from now on, and all after it, do not happen. ``Path`` renames and unlinks count too."""
    left = [call]

    def counted(real: Any) -> Any:
        def maybe(*words: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return real(*words, **named)

        return maybe

    with monkeypatch.context() as patch:
        for name in DISK_CALLS:
            patch.setattr(spool_module.os, name, counted(getattr(os, name)))
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        with suppress(KilledError):
            yield


@pytest.mark.parametrize("call", range(24))
def test_a_process_that_is_killed_leaves_a_message_for_all_its_sinks_or_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    has_returned = False
    with opened(tmp_path, TWO) as spool:
        spool.add(alert_of("before"))
        with killed_at(call, monkeypatch):
            spool.add(alert_of("now"))
            has_returned = True
    with opened(tmp_path, TWO) as spool:
        left = {alert.id for alert in spool.left_firing()}
        ops, mail = taken(spool), taken(spool, "mail")
    with opened(tmp_path, TWO) as spool:
        assert taken(spool) == taken(spool, "mail") == []
    assert ops == mail
    assert ops in (["before-firing"], ["before-firing", "now-firing"])
    assert not has_returned or len(ops) == 2
    assert left == {key.removesuffix("-firing") for key in ops}
    assert not [path for path in files_in(tmp_path) if path.suffix == ".tmp"]


def test_a_kill_at_every_call_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range above reaches the end of ``add``, and its beginning."""
    ends = []
    for call in (0, 23):
        with opened(tmp_path / str(call), TWO) as spool, killed_at(call, monkeypatch):
            spool.add(alert_of("now"))
            ends.append(call)
    assert ends == [23]


@pytest.mark.parametrize("call", range(3))
def test_a_process_that_is_killed_after_a_send_loses_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    with opened(tmp_path) as spool:
        for name in "ab":
            spool.add(alert_of(name))
        found = spool.oldest("ops")
        assert found is not None
        with killed_at(call, monkeypatch):
            spool.done("ops", found[0])
    with opened(tmp_path) as spool:
        assert taken(spool) in (["a-firing", "b-firing"], ["b-firing"])


@given(st.lists(st.sampled_from(["add", "send", "fail", "refuse", "restart"]), max_size=40), st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_what_comes_out_is_what_went_in_but_for_the_oldest(
    tmp_path_factory: pytest.TempPathFactory, happened: list[str], room: int
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    waiting, out = list[Alert](), None
    spool = Spool(folder, OPS, SpoolLimits(messages=room))
    for number, what in enumerate(happened):
        if what == "add":
            waiting.append(alert_of(f"a{number}"))
            spool.add(waiting[-1])
            if len(waiting) > room:
                waiting.remove(next(alert for alert in waiting if alert is not out))
        elif what == "restart":
            spool.close()
            spool, out = Spool(folder, OPS, SpoolLimits(messages=room)), None
        else:
            found, out = spool.oldest("ops"), waiting[0] if waiting else None
            assert (found[1] if found else None) == out
            if found is not None and what != "fail":
                (spool.done if what == "send" else spool.refuse)("ops", found[0])
                waiting, out = waiting[1:], None
    assert taken(spool) == [key_of(alert) for alert in waiting]
    spool.close()
