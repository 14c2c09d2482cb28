"""Times become gaps, gaps a verdict, rows a table; and a fault or two for real."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.stream.sources.video_parts import clip, need_gst

need_gst()

from bench.bystander import Bystander  # noqa: E402
from bench.fault_gaps import COLUMNS, Gaps, Row, Span, cells_of, exit_code, gaps_of, main, table_of, verdict_of  # noqa: E402
from bench.faults import FAULTS, FAULTY, NOTHING, Told, Trouble, await_sign, times_lost  # noqa: E402
from engines.errors import InferenceError  # noqa: E402
from stream.errors import SourceError, UnmaskError  # noqa: E402
from stream.types import StreamName  # noqa: E402
from tests.fakes import SIZE, backbone_of  # noqa: E402

MS = 1_000_000
STEADY = [at * 40 * MS for at in range(26)]
QUIET = Span(Gaps(60.0, 45.0, 200), 320.0, 4.0, 5.0, 0.1)
LOUD = replace(QUIET, gaps=Gaps(100.1, 80.0, 190), scenes_ms=2010.0)


def test_gaps_lie_between_pictures_and_the_pictures_of_all_streams_count() -> None:
    late = [time + 30 * MS if time == 400 * MS else time for time in STEADY]
    assert gaps_of([STEADY, late], (0, 1000 * MS)) == Gaps(70.0, pytest.approx(41, abs=30), 50)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("times_ms", "longest_ms", "frames"),
    [
        ([-150, 20, 60], 170.0, 2),  # silent since before the span
        ([0, 40, 80], 120.0, 3),  # silent to its end
        ([], 200.0, 0),  # a stream that shows nothing is all gap
        ([-40], 240.0, 0),
        ([0, 40, 80, 120, 160, 200, 900], 40.0, 5),  # what comes later is not looked at
    ],
)
def test_silence_at_either_end_is_a_gap(times_ms: list[int], longest_ms: float, frames: int) -> None:
    gaps = gaps_of([[time * MS for time in times_ms]], (0, 200 * MS))
    assert (gaps.longest_ms, gaps.frames) == (longest_ms, frames)


def test_a_row_keeps_the_rule_up_to_100_ms_during_its_fault() -> None:
    assert Row("x", LOUD, QUIET).keeps
    assert Row("x", QUIET, replace(QUIET, gaps=Gaps(100.0, 50.0, 200))).keeps
    assert not Row("x", QUIET, LOUD).keeps
    assert Row("x", QUIET, replace(QUIET, scenes_ms=2010.0)).keeps, "scenes are told, not judged"
    assert not Row("x", QUIET, replace(QUIET, gaps=Gaps(float("nan"), float("nan"), 0))).keeps


def test_the_verdict_names_who_missed_it_unless_the_machine_does() -> None:
    kept, missed = Row(NOTHING, QUIET, QUIET), Row("refused", QUIET, LOUD)
    assert verdict_of([kept]) == "every row keeps it"
    assert verdict_of([kept, missed]) == "missed by: refused"
    assert "quieter" in verdict_of([Row(NOTHING, QUIET, LOUD), missed])


def test_only_what_was_measured_and_kept_ends_well() -> None:
    kept, missed = Row(NOTHING, QUIET, QUIET), Row("refused", QUIET, LOUD)
    assert exit_code([kept], []) == 0
    assert exit_code([kept, missed], []) == 1
    assert exit_code([kept], [("untrusted certificate", "openssl is missing")]) == 1


def test_a_row_of_the_table_tells_before_and_during() -> None:
    told = dict(zip((*COLUMNS, "verdict"), cells_of(Row("killed", QUIET, LOUD, {"refused": 2, "eos": 1})), strict=True))
    assert told == {
        "fault": "killed",
        "longest gap, ms": "60 → 100",
        "p99, ms": "45 → 80",
        "scenes, ms": "320 → 2010",
        "machine, ms": "5 → 5",
        "others' cores": "0.1 → 0.1",
        "pictures": "190",
        "seconds": "4.0",
        "losses": "eos 1, refused 2",
        "verdict": "MISSED",
    }


def test_what_was_left_out_is_a_row_with_its_reason() -> None:
    table = table_of([], [("untrusted certificate", "openssl is missing")])
    assert list(table.columns[0].cells) == ["untrusted certificate"]
    assert list(table.columns[-2].cells) == ["openssl is missing"]
    assert list(table.columns[-1].cells) == ["not measured"]


def test_trouble_meets_one_run_of_a_network_and_no_more() -> None:
    trouble, crops = Trouble(), {"crops": np.zeros((1, 3, SIZE, SIZE), np.float32)}
    backend = trouble.wrap("embed", backbone_of())

    def throw() -> None:
        raise InferenceError("busy")

    trouble.meet_next(throw)
    with pytest.raises(InferenceError):
        backend.infer(crops)
    assert backend.infer(crops)["features"].shape[0] == 1
    assert trouble.was_met


def test_only_what_the_faulty_stream_lost_since_then_is_the_faults() -> None:
    before = Counter({(FAULTY, "eos"): 2, (FAULTY, "refused"): 1})
    now = before + Counter({(FAULTY, "eos"): 1, (StreamName("camera-1"), "stalled"): 1})
    assert times_lost(now, before) == {"eos": 1}


def test_a_fault_that_does_not_show_is_no_row() -> None:
    await_sign(lambda: True, "it did not show")
    with pytest.raises(SourceError, match=r"it did not show within 0 s: measure the row again"):
        await_sign(lambda: False, "it did not show", within_s=0.0)


def test_what_the_application_tells_is_heard_only_while_somebody_listens() -> None:
    log, told = logging.getLogger("stream.app"), Told()
    with told.listening():
        log.error("%s; going on without it", "the disk is full")
        log.warning("not this")
    log.error("nor this")
    assert told.lines == ["the disk is full; going on without it"]


def test_a_bystander_tells_of_each_wait_once() -> None:
    with Bystander() as bystander:
        assert bystander.longest_ms() >= 0.0
        assert bystander.longest_ms() >= 0.0
    assert bystander.is_over


def test_a_bystander_that_died_is_told_in_one_line() -> None:
    with Bystander() as bystander:
        bystander.end()
        with pytest.raises(UnmaskError, match="measure again"):
            bystander.longest_ms()
    assert bystander.is_over


def test_faults_are_measured_for_real_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is the machine's; what is asserted is that each fault was one, and that all of it is told."""
    monkeypatch.setattr("bench.fault_gaps.CLIPS", tmp_path)
    monkeypatch.setattr("bench.fault_gaps.WARM_UP_S", 0.5)
    report, video = tmp_path / "report.json", clip(tmp_path / "clip.mp4", frames=60)
    monkeypatch.setattr("bench.faults.write_certificate", lambda _: None)
    only = ["refused", "added and removed", "inference throws"]
    options = ["--seconds", "1", "--clip", str(video), "--json", str(report), "--only", *only, "untrusted certificate"]
    code = main(options)
    told = json.loads(report.read_text())
    rows = {row["name"]: row for row in told["rows"]}
    assert list(rows) == [name for name in FAULTS if name in (NOTHING, *only)]
    assert rows["refused"]["losses"]["refused"] >= 1
    assert rows[NOTHING]["losses"] == {}
    assert all(row[span]["gaps"]["frames"] > 0 for row in rows.values() for span in ("before", "during"))
    assert "openssl" in told["left_out"]["untrusted certificate"]
    assert code == 1
