"""What every test starts from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stream.gst  # noqa: F401  # before any test imports gi by itself: see there
from engines.cuda import host
from engines.cuda.host import HostKernels
from engines.model_store import VARIABLE

HERE = Path(__file__).parent
LONGEST = (
    "test_build_every_row.py",
    "engines/training/test_every_row.py",
    "stream/test_watch_process.py",
    "stream/web/test_page.py",
    "stream/alerts/test_watching.py",
    "engines/training/test_run.py",
    "stream/demo/test_run.py",
    "bench/test_soak.py",
)
"""Files that take longest, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: begun last, one would keep one process busy while the others have ended."""
    rank = {HERE / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(LONGEST)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Weights that a test makes up are the same whichever tests ran before it in its process."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def no_models_of_the_users_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests see what is shipped, not what whoever runs them has imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("models")))
        yield


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    """The GPU's kernels, compiled once for this machine's processor."""
    if (reason := host.unavailable()) is not None:
        pytest.skip(reason)
    return host.build(tmp_path_factory.mktemp("kernels"))
