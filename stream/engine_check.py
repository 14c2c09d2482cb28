"""What every engine of the store is worth today: current and proven again, stale, or broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engines.engine_choice import key_here, misfits
from engines.errors import EngineError, RuntimeMissingError
from engines.runtime.table import RUNTIMES
from engines.store import PRECISIONS, Manifest, damaged, differences, engine_folder, manifests_under, read_manifest
from stream.engine_sources import Sources, replaced, verify_source
from stream.engine_table import report_line

ENGINE_NAME = re.compile(rf"[\w.-]+-({'|'.join(RUNTIMES)})-({'|'.join(PRECISIONS)})-[0-9a-f]{{16}}")
State = Literal["current", "stale", "broken"]


@dataclass(frozen=True)
class Finding:
    """One engine's folder."""

    folder: Path
    state: State
    """``stale``: nothing runs it here, whatever it holds. ``broken``: it would be run, and must not be."""
    why: str
    """In one line: what it differs in, what is wrong, or how near it was to its source."""
    manifest: Manifest | None = None

    @property
    def line(self) -> str:
        name = str(self.folder) if self.manifest is None else report_line(self.manifest.key)
        return f"{self.state:8} {name}: {self.why}"


def findings(folders: list[Path], sources: Sources, crops: Path | None) -> Iterator[Finding]:
    """One for each engine's folder, as it is found; ``crops``: of faces, asked besides."""
    for folder in folders:
        manifest = read_manifest(folder)
        if manifest is None or folder.name != engine_folder(folder.parent, manifest.key).name:
            yield Finding(
                folder, "stale", "it has no manifest that can be read: nothing picks it up, --prune removes it"
            )
        elif reasons := stale_reasons(manifest, sources):
            yield Finding(folder, "stale", "; ".join(reasons), manifest)
        else:
            yield _judged(folder, manifest, sources, crops)


def engine_folders(root: Path) -> list[Path]:
    """Whatever is named as an engine."""
    return [path for path in sorted(root.glob("*/*")) if path.is_dir() and ENGINE_NAME.fullmatch(path.name)]


def current(root: Path) -> list[tuple[Path, Manifest]]:
    """Whole engines that fit this machine, by name; whether their weights are today's is not asked."""
    return [(folder, found) for folder, found in manifests_under(root) if not misfits(folder, found)]


def stale_reasons(manifest: Manifest, sources: Sources) -> list[str]:
    """Why nothing runs it here, a line each; [] for one that is current."""
    key = manifest.key
    try:
        reasons = differences(key, key_here(key))
    except RuntimeMissingError as error:
        return [str(error)]
    if (key.model, key.graph) not in sources:
        return [*reasons, f"no {key.model} is here to compare it with: give its folder with --model"]
    other = replaced(key, sources)
    return [*reasons, other] if other else reasons


def _judged(folder: Path, manifest: Manifest, sources: Sources, crops: Path | None) -> Finding:
    from stream.engine_workshop import prove_again  # imports ONNX, which a store of nothing current does without

    if changed := damaged(folder, manifest):
        return Finding(folder, "broken", f"{changed[0]} is missing or was changed: build it again", manifest)
    wish = replace(sources[manifest.key.model, manifest.key.graph], key=manifest.key)
    try:
        verify_source(wish)
        parity = prove_again(wish, folder, crops)
    except EngineError as error:
        return Finding(folder, "broken", f"{error}; build it again (--force)", manifest)
    asked = f"{parity.inputs} inputs in batches of {', '.join(map(str, parity.batches))}"
    nearness = f"max |Δ| {parity.max_logit_delta:.1e} of {parity.limit:g} to {parity.reference}"
    return Finding(folder, "current", f"{nearness}, {asked}", manifest)
