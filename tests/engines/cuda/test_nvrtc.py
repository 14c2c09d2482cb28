"""The kernels through NVIDIA's own compiler, which needs no GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.cuda import host, nvrtc
from engines.errors import RuntimeMissingError

ELF = b"\x7fELF"
GPUS = {75: "Turing", 87: "Orin", 90: "Hopper", 120: "Blackwell"}


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Compiler:
    reason = nvrtc.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return nvrtc.compiler_for()


@pytest.mark.parametrize("sm", GPUS, ids=GPUS.values())
def test_both_kernels_compile_for_every_generation(compiler: nvrtc.Compiler, sm: int) -> None:
    code = compiler.machine_code(sm)
    assert code.startswith(ELF)
    assert all(name in code for name in (b".text.crop_faces", b".text.letterbox"))


def test_a_gpu_that_the_compiler_does_not_know_is_told_in_one_line(compiler: nvrtc.Compiler) -> None:
    with pytest.raises(
        RuntimeMissingError, match=r"NVRTC cannot compile for sm_35: .*; install nvidia-cuda-nvrtc"
    ) as told:
        compiler.machine_code(35)
    assert "\n" not in str(told.value)


def test_a_mistake_in_the_source_is_told_with_its_line(
    compiler: nvrtc.Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(host.KERNELS, tmp_path, dirs_exist_ok=True)
    (tmp_path / host.SOURCE).write_text('#include "host_build.h"\nKERNEL crop_faces() { nonsense; }\n')
    monkeypatch.setattr(nvrtc, "KERNELS", tmp_path)
    with pytest.raises(RuntimeMissingError, match=r"preprocess\.cu\(2\).*nonsense"):
        compiler.machine_code(90)


def test_a_driver_that_is_older_than_every_compiler_is_told_what_it_needs() -> None:
    with pytest.raises(RuntimeMissingError, match=r"no NVRTC for a driver of CUDA 9.*install"):
        nvrtc.compiler_for(driver_major=9)


def test_the_newest_compiler_that_the_driver_takes_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [nvrtc.Compiler(None, version) for version in ((12, 4), (13, 5), (12, 9))]  # type: ignore[arg-type]
    monkeypatch.setattr(nvrtc, "compilers", lambda: iter(found))
    assert nvrtc.compiler_for().version == (13, 5)
    assert nvrtc.compiler_for(driver_major=12).version == (12, 9)


def test_a_machine_without_the_compiler_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "compilers", lambda: iter(()))
    assert "install nvidia-cuda-nvrtc" in str(nvrtc.unavailable())
