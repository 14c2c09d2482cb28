"""What every test starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import stream.gst  # noqa: F401  # before any test imports gi by itself: see there
from engines.cuda import host
from engines.cuda.host import HostKernels
from engines.model_store import VARIABLE


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
