"""Whether TensorRT and pycuda are installed, found without importing them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from typing import Any

from engines.tensorrt.api import WAYS_OUT, Kind

DISTRIBUTIONS = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt_rtx"}


def installed(kind: Kind, find: Callable[[str], Any] = find_spec) -> str | None:
    """None when its module is there, else one line that says where it comes from."""
    return None if find(kind) is not None else f"no {kind.replace('_', '-')}: {WAYS_OUT[kind]}"


def pycuda_missing(find: Callable[[str], Any] = find_spec) -> str | None:
    if find("pycuda") is not None:
        return None
    return "no pycuda: pip install pycuda (it compiles against CUDA's headers: see docs/deploying.md)"


def version(kind: Kind) -> str:
    """In full, without importing; "" where only the module knows."""
    try:
        return installed_version(DISTRIBUTIONS[kind])
    except PackageNotFoundError:
        return ""
