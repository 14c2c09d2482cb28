"""From an engine's file to its bytes: the hash first, then the key, and only then anybody reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines.errors import CheckpointError
from engines.store import Manifest, damaged, differences, read_manifest
from engines.tensorrt.travel import key_on

AGAIN = "build it again: build_engines.py --force"
ONNX_START = b"\x08"
"""An ONNX graph's first field is its IR version."""


def checked_plan(engine: Path, runtime: str, version: str, machine: str) -> tuple[bytes, Manifest]:
    """The bytes that the manifest beside ``engine`` names, if they are whole and made for this machine.

    Raises CheckpointError with one line that says what differs.
    """
    manifest = read_manifest(engine.parent)
    if manifest is None or manifest.engine_file != engine.name:
        raise CheckpointError(f"{engine} has no manifest that names it: {AGAIN}")
    if broken := damaged(engine.parent, manifest):
        raise CheckpointError(f"{broken[0]} of {engine.parent} is missing or was changed (SHA-256 differs): {AGAIN}")
    here = replace(key_on(manifest.key, version, machine), runtime=runtime)
    if wrong := differences(manifest.key, here):
        raise CheckpointError(f"{engine} does not fit this machine: {'; '.join(wrong)}; {AGAIN}")
    return engine.read_bytes(), manifest


def refuse_graph(content: bytes) -> None:
    """Raise CheckpointError for what is an ONNX graph and no engine."""
    if not content or content.startswith(ONNX_START):
        raise CheckpointError("TensorRT runs engines and this is a graph: run build_engines.py --runtime tensorrt")
