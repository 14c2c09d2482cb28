"""``unmask train`` from the command line: a model at the end, and one line with an exit code for what goes wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from engines.catalog import open_model
from stream.cli import main
from tests.engines.training.faces_on_disk import rows_of, write_set

RECIPE = """
name: meso4
size: 32
backbone: {size: 32, threads: 1, draws: 8, sampling: {pairs: 2}}
head: {val_clips: 8, rendered: 2}
"""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("UNMASK_MODELS", str(tmp_path / "models"))
    data = write_set(tmp_path / "data", [*rows_of(4, "train", "a"), *rows_of(4, "val", "b")], zipped=False)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    folders = ["--data", str(data), "--out", str(tmp_path / "out"), "--scratch", str(tmp_path / "scratch")]
    return ["train", str(tmp_path / "recipe.yaml"), *folders]


def test_a_trained_model_says_how_to_use_it_and_is_installed(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--start", "random", "--device", "cpu", "--install"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["model", str(tmp_path / "models" / "meso4")]
    assert out[1].endswith("unmask watch webcam --model meso4")
    open_model("meso4", threads=1).close()


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--start", "imagenet"], 2, "no package brings ImageNet weights"),
        (["--start", "nothing"], 3, "no model 'nothing'"),
        (["--start", "random", "--resume"], 2, "start without --resume"),
        (["--start", "random", "--data", "nowhere"], 2, "nowhere"),
        (["--start", "random", "--out", "/dev/null/out"], 5, "cannot write /dev/null/out"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(
    arguments: list[str], more: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *more]) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert said[-1].startswith("unmask: ")


def test_without_torch_it_says_what_to_install(arguments: list[str]) -> None:
    code = "import sys; sys.modules['torch'] = None; from stream.cli import main; sys.exit(main(sys.argv[1:]))"
    run = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 6
    assert done.stderr.strip() == "unmask: training needs torch: pip install -e '.[train]'"
