"""The doors between rooms, as data. A failure names the offender; to open a door, change a table here and say why.

A room is a package of the second level (``stream.gst``) or a module of its own (``stream.pipeline``).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION = 40
LARGEST_FILE = 12 * 2**20

LEAVES = {
    "engines.compile.request",
    "engines.runtime.ports",
    "stream.alerts.alert",
    "stream.sources.uri",
    "stream.web.ports",
}
"""Rooms within rooms: the seams of builders and runtimes, which those behind them keep to; an address is a value, which
GStreamer's launch lines are made from and sources are opened by; rules make alerts, and the page shows them; what the
page is given is made by rooms that know nothing of it."""

WORKSHOP = {"engines.export.package", "engines.export.reference", "engines.importing", "engines.training.run"}
"""What commands with torch start from: imported when such a command runs, so that the live path stays without."""

EXPORTS = {"engines.export.package", "engines.export.reference"}
"""Those of them that engine building asks for."""

VALUES = {"stream.types", "stream.ports", "stream.errors", "stream.motion"}
TENSORS = {
    "engines.errors",
    "engines.spec",
    "engines.preprocess",
    "engines.postprocess",
    "engines.runtime",
    "engines.runtime.ports",
}

DOORS: dict[str, set[str]] = {
    # the tensor side: nothing here may import stream
    "engines": set(),
    "engines.errors": set(),
    "engines.spec": {"engines.errors"},
    "engines.store": {"engines.runtime.ports", "engines.whole_file"},
    "engines.whole_file": set(),
    "engines.ranking": set(),
    "engines.preprocess": {"engines.spec"},
    "engines.jpeg": set(),
    "engines.postprocess": {"engines.spec", "engines.runtime", "engines.runtime.ports"},
    "engines.runtime.ports": {"engines.errors"},
    "engines.runtime": {
        "engines.compile.request",
        "engines.errors",
        "engines.runtime.ports",
        "engines.store",
        "engines.tensorrt",
    },
    "engines.compile.request": {"engines.store"},
    "engines.engine_choice": {
        "engines.errors",
        "engines.runtime",
        "engines.runtime.ports",
        "engines.store",
        "engines.tensorrt",
    },
    "engines.compile": TENSORS
    | {"engines.catalog", "engines.compile.request", "engines.engine_choice", "engines.export", "engines.store"},
    "engines.tensorrt": {
        "engines.compile.request",
        "engines.errors",
        "engines.runtime.ports",
        "engines.store",
        "engines.whole_file",
    },
    "engines.model_store": set(),
    "engines.catalog": {
        "engines.engine_choice",
        "engines.errors",
        "engines.model_store",
        "engines.runtime",
        "engines.runtime.ports",
        "engines.spec",
        "engines.store",
    },
    "engines.cuda": TENSORS,
    "engines.models": {"engines.errors"},
    "engines.checkpoints": {
        "engines.catalog",
        "engines.errors",
        "engines.models",
        "engines.spec",
        "engines.whole_file",
    },
    "engines.export": TENSORS
    | {
        "engines.catalog",
        "engines.checkpoints",
        "engines.jpeg",
        "engines.models",
        "engines.ranking",
        "engines.store",
        "engines.whole_file",
    },
    "engines.importing": TENSORS
    | {"engines.catalog", "engines.checkpoints", "engines.export", "engines.model_store", "engines.models"},
    "engines.training": TENSORS
    | {
        "engines.catalog",
        "engines.checkpoints",
        "engines.export",
        "engines.jpeg",
        "engines.models",
        "engines.ranking",
        "engines.store",
        "engines.whole_file",
    },
    # values and seams
    "stream": set(),
    "stream.errors": set(),
    "stream.types": {"engines.preprocess"},
    "stream.ports": {"engines.preprocess", "stream.types"},
    "stream.motion": {"stream.types"},
    "stream.board": {"stream.types"},
    "stream.release": set(),
    "stream.sources.uri": {"stream.errors"},
    # inner rooms: they know faces and time, and neither GStreamer nor choices
    "stream.faces": TENSORS | VALUES | {"engines.cuda", "engines.engine_choice", "engines.store"},
    "stream.scoring": TENSORS | VALUES | {"engines.cuda"},
    "stream.scheduling": {"engines.spec", "stream.types"},
    "stream.overlay": {"engines.preprocess", "stream.types"},
    "stream.observers": VALUES,
    "stream.pipeline": TENSORS | VALUES | {"stream.faces", "stream.observers", "stream.scheduling", "stream.scoring"},
    "stream.roster": {"stream.board", "stream.pipeline"} | VALUES,
    "stream.runner": {"engines.errors", "stream.pipeline", "stream.roster"} | VALUES,
    # edges
    "stream.gst": {"engines.preprocess", "stream.observers", "stream.overlay", "stream.sources.uri"} | VALUES,
    "stream.sources": {"engines.preprocess", "stream.gst", "stream.sources.uri"} | VALUES,
    "stream.alerts.alert": {"stream.types"},
    "stream.alerts": VALUES | {"engines.whole_file", "stream.alerts.alert", "stream.config_alerts", "stream.evidence"},
    "stream.evidence": {
        "engines.errors",
        "engines.jpeg",
        "engines.preprocess",
        "engines.spec",
        "engines.store",
        "engines.whole_file",
        "stream.alerts.alert",
        "stream.gst",
        "stream.overlay",
    }
    | VALUES,
    "stream.canary": {
        "engines.errors",
        "engines.preprocess",
        "engines.spec",
        "stream.alerts.alert",
        "stream.faces",
        "stream.observers",
        "stream.pipeline",
        "stream.scoring",
    }
    | VALUES,
    "stream.web.ports": {"stream.alerts.alert", "stream.types"},
    "stream.sinks": VALUES,
    "stream.wall": {"engines.preprocess", "stream.gst", "stream.observers", "stream.overlay"} | VALUES,
    "stream.gpu_preparation": {"engines.cuda", "engines.errors", "engines.runtime.ports"},
    "stream.metrics": VALUES | {"stream.alerts.alert", "stream.release", "stream.scheduling"},
    "stream.hot_start": {"engines.engine_choice", "engines.errors", "engines.runtime", "engines.runtime.ports"},
    "stream.jetson_stats": VALUES,
    "stream.service_notify": set(),
    "stream.contact_sheet": {"engines.preprocess", "stream.errors"},
    "stream.models_table": {
        "engines.catalog",
        "engines.errors",
        "engines.model_store",
        "engines.runtime",
        "engines.spec",
    },
    "stream.engine_wish": {"engines.spec", "engines.store"},
    "stream.engine_table": {"engines.store"},
    "stream.config_file": {"stream.errors"},
    "stream.config_section": {"stream.errors"},
    "stream.config_web": {"stream.config_section"},
    "stream.config_restream": {"stream.config_section", "stream.config_web", "stream.errors"},
    "stream.config_alerts": {"stream.alerts.alert", "stream.config_section", "stream.errors"},
    "stream.config_canary": {"stream.config_section"},
    "stream.config_evidence": {"stream.config_section"},
    "stream.config": {
        "engines.spec",
        "stream.config_alerts",
        "stream.config_canary",
        "stream.config_evidence",
        "stream.config_file",
        "stream.config_restream",
        "stream.config_section",
        "stream.config_web",
        "stream.errors",
        "stream.scoring",
        "stream.sources.uri",
    },
}
"""What each room may import of ours. Rooms that compose (below) may import any room that does not compose."""

COMPOSERS = [
    "stream.watch_options",
    "stream.parts",
    "stream.engine_workshop",
    "stream.engine_sources",
    "stream.engine_check",
    "stream.engine_upkeep",
    "stream.engine_builds",
    "build_engines",
    "stream.score",
    "stream.dataset",
    "stream.evaluation",
    "stream.live_streams",
    "stream.evidence_parts",
    "stream.reload",
    "stream.vouching",
    "stream.web",
    "stream.config_check",
    "stream.lookout",
    "stream.app",
    "stream.demo",
    "stream.doctor",
    "stream.benchmark",
    "stream.commands",
    "stream.cli",
]
"""They know choices, and may import the composers before them."""

OWNERS: dict[str, set[str]] = {
    "cryptography": {"stream.evidence.signing"},
    "gi": {"stream.gst"},
    "prometheus_client": {"stream.metrics"},
    "fastapi": {"stream.web"},
    "starlette": {"stream.web"},
    "uvicorn": {"stream.web"},
    "anyio": {"stream.web"},
    "argon2": {"stream.web"},
    "paho": {"stream.alerts"},
    "torch": {
        "engines.models",
        "engines.training",
        "engines.export",
        "engines.checkpoints",
        "engines.runtime.torch_reference",
        "stream.benchmark.torch_way",
    },
    "tensorboard": set(),
    "av": {"engines.training"},
    "dlib": {"engines.training"},
    "h5py": {"engines.checkpoints"},
    "safetensors": {"engines.training", "engines.export", "engines.checkpoints"},
    "onnxruntime": {"engines.compile", "engines.export", "engines.runtime", "stream.doctor"},
    "openvino": {"engines.runtime"},
    "onnx": {"engines.compile", "engines.export", "stream.faces"},
    "insightface": {"stream.faces"},
    "pycuda": {"engines.cuda", "engines.tensorrt"},
    "cv2": {
        "engines.export",
        "engines.jpeg",
        "engines.preprocess",
        "engines.training",
        "stream.evidence",
        "stream.faces",
        "stream.overlay",
        "stream.wall",
        "stream.contact_sheet",
        "stream.canary",
        "stream.demo",
        "stream.benchmark",
    },
    "PIL": {"stream.benchmark", "stream.overlay", "stream.contact_sheet"},
    "skimage": {"stream.demo", "engines.training"},
    "skvideo": set(),
    "scipy": {"stream.faces", "stream.demo", "engines.training"},
    "sklearn": {"engines.training"},
    "yaml": {"stream.config_file", "engines.training"},
    "argparse": {
        "stream.cli",
        "stream.commands",
        "stream.watch_options",
        "stream.evaluation",
        "stream.engine_builds",
        "engines.training",
        "engines.export",
    }
    | {"stream.gst.camera"},
    "signal": {
        "stream.alerts",
        "stream.benchmark",
        "stream.hot_start",
        "stream.cli",
        "stream.commands",
        "stream.gst.camera",
        "stream.gst.camera_fleet",
    },
}
"""Who may import what is not ours; benches, which measure rooms from outside, may import anything."""

QUIET = (
    "engines.jpeg",
    "engines.models",
    "engines.postprocess",
    "engines.preprocess",
    "stream.board",
    "stream.errors",
    "stream.faces.quality",
    "stream.faces.tracker",
    "stream.gst.codecs",
    "stream.gst.launch",
    "stream.gst.packages",
    "stream.motion",
    "stream.overlay",
    "stream.ports",
    "stream.scheduling",
    "stream.alerts.rule_book",
    "stream.alerts.rules",
    "stream.scoring",
    "stream.sources.uri",
    "stream.types",
    "stream.wall.grid",
    "stream.wall.mosaic",
)
"""Pure: time is an argument, and nothing is logged, read or written."""
LOUD = {"gi", "logging", "os", "random", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading"}
LOUD |= {"time", "urllib.request"}
LOUD_CALLS = {"open", "print", "input"}

SPOKEN = {"print", "exit", "quit", "sys.exit", "os._exit"}
SPEAKERS = {
    "stream.cli",
    "stream.commands",
    "stream.score",
    "stream.dataset",
    "stream.evaluation",
    "stream.demo",
    "stream.doctor",
}

EXTRAS = {
    "engines.cuda": "gpu",
    "stream.demo": "demo",
    "engines.checkpoints": "train",
    "engines.runtime.openvino_cpu": "openvino",
    "engines.runtime.torch_reference": "train",
    "engines.export": "train",
    "engines.importing": "train",
    "engines.models": "train",
    "engines.tensorrt": "gpu",
    "engines.training": "train",
    "stream.benchmark": "train",
}
"""Rooms that need an extra of pyproject.toml."""
FROM_THE_SYSTEM = {"gi"}
BROUGHT_WITH = {"dlib": "dlib-bin", "google": "onnx", "pydantic_core": "pydantic"}
"""Inseparable: ONNX's values are protobuf's, pydantic's errors are its core's; dlib-bin does not say what it holds."""

SHAPELESS = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
MACHINE_PATHS = re.compile(r"/(?:work|home|root|Users)/(?!me\b)[a-z]")
"""``/home/me`` is nobody's."""


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    name: str
    path: str
    tree: ast.Module
    lines: tuple[str, ...]
    known: frozenset[str]
    """Names of all our modules."""

    @cached_property
    def imports(self) -> set[str]:
        """Modules that are imported anywhere in the file: inside functions and for types only, too."""
        return {name for node in ast.walk(self.tree) for name in self._imported(node)}

    @property
    def ours(self) -> set[str]:
        return self.imports & self.known

    @property
    def is_command(self) -> bool:
        return self.name.endswith("__main__") or 'if __name__ == "__main__":' in self.lines

    def _imported(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in self.known else str(node.module)


def parsed(files: dict[str, str]) -> list[Module]:
    """Modules from {path: text}."""
    names = {path: path.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in files}
    known = frozenset(names.values())
    return [
        Module(names[path], path, ast.parse(text, path), tuple(text.splitlines()), known)
        for path, text in files.items()
    ]


def our_files() -> Iterator[Path]:
    for folder in ("engines", "stream", "bench"):
        yield from sorted((ROOT / folder).rglob("*.py"))
    yield ROOT / "build_engines.py"


MODULES = parsed({str(path.relative_to(ROOT)): path.read_text() for path in our_files()})
PRODUCT = [module for module in MODULES if not module.name.startswith("bench")]


def is_in(name: str, rooms: set[str] | tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def room_of(name: str) -> str:
    return name if name in LEAVES else ".".join(name.split(".")[:2])


def may_enter(room: str) -> set[str]:
    """Rooms that ``room`` may import."""
    if room in DOORS:
        return DOORS[room]
    return set(DOORS) | set(COMPOSERS[: COMPOSERS.index(room)])


def wrong_doors(module: Module) -> list[str]:
    room = room_of(module.name)
    entered = {room_of(name) for name in module.ours} - {room}
    return [f"{module.path} imports {other}" for other in sorted(entered - may_enter(room))]


def wrong_owners(module: Module) -> list[str]:
    names = {name.partition(".")[0] for name in module.imports} & set(OWNERS)
    return [f"{module.path} imports {name}" for name in sorted(names) if not is_in(module.name, OWNERS[name])]


def noises(module: Module) -> list[str]:
    imported = sorted(name for name in module.imports if is_in(name, LOUD))
    called = sorted(called_names(module) & LOUD_CALLS)
    return [f"{module.path}: {name}" for name in imported + called]


def called_names(module: Module) -> set[str]:
    calls = (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))
    return {ast.unparse(call.func) for call in calls}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """One way from a name back to itself; empty when there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        done.add(name)
        return next((found for other in sorted(imports.get(name, ())) if (found := walk(other, [*way, name]))), [])

    return next((found for name in sorted(imports) if (found := walk(name, []))), [])


def rooms_entered(modules: list[Module]) -> dict[str, set[str]]:
    entered: dict[str, set[str]] = {}
    for module in modules:
        room = room_of(module.name)
        entered.setdefault(room, set()).update({room_of(name) for name in module.ours} - {room})
    return entered


def reached(start: str, modules: list[Module]) -> set[str]:
    """Modules that ``start`` imports, directly or not, with the packages they lie in; not the workshop."""
    imports = {module.name: module.ours for module in modules}
    found, left = set[str](), [start]
    while left:
        name = left.pop()
        if name not in found and name in imports and name not in WORKSHOP:
            found.add(name)
            left += [*imports[name], name.rpartition(".")[0]]
    return found


def broad_excepts(module: Module) -> Iterator[str]:
    """Handlers of everything that neither raise it again nor say why on their line."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        is_broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
        raises_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if is_broad and not raises_again and "#" not in module.lines[node.lineno - 1]:
            yield f"{module.path}:{node.lineno}"


def long_functions(module: Module) -> list[str]:
    functions = (node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [
        f"{module.path}:{node.lineno} {node.name} has {length} lines"
        for node in functions
        if (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]


def may_speak(module: Module) -> bool:
    return module.is_command or is_in(module.name, SPEAKERS)


def spoken(module: Module) -> list[str]:
    return [f"{module.path} calls {name}" for name in sorted(called_names(module) & SPOKEN)]


def undeclared(module: Module, declared: dict[str, set[str]]) -> list[str]:
    """Imports whose package is neither ours, nor Python's, nor declared for the module's room."""
    rooms = declared[""].union(*(names for room, names in declared.items() if room and is_in(module.name, (room,))))
    names = {name.partition(".")[0] for name in module.imports} - sys.stdlib_module_names - FROM_THE_SYSTEM
    foreign = names - {name.partition(".")[0] for name in module.known}
    return [f"{module.path} imports {name}" for name in sorted(foreign) if not rooms & brought_by(name)]


def brought_by(name: str) -> set[str]:
    """Distributions that install the module; a module that is not here stands for itself."""
    installed_by = PACKAGED.get(name, [name])
    return {normalised(distribution) for distribution in [*installed_by, BROUGHT_WITH.get(name, name)]}


def declarations() -> dict[str, set[str]]:
    """Room -> distributions that pyproject.toml declares for it; the room named "" is everybody."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {extra: distributions(lines) for extra, lines in project["optional-dependencies"].items()}
    return {"": distributions(project["dependencies"])} | {room: extras[extra] for room, extra in EXTRAS.items()}


def distributions(lines: list[str]) -> set[str]:
    return {normalised(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in lines}


def normalised(name: str) -> str:
    """As PEP 503 says."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:4096]


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


PACKAGED = packages_distributions()
DECLARED = declarations()


# The doors


def refuse(offences: list[str]) -> None:
    """Pass when there are none; else name them all, a line each."""
    assert not offences, "\n".join(["", *offences])


def test_rooms_import_only_what_their_doors_allow() -> None:
    refuse([offence for module in PRODUCT for offence in wrong_doors(module)])


def test_foreign_packages_are_imported_only_where_they_belong() -> None:
    refuse([offence for module in PRODUCT for offence in wrong_owners(module)])


def test_every_room_has_a_row_and_every_row_a_room() -> None:
    rooms, rows = {room_of(module.name) for module in PRODUCT}, set(DOORS) | set(COMPOSERS)
    refuse(sorted(rooms ^ rows))


def test_the_tables_themselves_keep_engines_from_stream() -> None:
    tensor_side = {room: doors for room, doors in DOORS.items() if is_in(room, ("engines", "build_engines"))}
    refuse([room for room, doors in tensor_side.items() if any(is_in(door, ("stream",)) for door in doors)])


def test_no_rooms_import_each_other_in_a_circle() -> None:
    refuse(circle(rooms_entered(PRODUCT)))


def test_no_modules_import_each_other_in_a_circle() -> None:
    refuse(circle({module.name: module.ours - {module.name} for module in MODULES}))


@pytest.mark.parametrize("start", ["stream.cli", "build_engines"])
def test_the_live_path_runs_without_torch(start: str) -> None:
    way = reached(start, PRODUCT)
    assert "engines.catalog" in way
    refuse([module.path for module in PRODUCT if module.name in way and "torch" in module.imports])


def test_what_needs_torch_is_imported_when_it_is_asked_for() -> None:
    commands = [module for module in PRODUCT if is_in(module.name, ("stream.cli", "stream.commands"))]
    at_once = {name for module in commands for node in module.tree.body for name in module._imported(node)}
    refuse(sorted(at_once & WORKSHOP))
    assert EXPORTS.union(*(module.ours for module in commands)) >= WORKSHOP


@pytest.mark.parametrize("room", QUIET)
def test_an_inner_room_is_quiet(room: str) -> None:
    modules = [module for module in PRODUCT if is_in(module.name, (room,))]
    assert modules
    refuse([noise for module in modules for noise in noises(module)])


def test_what_is_imported_is_declared() -> None:
    """A package that another one happens to bring is gone when that one no longer needs it."""
    refuse([offence for module in PRODUCT for offence in undeclared(module, DECLARED)])


# The house


def test_modules_say_what_they_are() -> None:
    refuse([module.path for module in MODULES if not ast.get_docstring(module.tree)])


def test_files_are_named_for_what_they_hold() -> None:
    refuse([module.path for module in MODULES if SHAPELESS & set(module.name.split("."))])


def test_only_commands_print_or_exit() -> None:
    refuse([offence for module in PRODUCT if not may_speak(module) for offence in spoken(module)])


def test_asserts_are_for_tests() -> None:
    found = [(module, node) for module in MODULES for node in ast.walk(module.tree)]
    refuse([f"{module.path}:{node.lineno}" for module, node in found if isinstance(node, ast.Assert)])


def test_whoever_catches_everything_says_why() -> None:
    refuse([offence for module in MODULES for offence in broad_excepts(module)])


def test_a_function_is_one_thought() -> None:
    refuse([offence for module in MODULES for offence in long_functions(module)])


def test_tests_use_fakes_and_no_mocks() -> None:
    tests = parsed({str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "tests").rglob("*.py")})
    mocks = {"unittest.mock", "mock", "pytest_mock"}
    refuse([module.path for module in tests if any(is_in(name, mocks) for name in module.imports)])


def test_no_tracked_file_names_a_machines_folders() -> None:
    texts = {path: path.read_bytes().decode(errors="ignore") for path in tracked_files() if is_text(path)}
    refuse([f"{path}: {found.group()}" for path, text in texts.items() if (found := MACHINE_PATHS.search(text))])


def test_no_tracked_file_is_too_large_to_clone_gladly() -> None:
    sizes = {path: path.stat().st_size for path in tracked_files()}
    refuse([f"{path}: {size / 2**20:.1f} MiB" for path, size in sizes.items() if size > LARGEST_FILE])


# The rules themselves: each must find its offender


def test_a_wrong_door_is_found_even_inside_a_function() -> None:
    (module, *_) = parsed(
        {
            "stream/overlay/overlay.py": "def draw():\n    from stream.gst import session\n",
            "stream/gst/session.py": "",
            "stream/gst/__init__.py": "",
        }
    )
    assert wrong_doors(module) == ["stream/overlay/overlay.py imports stream.gst"]


def test_engines_that_import_stream_are_found() -> None:
    (module, *_) = parsed({"engines/spec.py": "import stream.types\n", "stream/types.py": ""})
    assert wrong_doors(module) == ["engines/spec.py imports stream.types"]


def test_a_composer_may_not_import_a_later_one() -> None:
    files = {"stream/parts.py": "from stream.app import watch\n", "stream/app.py": "import stream.parts\n"}
    parts, app = parsed(files)
    assert wrong_doors(parts) == ["stream/parts.py imports stream.app"]
    assert wrong_doors(app) == []


@pytest.mark.parametrize("text", ["import gi\n", "from gi.repository import Gst\n", "import gi.repository\n"])
def test_a_package_outside_its_room_is_found(text: str) -> None:
    (module,) = parsed({"stream/runner.py": text})
    assert wrong_owners(module) == ["stream/runner.py imports gi"]


@pytest.mark.parametrize("text", ["import time\n", "from time import sleep\n", "def f():\n    open('x')\n"])
def test_noise_is_heard(text: str) -> None:
    (module,) = parsed({"stream/scoring/window.py": text})
    assert len(noises(module)) == 1


def test_a_package_that_nobody_declared_is_found() -> None:
    (module,) = parsed({"stream/demo/swap.py": "import numpy, os, gi, nobodys, skimage\n"})
    declared = {"": {"numpy"}, "stream.demo": {"scikit-image"}, "engines.training": {"nobodys"}}
    assert undeclared(module, declared) == ["stream/demo/swap.py imports nobodys"]


def test_whoever_speaks_out_of_turn_is_found() -> None:
    silent, command = parsed(
        {
            "stream/pipeline.py": "print('x')\n",
            "engines/tool.py": 'import sys\nif __name__ == "__main__":\n    sys.exit(0)\n',
        }
    )
    assert (may_speak(silent), spoken(silent)) == (False, ["stream/pipeline.py calls print"])
    assert may_speak(command)


def test_a_circle_is_found_and_told_as_a_way() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_what_is_reached_counts_packages_on_the_way() -> None:
    files = {"a/__init__.py": "import torch\n", "a/b.py": "", "c.py": "from a.b import x\n"}
    assert reached("c", parsed(files)) == {"c", "a.b", "a"}


@pytest.mark.parametrize(
    ("handler", "count"),
    [
        ("except Exception:\n    pass\n", 1),
        ("except:\n    pass\n", 1),
        ("except Exception:  # top of the thread\n    pass\n", 0),
        ("except BaseException:\n    stop()\n    raise\n", 0),
        ("except ValueError:\n    pass\n", 0),
    ],
)
def test_a_silent_catch_all_is_found(handler: str, count: int) -> None:
    (module,) = parsed({"a.py": f"try:\n    go()\n{handler}"})
    assert len(list(broad_excepts(module))) == count


def test_a_long_function_is_found() -> None:
    (module,) = parsed({"a.py": "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION})
    assert long_functions(module) == [f"a.py:1 f has {LONGEST_FUNCTION + 1} lines"]


def test_a_machines_folder_is_found() -> None:
    assert MACHINE_PATHS.search("see /" + "home/ann/clip.mp4")
    assert not MACHINE_PATHS.search("https://example.org/homes/ann")
