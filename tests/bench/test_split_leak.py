from __future__ import annotations

from pathlib import Path

import pytest

from bench.split_leak import main

HEAD = "videoname,label,original,split\n"


def test_fakes_of_few_sources_leak_at_random_and_never_by_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"s{source}f{fake}.mp4,FAKE,s{source}.mp4,train" for source in range(10) for fake in range(30)]
    (tmp_path / "metadata.csv").write_text(HEAD + "\n".join(rows))
    assert main([str(tmp_path)]) == 0
    own, at_random, by_source = capsys.readouterr().out.splitlines()
    assert "0.0% of 0 held-out" in own
    assert "100.0% of 60 held-out" in at_random
    assert "0.0% of 60 held-out" in by_source


@pytest.mark.parametrize(("given", "said"), [([], "usage:"), (["/nowhere"], "no deepfake-faces set at /nowhere")])
def test_what_it_cannot_measure_it_says(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given) == 2
    assert said in capsys.readouterr().err
