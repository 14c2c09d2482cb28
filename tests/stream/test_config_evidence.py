from __future__ import annotations

from pathlib import Path

import pytest

from stream.config import AppConfig, check, load_config
from stream.config_file import ConfigError


def file_of(tmp_path: Path, evidence: str) -> Path:
    path = tmp_path / "unmask.yaml"
    path.write_text(f"evidence: {{{evidence}}}\n")
    return path


def test_nothing_is_kept_unless_a_folder_is_named() -> None:
    assert AppConfig().evidence.folder is None


@pytest.mark.parametrize(("text", "count"), [("10GiB", 10 * 2**30), ("1GB", 10**9), ("512MiB", 2**29), (2**30, 2**30)])
def test_bytes_are_written_for_people(tmp_path: Path, text: object, count: int) -> None:
    assert load_config(file_of(tmp_path, f"folder: kept, keep_bytes: {text}")).evidence.keep_bytes == count


@pytest.mark.parametrize(
    "text", ["keep_bytes: 1MiB", "keep_bytes: much", "before_s: -1", "before_s: 61", "keep_days: 0", "fodler: kept"]
)
def test_what_makes_no_sense_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"unmask.yaml:1: evidence\.{text.partition(':')[0]}"):
        load_config(file_of(tmp_path, text))


@pytest.mark.parametrize("size", ["lots", "1MiB", "-1", "[]"])
def test_a_size_that_cannot_be_names_the_smallest(tmp_path: Path, size: str) -> None:
    with pytest.raises(ConfigError, match=r"keep_bytes: must be a size such as 10GiB, and 256MiB at least$"):
        load_config(file_of(tmp_path, f"folder: kept, keep_bytes: {size}"))


def test_a_check_says_that_nothing_is_kept_without_a_folder(tmp_path: Path) -> None:
    assert "evidence: none is kept without evidence.folder" in check(file_of(tmp_path, "keep_days: 3"))
    assert not [line for line in check(file_of(tmp_path, "")) if line.startswith("evidence")]


def test_a_check_says_where_evidence_goes_and_for_how_long(tmp_path: Path) -> None:
    lines = check(file_of(tmp_path, "folder: kept, keep_days: 7"))
    assert "evidence: kept in kept for 7 days, at most 10.0GiB" in lines
