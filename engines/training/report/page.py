"""The page: what was measured on what, in the order a reader asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from engines.training.bootstrap import THRESHOLD
from engines.training.errors import TrainingError
from engines.training.evaluate import CalibrationStudy, Evaluation, ManipulationRow, OperatingPoint
from engines.training.metrics import Confusion
from engines.training.report.chart import COLOURS, STYLE, as_file
from engines.training.report.curves import Charts

PAGE_FILE = "report.html"
_WORDS = {
    "auc": ("AUC", "chance that a fake scores above a real; 0.5 is guessing"),
    "eer": ("EER", "where false alarms and misses are equally likely"),
    "ap": ("AP", "average precision; guessing gives the share of fakes"),
    "tpr_at_fpr_1": ("TPR at FPR 1 %", "fakes found at one false alarm in a hundred reals"),
    "tpr_at_fpr_01": ("TPR at FPR 0.1 %", "fakes found at one false alarm in a thousand reals"),
    "log_loss": ("log loss", "surprise at the truth, in nats; 0.693 is saying one half always"),
    "brier": ("Brier", "squared distance of probability and truth; 0.25 is saying one half always"),
    "ece": ("ECE", "how far probabilities are from coming true, as the set is"),
    "ece_balanced": ("ECE, classes alike", "the same as if half of the items were fake"),
    "accuracy": ("accuracy", "right calls at the probability 0.5"),
    "precision": ("precision", "of those called fake, how many are"),
    "recall": ("recall", "of the fakes, how many were called so"),
    "f1": ("F1", "harmonic mean of the two"),
    "balanced_accuracy": ("balanced accuracy", "mean of the rates of both classes; 0.5 is guessing"),
    "majority_accuracy": ("majority's accuracy", "of whoever always names the larger class"),
}
_CARDS = ("auc", "eer", "tpr_at_fpr_1", "ece_balanced")
_PAGE_STYLE = """
*{box-sizing:border-box} body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 18px 60px} h1{font-size:1.7rem;line-height:1.2;margin:0 0 4px}
h2{font-size:1.15rem;margin:42px 0 12px} p{margin:6px 0;max-width:46rem} .quiet{color:var(--quiet)}
code{font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
pre{background:var(--card);border-radius:8px;padding:10px 14px;white-space:pre-wrap;margin:12px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0}
.card{background:var(--card);border-radius:10px;padding:14px 16px}
.card b{font-size:1.75rem;display:block;line-height:1.25}
.card span{color:var(--quiet);font-size:.85rem;display:block}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(330px,100%),1fr));gap:18px}
.large{grid-template-columns:repeat(auto-fill,minmax(min(430px,100%),1fr))} .wide+.charts,p+.charts{margin-top:18px}
figure{margin:0;background:var(--card);border-radius:10px;padding:12px 12px 8px}
figure{display:flex;flex-direction:column;justify-content:space-between}
figcaption{font-size:.92rem;font-weight:600;padding:0 4px 6px}
.wide{overflow-x:auto} table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.94rem}
th,td{text-align:right;padding:6px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left} td.words,th.words{text-align:left;white-space:normal;color:var(--quiet)}
th{color:var(--quiet);font-weight:600} td.right{background:color-mix(in srgb,var(--real) 16%,transparent)}
td.wrong{background:color-mix(in srgb,var(--fake) 16%,transparent)}
@media (max-width:640px){td.words,th.words{display:none} main{padding-top:18px}}
"""


@dataclass(frozen=True)
class Transfer:
    """Thresholds of the page's set on another one."""

    name: str
    items: int
    auc: float | None
    points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, repr=False)
class Page:
    """All that a report shows."""

    title: str
    facts: Mapping[str, str]
    """What was measured on what: shown as a list."""
    command: str
    evaluation: Evaluation
    floor_auc: float | None
    transfers: tuple[Transfer, ...]
    charts: Charts
    reliability: Charts
    robustness: Charts
    learning: Charts


def write_report(folder: Path, page: Page) -> Path:
    """Write ``report.html`` and each chart as an SVG file. Raises TrainingError when the folder cannot be written."""
    path = folder / PAGE_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stem, (_, svg) in _all_charts(page).items():
            (folder / f"{stem}.svg").write_text(as_file(svg), encoding="utf-8")
        path.write_text(page_html(page), encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"cannot write the report to {folder} ({error.strerror}): choose another folder") from None
    return path


def _all_charts(page: Page) -> Charts:
    return {**page.charts, **page.reliability, **page.robustness, **page.learning}


def page_html(page: Page) -> str:
    """One file without scripts or links."""
    parts = [
        _head(page),
        _cards(page.evaluation),
        _section("Numbers", _numbers(page)),
        _section("Curves", _figures(page.charts, "charts large")),
        _section("Right and wrong calls", _confusions(page.evaluation)),
        _section("Calibration", _calibration(page.evaluation.calibration) + _figures(page.reliability)),
        _section("By manipulation, against all reals", _manipulations(page.evaluation.manipulations)),
        _section("The same thresholds on other sets", _transfers(page.transfers)),
        _section("Robustness: AUC on worse pictures", _figures(page.robustness)),
        _section("Learning curves", _figures(page.learning)),
        _foot(),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(page.title)}</title><style>{COLOURS}{_PAGE_STYLE}{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(page: Page) -> str:
    rows = [[escape(name), f"<code>{escape(text)}</code>"] for name, text in page.facts.items()]
    cells = "".join(
        f'<tr><td>{name}</td><td class="words" style="display:table-cell">{text}</td></tr>' for name, text in rows
    )
    return (
        f'<h1>{escape(page.title)}</h1><p class="quiet">How well the model tells fakes from reals on these items. '
        "A score is a reason to look again, never proof.</p>"
        f'<pre><code>{escape(page.command)}</code></pre><div class="wide"><table>{cells}</table></div>'
    )


def _cards(evaluation: Evaluation) -> str:
    cards = "".join(
        f'<div class="card"><span>{_WORDS[name][0]}</span><b>{_number(evaluation.numbers[name])}</b>'
        f"<span>{_interval(evaluation, name) or '&nbsp;'}</span></div>"
        for name in _CARDS
    )
    return f'<div class="cards">{cards}</div>'


def _numbers(page: Page) -> str:
    evaluation = page.evaluation
    rows = [
        [words, _number(evaluation.numbers[name]), _interval(evaluation, name), meaning]
        for name, (words, meaning) in _WORDS.items()
    ]
    if page.floor_auc is not None:
        meaning = "AUC of ten numbers such as file size and sharpness, without a network: beat this by far"
        rows.insert(1, ["the trivial floor", _number(page.floor_auc), "", meaning])
    note = '<p class="quiet">Intervals hold 95 % of resamples by source: a real and its fakes stay together.</p>'
    return _table(["", "value", "95 %", "what it means"], rows, words=3) + note


def _confusions(evaluation: Evaluation) -> str:
    ways = {"eer": "at its equal error rate", "fpr_1": "at one false alarm in a hundred"}
    tables = [_confusion(f"at the probability {THRESHOLD:g}", evaluation.confusion)]
    tables += [_confusion(f"{ways[one.name]}: {one.threshold:.3f}", one.at_home) for one in evaluation.points]
    return f'<div class="charts">{"".join(tables)}</div>'


def _confusion(caption: str, cells: Confusion) -> str:
    def cell(kind: str, count: int, total: int) -> str:
        return f'<td class="{kind}">{count:,} <small>{count / max(total, 1):.0%}</small></td>'

    real, fake = cells.true_real + cells.false_fake, cells.false_real + cells.true_fake
    rows = (
        f"<tr><td>real</td>{cell('right', cells.true_real, real)}{cell('wrong', cells.false_fake, real)}</tr>"
        f"<tr><td>fake</td>{cell('wrong', cells.false_real, fake)}{cell('right', cells.true_fake, fake)}</tr>"
    )
    head = "<tr><th></th><th>called real</th><th>called fake</th></tr>"
    return f"<figure><figcaption>{escape(caption)}</figcaption><table>{head}{rows}</table></figure>"


def _calibration(study: CalibrationStudy | None) -> str:
    if study is None:
        return ""
    names = ("ece", "ece_balanced", "brier", "log_loss")
    rows = [
        [
            row.name.replace("_", ", "),
            *(_number(row.numbers[name]) for name in names),
            "" if row.calibration is None else f"T {row.calibration.temperature:.2f}, bias {row.calibration.bias:+.2f}",
        ]
        for row in study.rows
    ]
    note = (
        f'<p class="quiet">Judged on {len(study.labels):,} items; refitted on {study.fitted_items:,} items of other '
        "sources. “Classes alike” counts reals and fakes the same, as the shipped calibration assumes.</p>"
    )
    return _table(["probabilities", "ECE", "ECE, classes alike", "Brier", "log loss", "fitted"], rows) + note


def _manipulations(found: Sequence[ManipulationRow]) -> str:
    names = ("auc", "eer", "tpr_at_fpr_1")
    rows = [[row.name, f"{row.fakes:,}", *(_number(row.numbers[name]) for name in names)] for row in found]
    return _table(["manipulation", "fakes", "AUC", "EER", "TPR at FPR 1 %"], rows) if rows else ""


def _transfers(transfers: Sequence[Transfer]) -> str:
    ways = {"eer": "at this set's EER", "fpr_1": "at this set's FPR 1 %"}
    rows = [
        [
            f"{one.name} ({one.items:,})",
            _number(one.auc),
            ways[point.name],
            f"{point.threshold:.3f}",
            *(_number(rate) for rate in (point.abroad.accuracy, point.abroad.false_alarm_rate, point.abroad.recall)),
        ]
        for one in transfers
        for point in one.points
    ]
    names = ["set (items)", "AUC", "threshold taken", "value", "accuracy", "false alarms", "fakes found"]
    return _table(names, rows) if rows else ""


def _figures(charts: Charts, kind: str = "charts") -> str:
    figures = "".join(
        f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>" for caption, svg in charts.values()
    )
    return f'<div class="{kind}">{figures}</div>' if charts else ""


def _foot() -> str:
    return (
        '<h2>Reading it</h2><p class="quiet">Numbers hold for faces like these: another camera, codec or way of faking '
        "gives others. Counted rates (accuracy, precision, recall, F1) depend on how many items are fake; AUC and EER "
        "do not. No picture of the data is shown here.</p>"
    )


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inner}</section>" if inner else ""


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], words: int = -1) -> str:
    """``words``: the column that explains, left out on a small screen."""

    def row(tag: str, cells: Sequence[str]) -> str:
        kinds = (' class="words"' if number == words else "" for number in range(len(cells)))
        return "".join(f"<{tag}{kind}>{escape(text)}</{tag}>" for kind, text in zip(kinds, cells, strict=True))

    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in rows)
    return f'<div class="wide"><table><tr>{row("th", names)}</tr>{body}</table></div>'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(evaluation: Evaluation, name: str) -> str:
    low, high = evaluation.intervals.get(name, (float("nan"), float("nan")))
    return f"{low:.3f} – {high:.3f}" if low <= high else ""
