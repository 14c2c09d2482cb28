"""The demo's judge believes scores.jsonl and nothing else."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.demo.clip import truth_of
from stream.demo.judge import ScoreLine, first_pass, judge, read_lines
from stream.errors import OutputError

TRUTH = truth_of(20.0)


def line(pts_s: float, verdict: str, probability: float | None = 0.5, area: float = 100.0) -> ScoreLine:
    return ScoreLine(pts_s, verdict, probability, area)


def run_of(genuine: str, swapped: str) -> list[ScoreLine]:
    chances = {"real": 0.1, "fake": 0.9, "unsure": 0.5}
    first = [line(t / 2, genuine, chances[genuine]) for t in range(4, 40)]
    return first + [line(t / 2, swapped, chances[swapped]) for t in range(40, 80)]


def test_a_run_that_ends_real_then_fake_is_right() -> None:
    genuine, swapped = judge(run_of("real", "fake"), TRUTH)
    assert genuine.is_right
    assert swapped.is_right
    assert genuine.fake_probability == pytest.approx(0.1)
    assert swapped.fake_probability == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("genuine", "swapped", "complaint"),
    [
        ("fake", "fake", "the genuine part ended fake (fake probability 0.90), not real"),
        ("real", "real", "the swapped part ended real (fake probability 0.10), not fake"),
        ("unsure", "fake", "the genuine part ended unsure (fake probability 0.50), not real"),
        ("real", "unsure", "the swapped part ended unsure (fake probability 0.50), not fake"),
    ],
)
def test_the_part_that_is_wrong_is_named(genuine: str, swapped: str, complaint: str) -> None:
    complaints = [result.complaint for result in judge(run_of(genuine, swapped), TRUTH) if not result.is_right]
    assert complaint in complaints


def test_a_part_without_scores_is_wrong_and_says_so() -> None:
    genuine, swapped = judge([line(5.0, "real")], TRUTH)
    assert genuine.is_right
    assert not swapped.is_right
    assert "was not scored at all" in swapped.complaint


def test_no_scores_at_all_fail_both_parts() -> None:
    assert [result.is_right for result in judge([], TRUTH)] == [False, False]


def test_only_the_last_verdict_of_a_part_counts() -> None:
    lines = [line(3.0, "fake"), line(18.0, "real"), line(25.0, "real"), line(39.0, "fake")]
    assert all(result.is_right for result in judge(lines, TRUTH))


def test_scores_at_the_very_seam_belong_to_neither_part() -> None:
    lines = [line(18.0, "real"), line(19.8, "fake"), line(39.0, "fake")]
    assert judge(lines, TRUTH)[0].verdict == "real"


def test_the_probability_is_of_the_settled_end() -> None:
    lines = [line(21.0, "real", 0.0), line(35.0, "fake", 0.8), line(38.0, "fake", 0.9)]
    assert judge(lines, TRUTH)[1].fake_probability == pytest.approx(0.85)


def test_the_largest_face_speaks_for_a_moment() -> None:
    lines = [line(18.0, "fake", area=20.0), line(18.0, "real", area=90.0), line(39.0, "fake")]
    assert judge(lines, TRUTH)[0].verdict == "real"


def test_a_second_pass_of_the_clip_is_not_judged() -> None:
    lines = [*run_of("real", "fake"), line(1.0, "fake"), line(15.0, "fake")]
    assert all(result.is_right for result in judge(lines, TRUTH))


@given(st.lists(st.floats(0, 100), max_size=30))
def test_a_first_pass_never_goes_back_by_more_than_a_second(times: list[float]) -> None:
    kept = [one.pts_s for one in first_pass([line(t, "real") for t in times])]
    assert all(later >= earlier - 1.0 for earlier, later in pairwise(kept))
    assert kept == times[: len(kept)]


def test_lines_are_read_as_the_scores_option_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    fields = {"pts_s": 1.25, "verdict": "warming up", "fake_probability": None, "box": [10, 20, 40, 60], "more": 1}
    path.write_text(json.dumps(fields) + "\n")
    assert read_lines(path) == [ScoreLine(1.25, "warming up", None, 1200.0)]


@pytest.mark.parametrize("text", ["no json\n", "{}\n", '{"pts_s": 1, "verdict": "real", "box": 3}\n'])
def test_a_file_that_holds_no_scores_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(text)
    with pytest.raises(OutputError, match="does not hold scores"):
        read_lines(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"scores\.jsonl"):
        read_lines(tmp_path / "scores.jsonl")
