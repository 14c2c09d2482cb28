from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.evidence.folders import KeptFolder, folder_name
from stream.evidence.retention import DAY_S, Limits, Wish, delete, overdue, sweep, wished
from tests.stream.evidence.evidence_parts import Records
from tests.stream.evidence.test_folders import written

NOW = 1_795_000_000.0


def folder(days_ago: float, size: int = 10, stream: str = "lobby", alert: str = "1") -> KeptFolder:
    at = NOW - days_ago * DAY_S
    return KeptFolder(folder_name(at, stream, alert), at, size)


FOUR = [folder(40), folder(20), folder(10), folder(1)]
TABLE = [
    (Limits(30, 1000), [0]),
    (Limits(60, 1000), []),
    (Limits(60, 40), []),
    (Limits(60, 39), [0]),
    (Limits(60, 20), [0, 1]),
    (Limits(30, 20), [0, 1]),
    (Limits(30, 30), [0]),
    (Limits(30, 9), [0, 1, 2, 3]),
    (Limits(0.5, 1000), [0, 1, 2, 3]),
]


@pytest.mark.parametrize(("limits", "gone"), TABLE)
def test_the_oldest_go_until_the_rest_fits(limits: Limits, gone: list[int]) -> None:
    assert overdue(FOUR, NOW, limits) == [FOUR[index] for index in gone]


@given(sizes=st.lists(st.integers(1, 50), max_size=12), keep_days=st.floats(0.1, 20), keep_bytes=st.integers(0, 300))
def test_what_stays_is_the_newest_that_fits(sizes: list[int], keep_days: float, keep_bytes: int) -> None:
    folders = [folder(12 - number, size, alert=str(number)) for number, size in enumerate(sizes)]
    gone = overdue(folders, NOW, Limits(keep_days, keep_bytes))
    assert gone == folders[: len(gone)]
    left = folders[len(gone) :]
    assert sum(one.size for one in left) <= keep_bytes
    assert all(NOW - one.at <= keep_days * DAY_S for one in left)
    if gone and NOW - gone[-1].at <= keep_days * DAY_S:
        assert sum(one.size for one in [gone[-1], *left]) > keep_bytes, "one more would not have fitted"


def test_a_clock_that_was_set_back_deletes_nothing() -> None:
    assert overdue(FOUR, NOW - 90 * DAY_S, Limits(30, 1000)) == []


IDS = {folder(40).name: "1f3a", folder(20, stream="gate").name: "2b4c"}
BOTH = [folder(40), folder(20, stream="gate")]
WISHES = [
    (Wish(), []),
    (Wish(takes_all=True), [0, 1]),
    (Wish(older_than_days=30), [0]),
    (Wish(older_than_days=50), []),
    (Wish(stream="gate"), [1]),
    (Wish(stream="gat"), []),
    (Wish(alert="1f3a"), [0]),
    (Wish(alert=BOTH[1].name), [1]),
    (Wish(alert=""), []),
    (Wish(older_than_days=30, stream="gate"), []),
    (Wish(older_than_days=10, stream="gate", alert="2b4c"), [1]),
]


@pytest.mark.parametrize(("wish", "taken"), WISHES)
def test_a_purge_takes_what_all_its_choices_hold(wish: Wish, taken: list[int]) -> None:
    assert wished(BOTH, wish, NOW, IDS.__getitem__) == [BOTH[index] for index in taken]


def test_a_deletion_is_recorded_before_the_folder_goes(tmp_path: Path) -> None:
    name = folder(3).name
    digest = written(tmp_path, name)
    there = []
    records = Records()

    def record(kind: str, entry: dict[str, object]) -> None:
        records(kind, entry)
        there.append((tmp_path / name).exists())

    gone, left = sweep(tmp_path, NOW, Limits(1, 1000), record)  # type: ignore[arg-type]  # a dict is a Mapping
    assert [one.name for one in gone] == [name]
    assert (left, there) == (0, [True])
    [(kind, entry)] = records
    assert kind == "purge"
    assert (entry["folder"], entry["manifest_sha256"], entry["why"]) == (name, digest, "age or size")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_finds_nothing_overdue_tells_what_is_kept(tmp_path: Path) -> None:
    written(tmp_path, folder(1).name, 500)
    gone, left = sweep(tmp_path, NOW, Limits(30, 10_000), Records())
    assert gone == []
    assert left == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


def test_a_folder_that_somebody_else_deleted_is_no_failure(tmp_path: Path) -> None:
    records = Records()
    assert delete(tmp_path, [folder(3)], records, "asked for") == []
