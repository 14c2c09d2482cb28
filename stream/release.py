"""Which release of this program runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Such as ``0.1.0``; ``unknown`` in a checkout that was not installed."""
    try:
        return version("unmask")
    except PackageNotFoundError:
        return "unknown"
