"""The report is one file without strangers, and says what was measured."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engines.training.errors import TrainingError
from engines.training.evaluate import evaluate, transfer
from engines.training.report.curves import evaluation_charts, reliability_charts, robustness_charts
from engines.training.report.page import Page, Transfer, page_html, write_report
from engines.training.robustness import DEGRADATIONS, Step
from engines.training.scored import Scored
from tests.engines.training.scored_items import overlapping, scored_of


def steps() -> list[Step]:
    levels = [Step(how.name, level, 0.8, (0.7, 0.9)) for how in DEGRADATIONS for level in how.levels]
    return [Step("none", None, 0.9, (0.85, 0.95)), *levels]


def page_of(scored: Scored) -> Page:
    found = evaluate(scored, resamples=20)
    return Page(
        title="model <x> on set",
        facts={"data": "a & b"},
        command="unmask evaluate --root 'a b'",
        evaluation=found,
        floor_auc=0.64,
        transfers=(Transfer("other", 7, None, transfer(scored, scored)),),
        charts=evaluation_charts(found),
        reliability=reliability_charts(found.calibration),
        robustness=robustness_charts(steps()),
        learning={},
    )


class Strict(HTMLParser):
    """Notes unclosed elements and all that a page could load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "data")]
        self.loads += [tag] if tag in ("script", "iframe", "object", "link", "img") else []
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "scored", [overlapping(200), scored_of([1, 1], [0.2, 0.9])], ids=["both classes", "fakes only"]
)
def test_a_page_is_sound_and_loads_nothing(scored: Scored) -> None:
    text, reader = page_html(page_of(scored)), Strict()
    reader.feed(text)
    assert reader.open == []
    assert reader.loads == []
    assert set(re.findall(r"https?://[^\"' )]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "nan" not in text.lower().replace("finance", "")


def test_what_was_measured_is_escaped_and_shown() -> None:
    text = page_html(page_of(overlapping(200)))
    assert "model &lt;x&gt; on set" in text
    assert "a &amp; b" in text
    assert "prefers-color-scheme:dark" in text
    assert all(part in text for part in ("AUC", "0.640", "JPEG", "H.264", "As the model ships", "other (7)"))


def test_each_chart_is_a_file_of_its_own_beside_the_page(tmp_path: Path) -> None:
    path = write_report(tmp_path / "new" / "report", page_of(overlapping(200)))
    assert path.name == "report.html"
    pictures = sorted(path.parent.glob("*.svg"))
    assert {"roc.svg", "precision-recall.svg", "scores.svg", "reliability-shipped.svg", "robustness-h264.svg"} <= {
        picture.name for picture in pictures
    }
    for picture in pictures:
        ET.parse(picture)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot write the report"):
        write_report(tmp_path / "file" / "report", page_of(overlapping(60)))
