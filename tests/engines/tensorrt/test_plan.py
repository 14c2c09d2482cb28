from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.errors import InferenceError
from engines.tensorrt import timing_cache
from engines.tensorrt.chunks import chunks_of
from engines.tensorrt.plan import BuildJob, checked_options, fits_machine, job_from, profiles_of, sms_of


@pytest.mark.parametrize(
    ("batches", "how", "profiles"),
    [
        ((1,), "one", ((1, 1, 1),)),
        ((8, 1, 32), "one", ((1, 8, 32),)),
        ((1, 8), "one", ((1, 8, 8),)),
        ((1, 8, 32), "each", ((1, 1, 1), (2, 8, 8), (9, 32, 32))),
    ],
)
def test_batches_become_profiles(batches: tuple[int, ...], how: str, profiles: Any) -> None:
    assert profiles_of(batches, how) == profiles


@pytest.mark.parametrize(("batches", "how"), [((), "one"), ((0, 1), "one"), ((1,), "many")])
def test_what_are_no_batches_is_refused(batches: tuple[int, ...], how: str) -> None:
    with pytest.raises(InferenceError):
        profiles_of(batches, how)


@pytest.mark.parametrize("batch", range(1, 60))
@pytest.mark.parametrize("profiles", [((1, 8, 8),), ((1, 1, 1), (2, 8, 8), (9, 20, 20)), ((3, 4, 8),)])
def test_chunks_cover_every_row_once_within_the_profiles(batch: int, profiles: Any) -> None:
    try:
        chunks = chunks_of(batch, profiles)
    except InferenceError:
        assert batch < profiles[0][0]
        return
    assert [row for chunk in chunks for row in range(chunk.start, chunk.start + chunk.rows)] == list(range(batch))
    assert all(profiles[item.profile][0] <= item.rows <= profiles[item.profile][2] for item in chunks)


def test_a_job_travels_as_text() -> None:
    job = BuildJob("tensorrt", "g", "e", "i", "t", ((1, 2, 3),), 5, (75, 80), "none", True, 0)
    assert job_from(job.text) == job


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("tensorrt", {"sm": "86"}, "is for tensorrt-rtx"),
        ("tensorrt_rtx", {"dla": "0"}, "takes only"),
        ("tensorrt", {"hardware_compatibility": "all"}, "one of none"),
        ("tensorrt", {"speed": "1"}, "no option speed"),
    ],
)
def test_a_wrong_option_is_named(kind: Any, options: dict[str, str], reason: str) -> None:
    with pytest.raises(InferenceError, match=reason):
        checked_options(kind, options)


def test_sms_are_of_the_closed_set() -> None:
    assert sms_of({"sm": "86, 80"}) == (80, 86)
    assert sms_of({}) == ()
    for wrong in ("87", "x"):
        with pytest.raises(InferenceError, match=f"sm={wrong}"):
            sms_of({"sm": wrong})


@pytest.mark.parametrize(
    ("built", "here", "fits"),
    [
        ("sm_80+sm_86", "NVIDIA A10 sm_86", True),
        ("sm_80", "NVIDIA A10 sm_86", False),
        ("Orin sm_87 L4T 36.4.3", "Orin sm_87 L4T 36.4.3", True),
        ("Orin sm_87 L4T 36.4.3", "Orin sm_87 L4T 36.4.4", False),
    ],
)
def test_an_engine_fits_the_gpu_it_was_made_for(built: str, here: str, fits: bool) -> None:
    assert fits_machine(built, here) is fits


def test_a_timing_cache_is_whole_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.cache"
    assert timing_cache.read(path) == b""
    timing_cache.write(path, b"measured")
    assert timing_cache.read(path) == b"measured"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert timing_cache.read(path) == b""
    assert [item.name for item in path.parent.iterdir()] == ["t.cache"]
