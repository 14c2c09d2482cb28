"""``unmask evaluate``: one JSON object, one line per error, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream.cli import main
from tests.engines.training.faces_on_disk import rows_of, write_set

KEYS = {
    "format", "command", "dataset", "root", "split", "model", "weights_sha256", "runtime", "scored_by", "items", "real",
    "fake", "sources", "videos", "auc", "frame_auc", "video_auc", "eer", "eer_threshold", "ap", "prevalence",
    "tpr_at_fpr_1", "tpr_at_fpr_01", "log_loss", "ece", "ece_balanced", "brier", "brier_balanced", "threshold",
    "accuracy", "precision", "recall", "f1", "balanced_accuracy", "majority_accuracy", "intervals", "confusion",
    "calibration", "manipulations", "floor", "transfer", "robustness", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [*rows_of(5, "mine", "a"), *rows_of(3, "other", "b")]
    return write_set(tmp_path_factory.mktemp("faces"), rows, zipped=True)


def asked(root: Path, *more: str) -> list[str]:
    words = ["evaluate", "--dataset", "deepfake-faces", "--root", str(root), "--model", "lite0-gru"]
    return [*words, "--bootstrap", "20", *more]


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one object on stdout; stderr is no terminal here, so it stays silent."""
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    found = json.loads(said.out)
    assert isinstance(found, dict)
    return found


def test_json_has_the_promised_keys(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(asked(data, "--split", "mine", "--json"), capsys)
    assert set(found) >= KEYS | {"missing", "leaking", "video"}
    assert (found["items"], found["real"], found["fake"], found["sources"]) == (15, 5, 10, 5)
    assert (found["dataset"], found["split"], found["model"]) == ("deepfake-faces", "mine", "lite0-gru")
    assert 0 <= found["intervals"]["auc"][0] <= found["auc"] <= found["intervals"]["auc"][1] <= 1
    assert sum(found["confusion"]["half"][cell] for cell in ("tn", "fp", "fn", "tp")) == 15
    assert found["majority_accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert (found["video"], found["floor"], found["robustness"]) == (None, None, None)


def test_the_command_in_the_answer_gives_the_same_answer(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = answer(asked(data, "--split", "mine", "--json", "--limit", "9", "--margin", "0.9", "--mirror"), capsys)
    again = answer([*first["command"].split()[1:], "--json"], capsys)
    assert {**first, "seconds": 0} == {**again, "seconds": 0}


def test_thresholds_are_used_on_other_sets(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(asked(data, "--split", "mine", "--json", "--compare", f"deepfake-faces:{data}:other"), capsys)
    (other,) = found["transfer"]
    assert (other["items"], other["split"]) == (9, "other")
    assert set(other["thresholds"]) == {"eer", "fpr_1"}
    assert {"accuracy", "fpr", "tpr"} <= set(other["thresholds"]["eer"]["here"])


def test_a_report_and_every_score_are_written_where_asked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--report", str(tmp_path / "report"), "--scores", str(tmp_path / "scores.csv"))
    found = answer(asked(data, "--split", "mine", "--json", *more), capsys)
    assert "lite0-gru" in (tmp_path / "report" / "report.html").read_text()
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == found
    rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert rows[0] == "name,label,source,fake_probability,logit"
    assert len(rows) == 16


def test_without_json_the_main_numbers_are_lines(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(data, "--split", "mine")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "15 items (5 real, 10 fake)" in lines[0]
    assert any(line.split()[0] == "auc" for line in lines)


@pytest.mark.parametrize(
    ("more", "code", "part"),
    [
        (["--split", "none"], 4, "no split 'none'"),
        (["--root", "/nowhere"], 4, "no deepfake-faces set at /nowhere"),
        (["--model", "nonsense"], 3, "no model 'nonsense'"),
        (["--compare", "faces"], 2, "write deepfake-faces:FOLDER:SPLIT"),
        (["--training-log", "/nowhere.csv"], 2, "cannot read the training log"),
        (["--report", "/dev/null/report"], 5, "cannot write /dev/null"),
        (["--dataset", "clips", "--root", "/nowhere"], 4, "no folder /nowhere"),
        (["--dataset", "clips", "--robustness"], 2, "--robustness degrades stills"),
        (["--scores", "/nowhere/scores.csv"], 5, "cannot write /nowhere/scores.csv"),
    ],
)
def test_a_bad_request_is_one_line_and_its_exit_code(
    more: list[str], code: int, part: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(data, "--split", "mine", *more)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert part in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("more", [["--limit", "-1"], ["--margin", "0"], ["--bootstrap", "x"], ["--dataset", "dfdc"]])
def test_a_wrong_option_is_a_bad_request(more: list[str], data: Path) -> None:
    with pytest.raises(SystemExit) as left:
        main(asked(data, *more))
    assert left.value.code == 2


def test_stills_are_measured_without_torch_scikit_learn_or_gstreamer(data: Path) -> None:
    code = f"import sys; from stream.cli import main\nassert main({asked(data, '--split', 'mine', '--json')!r}) == 0\n"
    check = "print([name for name in ('torch', 'sklearn', 'matplotlib', 'av', 'gi') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.splitlines()[-1] == "[]"
