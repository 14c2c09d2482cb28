"""A spec says what a model promises, and nothing that could lead elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.catalog import CATALOG, DEFAULT_MODEL, SPEC_FILE
from engines.errors import SpecError
from engines.spec import load_spec


def written(folder: Path, **changes: Any) -> Path:
    """The default model's spec with some keys changed."""
    spec = json.loads((CATALOG[DEFAULT_MODEL].folder / SPEC_FILE).read_text())
    (folder / SPEC_FILE).write_text(json.dumps(spec | changes))
    return folder / SPEC_FILE


@pytest.mark.parametrize("name", ["lite0-gru", "mine_2", "v1.2"])
def test_a_plain_name_is_taken(tmp_path: Path, name: str) -> None:
    assert load_spec(written(tmp_path, name=name)).name == name


@pytest.mark.parametrize("name", ["", "..", "../elsewhere", "/etc", "a/b", "a b", "x" * 65, ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match=r"bad model spec .*: name: .*restore or re-export it"):
        load_spec(written(tmp_path, name=name))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"format": 2}, "format"),
        ({"fromat": 1}, "fromat"),
        ({"calibration": {"temperature": 0}}, "calibration.temperature"),
        ({"positive_class": "swapped"}, "positive_class"),
        ({"aggregation": "median"}, "aggregation"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_by_the_place_at_fault(
    tmp_path: Path, changes: dict[str, Any], place: str
) -> None:
    with pytest.raises(SpecError, match=f": {place}: "):
        load_spec(written(tmp_path, **changes))


def test_a_missing_spec_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"give the folder of a model that holds a spec\.json"):
        load_spec(tmp_path / SPEC_FILE)
