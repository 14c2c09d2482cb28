"""What every test starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engines.model_store import VARIABLE


@pytest.fixture(scope="session", autouse=True)
def no_models_of_the_users_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests see what is shipped, not what whoever runs them has imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("models")))
        yield
