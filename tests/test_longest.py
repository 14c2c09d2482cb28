"""The order that the tests run in: a file of it that is renamed would drop out in silence."""

from __future__ import annotations

import pytest

from tests.conftest import HERE, LONGEST


@pytest.mark.parametrize("name", LONGEST)
def test_a_file_that_is_to_run_first_exists(name: str) -> None:
    assert (HERE / name).is_file()


def test_a_file_is_named_once() -> None:
    assert len(set(LONGEST)) == len(LONGEST)
