from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.cuda import host
from engines.errors import RuntimeMissingError


def test_a_machine_without_a_compiler_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host.unavailable() == "no C++ compiler: install g++ (apt-get install g++)"
    with pytest.raises(RuntimeMissingError, match="install g"):
        host.build(tmp_path)


def test_source_that_does_not_compile_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (reason := host.unavailable()) is not None:
        pytest.skip(reason)
    shutil.copytree(host.KERNELS, tmp_path, dirs_exist_ok=True)
    (tmp_path / host.SOURCE).write_text("int kernel() { return nonsense; }\n")
    monkeypatch.setattr(host, "KERNELS", tmp_path)
    with pytest.raises(RuntimeMissingError, match=r"do not compile: .*nonsense") as told:
        host.build(tmp_path)
    assert "\n" not in str(told.value)
