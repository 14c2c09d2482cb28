"""Which release runs."""

from __future__ import annotations

import importlib.metadata as metadata

import pytest

from stream import release as module
from stream.release import release


def test_it_is_the_installed_packages() -> None:
    assert release() == metadata.version("unmask")


def test_a_checkout_that_was_not_installed_runs_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    assert release() == "unknown"
