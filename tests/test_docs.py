"""What the pages say must be so: commands parse, files and make targets exist, words are the code's."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from engines.catalog import DEFAULT_MODEL
from engines.engine_choice import WORTH
from engines.runtime.table import ALWAYS, RUNTIMES
from engines.spec import load_spec
from stream.cli import EXIT_CODES, _parser
from stream.config import AppConfig
from stream.config_web import TlsConfig
from stream.errors import UnmaskError
from stream.metrics import DROP_REASONS, RUNTIME_REASONS
from stream.scheduling.sampling import SkipReason
from stream.score import summary_of
from stream.scoring.story import TrackSummary
from stream.sinks.json_lines import score_record
from stream.types import (
    SOURCE_REASONS,
    FaceScore,
    QualityReason,
    Scene,
    StreamName,
    StreamState,
    TrackId,
    Verdict,
)
from stream.web.routes.people import LoginRequest, people
from stream.web.routes.room import PREFIX
from stream.web.routes.streams import streams
from stream.web.tls import tls_context

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
COMMANDS = (ROOT / "stream" / "cli.py", *ROOT.glob("stream/commands/*.py"), ROOT / "stream" / "engine_builds.py")
NAMED = (
    ["watch"],
    ["score"],
    ["extract"],
    ["config", "check"],
    ["purge"],
    ["verify"],
    ["web", "user"],
    ["alerts", "test"],
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_of(page: Path) -> list[str]:
    """Everything between backticks, and the lines of fenced blocks without their comments."""
    text = page.read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    fenced = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [*inline, *filter(None, fenced)]


def commands_in(text: str) -> list[list[str]]:
    """Whole unmask commands: those that show an ellipsis or a placeholder only name an option."""
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("unmask ")]
    return [words[1:] for words in lines if not any("…" in word for word in words)]


def is_understood(words: list[str]) -> bool:
    """Whether the command line takes these words; a command that is only named needs no arguments."""
    try:
        _parser().parse_args([*words, "--help"] if words in NAMED else words)
    except SystemExit as left:
        return left.code == 0
    return True


@each_page
def test_every_command_is_understood(page: Path) -> None:
    commands = commands_in("\n".join(code_of(page)))
    assert [words for words in commands if not is_understood(words)] == []


@pytest.mark.parametrize(("line", "fits"), [("watch webcam", True), ("watch --nonsense", False), ("dance", False)])
def test_a_command_that_does_not_exist_is_noticed(line: str, fits: bool) -> None:
    assert is_understood(line.split()) is fits


@each_page
def test_every_option_exists(page: Path) -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", "".join(path.read_text() for path in COMMANDS)))
    ours = [code for code in code_of(page) if code.startswith(("--", "unmask"))]
    assert [option for code in ours for option in re.findall(r"--[a-z][a-z-]+", code) if option not in known] == []


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = [words[1:] for code in code_of(page) if (words := code.split())[0] == "make"]
    assert [target for words in wanted for target in words if "=" not in target and target not in targets] == []


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]
    gone = [link for link in links if not (page.parent / link).exists()]
    assert gone == []


def slugs_of(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings: a heading that comes again is numbered."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#{1,6} +(.+?)(?: +#+)? *$", text, re.MULTILINE)
    shown = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in shown]
    return {slug + (f"-{again}" if (again := plain[:at].count(slug)) else "") for at, slug in enumerate(plain)}


def lost_anchors(page: Path) -> list[str]:
    """Its links to a heading, here or on another page, that is not there."""
    links = [link for link in re.findall(r"\]\(([^)\s]*#[^)\s]*)\)", page.read_text()) if "://" not in link]
    ways = [(link, *link.split("#", 1)) for link in links]
    return [link for link, file, slug in ways if slug not in slugs_of(page.parent / file if file else page)]


@each_page
def test_every_link_to_a_heading_finds_it(page: Path) -> None:
    assert lost_anchors(page) == []


def test_every_runbook_of_an_alert_is_a_heading() -> None:
    alerts = (ROOT / "deploy" / "prometheus" / "unmask.alerts.yml").read_text()
    runbooks = re.findall(r"runbook: (\S+)#(\S+)", alerts)
    assert runbooks
    assert [(file, slug) for file, slug in runbooks if slug not in slugs_of(ROOT / file)] == []


def test_a_link_to_a_heading_that_is_gone_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Of `--web`, & [more](x.md)\n## Again\n### Again\n```sh\n# no heading\n```\n")
    page = tmp_path / "a.md"
    page.write_text(
        "".join(f"[x]({link})\n" for link in ("#no", "b.md#of---web--more", "b.md#again-1", "b.md#no-heading"))
    )
    assert lost_anchors(page) == ["#no", "b.md#no-heading"]


@pytest.mark.parametrize("page", ["docs/engines.md", "CHANGELOG.md"])
def test_how_much_faster_another_runtime_must_be_than_which_is_the_codes(page: str) -> None:
    text = " ".join((ROOT / page).read_text().split())
    (sentence,) = re.findall(rf"[^.]* at least {WORTH} times as fast[^.]*\.", text)
    assert RUNTIMES[ALWAYS].summary in sentence


@each_page
def test_every_path_of_ours_exists(page: Path) -> None:
    pattern = r"(stream|engines|configs|tests|tools|bench|docs)/[\w./-]+"
    paths = [code for code in code_of(page) if re.fullmatch(pattern, code) and "NAME" not in code]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def keys_of(section: type[BaseModel]) -> Iterator[str]:
    """A configuration's keys and, with a dot, those below them."""
    for name, field in section.model_fields.items():
        yield name
        yield from (f"{name}.{key}" for below in sections_in(field.annotation) for key in keys_of(below))


def sections_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from sections_in(part)


@each_page
def test_every_key_of_a_configuration_exists(page: Path) -> None:
    sections = "|".join(AppConfig.model_fields)
    named = {found[0] for code in code_of(page) if (found := re.match(rf"(?:{sections})\.[a-z_.]+", code))}
    ours = {key for key in named if not key.endswith((".py", ".jsonl", ".yaml"))}
    assert sorted(ours - set(keys_of(AppConfig))) == []


def test_the_readme_has_the_two_commands_and_a_line_for_each_use() -> None:
    code = code_of(ROOT / "README.md")
    assert {"make demo", "make test", "unmask watch webcam", "unmask watch screen"} <= set(code)
    assert any(line.startswith("unmask watch rtsp://") for line in code)
    assert any("jetson.yaml" in line for line in code)


def test_the_readmes_thresholds_are_the_models() -> None:
    limits = re.search(r"below (0\.\d+) or above (0\.\d+)", (ROOT / "README.md").read_text())
    assert limits is not None
    spec = ROOT / "engines" / "weights" / DEFAULT_MODEL / "spec.json"
    if not spec.is_file():
        pytest.skip(f"{spec} is missing: the model's own thresholds are not known")
    verdict = load_spec(spec).verdict
    assert (verdict.real_at, verdict.fake_at) == (float(limits[1]), float(limits[2]))


@pytest.mark.parametrize("words", [StreamState, Verdict, QualityReason], ids=lambda words: words.__name__)
def test_operating_explains_every_word_that_is_shown(words: type[StreamState | Verdict | QualityReason]) -> None:
    code = set(code_of(ROOT / "docs" / "operating.md"))
    assert [word.value for word in words if word.value not in code] == []


def tables_of(page: Path, heading: str) -> list[list[list[str]]]:
    """The tables between a heading and the next: rows of cells, without their heads."""
    text = re.split(rf"^#+ {re.escape(heading)}$", page.read_text(), maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [[line.strip("| ").split(" | ") for line in table.splitlines()[2:]] for table in tables]


def in_code(cell: str) -> str:
    return "".join(re.findall(r"`([^`]+)`", cell))


def test_operating_says_of_each_state_what_it_looks_like_and_what_to_do() -> None:
    (states,) = tables_of(ROOT / "docs" / "operating.md", "What a stream can be")
    assert [in_code(row[0]) for row in states] == [state.value for state in StreamState]
    assert all(len(row) == 4 and all(row) for row in states)


def test_operating_says_of_each_reason_what_it_means_and_what_to_do() -> None:
    losses, faces, others = tables_of(ROOT / "docs" / "operating.md", "What a reason means")
    assert sorted(in_code(row[0]) for row in losses) == sorted(SOURCE_REASONS)
    assert [in_code(row[0]) for row in faces] == [reason.value for reason in QualityReason]
    counted = [*DROP_REASONS, *(reason.value for reason in SkipReason), *RUNTIME_REASONS]
    assert [in_code(row[-3]) for row in others] == counted
    assert all(row[-1] and row[-2] for table in (losses, faces, others) for row in table)


def test_the_faults_of_a_camera_show_every_reason_of_a_loss_and_no_other() -> None:
    (faults,) = tables_of(ROOT / "docs" / "operating.md", "Faults of a camera")
    told = {word for row in faults for word in re.findall(r"`(\w+)`", row[1]) if not word.startswith("unmask_")}
    states = {state.value for state in StreamState}
    assert told - states == set(SOURCE_REASONS)
    assert all(len(row) == 4 and all(row) for row in faults)


def rooms_told(page: Path) -> list[str]:
    """The first cells of its tables of rooms; a name without a folder lies beside the one before it."""
    rooms, folder = list[str](), ""
    for cell in re.findall(r"^\| (`[\w/.]+`(?:, `[\w/.]+`)*) \|", page.read_text(), re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cell):
            folder = f"{name.partition('/')[0]}/" if "/" in name.rstrip("/") else folder
            rooms.append(name if "/" in name.rstrip("/") or (ROOT / name).is_dir() else folder + name)
    return rooms


def rooms_there_are() -> list[str]:
    inside = [path for folder in ("engines", "stream") for path in (ROOT / folder).iterdir()]
    modules = [str(path.relative_to(ROOT)) for path in inside if path.suffix == ".py" and path.stem != "__init__"]
    packages = [
        f"{path.parent.relative_to(ROOT)}/"
        for folder in ("engines", "stream")
        for path in (ROOT / folder).glob("*/__init__.py")
    ]
    return [*modules, *packages, "bench/", "configs/", "deploy/", "docs/", "tests/", "tools/"]


def test_architecture_has_a_row_for_each_room() -> None:
    assert sorted(rooms_told(ROOT / "docs" / "architecture.md")) == sorted(rooms_there_are())


def test_operating_lists_every_exit_code() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    kinds = {kind.exit_code for kind in UnmaskError.__subclasses__()} | {0, 1, 130}
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert listed == kinds
    assert all(re.search(rf"\b{code} ", EXIT_CODES) for code in listed)


def test_operating_explains_every_key_of_a_score() -> None:
    face = FaceScore(TrackId(1), (0.0, 0.0, 1.0, 1.0), Verdict.UNSURE, None)
    code = set(code_of(ROOT / "docs" / "operating.md"))
    assert set(score_record(Scene(StreamName("door")), face, "")) - code == set()


def test_operating_explains_every_key_of_a_scored_file() -> None:
    track = TrackSummary(TrackId(1), 0.0, 1.0, 1, 0.5, Verdict.UNSURE, ((0.0, 0.5),))
    told = summary_of("clip.mp4", [track]).to_json()
    keys = {*told, *told["tracks"][0], *told["tracks"][0]["timeline"][0]} - {"tracks", "timeline", "fake_stretches"}
    code = set(code_of(ROOT / "docs" / "operating.md"))
    assert keys - code == set()
    assert {"tracks[]", "timeline[]", "fake_stretches[]"} <= code


def security_line(beginning: str) -> list[list[str]]:
    """The words of the lines of docs/security.md that begin so."""
    return [shlex.split(line) for line in code_of(ROOT / "docs" / "security.md") if line.startswith(beginning)]


def test_the_certificate_that_security_makes_is_one_that_the_page_takes(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (command,) = security_line("openssl req")
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=60)
    tls_context(TlsConfig(certificate=tmp_path / "certificate.pem", key=tmp_path / "key.pem"))


def test_what_security_asks_of_the_api_with_curl_is_there() -> None:
    asked = [words for words in security_line("curl") if words[-1].startswith("$url/")]
    known = {route.path for router in (people, streams) for route in router.routes if isinstance(route, APIRoute)}
    assert {words[-1].replace("$url", PREFIX) for words in asked} <= known
    (body,) = [words[words.index("-d") + 1] for words in asked if "-d" in words]
    assert LoginRequest.model_validate_json(body).user == "ann"
