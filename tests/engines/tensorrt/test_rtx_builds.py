"""Real builds by TensorRT for RTX, ahead of time for GPUs that are not here: every network of the catalog.

LARGE_EXPORTS=1 adds the predecessors' CNNs (51 and 206 million parameters) and a recurrent head, in place of a mean.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")
if find_spec("tensorrt_rtx") is None:
    pytest.skip("tensorrt-rtx is not installed: pip install tensorrt-rtx", allow_module_level=True)

import numpy as np  # noqa: E402

from engines.catalog import CATALOG, NETWORKS  # noqa: E402
from engines.checkpoints.own import fresh_model  # noqa: E402
from engines.compile.request import BuildRequest  # noqa: E402
from engines.errors import InferenceError  # noqa: E402
from engines.export.graph import backbone_graph, head_graph  # noqa: E402
from engines.export.precision import with_precision  # noqa: E402
from engines.export.sanitise import sanitised, with_picture_size  # noqa: E402
from engines.store import Precision  # noqa: E402
from engines.tensorrt.builder import build_with  # noqa: E402
from stream.engine_builds import AUTO_PRECISIONS  # noqa: E402
from stream.faces.open import detector_graph  # noqa: E402

ROWS = {row.network: row.name for row in reversed(CATALOG.values()) if row.network is not None}
LARGE = {"seed-cnn", "seed-cnn-large"}
WANTS_LARGE = os.environ.get("LARGE_EXPORTS") == "1"


def built(graph: bytes, folder: Path, precision: Precision = "fp32", **options: str) -> bytes:
    request = BuildRequest(precision, (1, 4, 8), 1 << 30, {"sm": "86", **options}, lambda _phase, _share: None)
    files = build_with("tensorrt_rtx", graph, request, folder, cache_root=folder)
    assert files.toolchain["tensorrt_rtx"]
    return (folder / files.engine_file).read_bytes()


def graph_of(network: str) -> tuple[bytes, int]:
    size = CATALOG[ROWS[network]].pixels.size
    backbone = fresh_model(ROWS[network]).backbone
    assert backbone is not None
    return sanitised(backbone_graph(backbone, size, half=False)), size


@pytest.mark.parametrize("network", NETWORKS)
def test_every_backbone_builds_in_what_auto_takes(network: str, tmp_path: Path) -> None:
    if network in LARGE and not WANTS_LARGE:
        pytest.skip("takes long: set LARGE_EXPORTS=1")
    (precision,) = AUTO_PRECISIONS["tensorrt-rtx"]
    assert precision == "fp16"
    assert len(built(with_precision(graph_of(network)[0], precision), tmp_path, precision)) > 10_000


@pytest.mark.parametrize("network", ["lite0", "meso4"])
def test_a_backbone_builds_in_float32(network: str, tmp_path: Path) -> None:
    assert len(built(graph_of(network)[0], tmp_path)) > 10_000


def test_int8_comes_from_the_graph(tmp_path: Path) -> None:
    graph, size = graph_of("meso4")
    crops = [{"crops": np.random.default_rng(n).random((2, 3, size, size)).astype(np.float32)} for n in range(2)]
    assert len(built(with_precision(graph, "int8", crops), tmp_path, "int8")) > 10_000


def test_a_profile_for_each_batch_builds_for_several_gpus(tmp_path: Path) -> None:
    one = built(graph_of("meso4")[0], tmp_path / "one")
    several = built(graph_of("meso4")[0], tmp_path / "several", sm="80,86", profiles="each")
    assert len(several) > len(one)


def test_a_head_builds(tmp_path: Path) -> None:
    head = fresh_model("gru-head" if WANTS_LARGE else "meso4").head
    assert head is not None

    assert len(built(sanitised(head_graph(head, 20, half=False)), tmp_path)) > 1_000


def test_what_is_no_graph_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="cannot parse the graph") as caught:
        built(b"nonsense", tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "engine.plan").exists()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_face_detector_builds_in_one_picture_size(precision: Precision, tmp_path: Path) -> None:
    graph = detector_graph("centerface").source
    assert isinstance(graph, bytes)
    request = BuildRequest(precision, (1,), 1 << 30, {"sm": "86"}, lambda _phase, _share: None)
    sized = with_precision(sanitised(with_picture_size(graph, (320, 320))), precision)
    files = build_with("tensorrt_rtx", sized, request, tmp_path, cache_root=tmp_path)
    assert (tmp_path / files.engine_file).stat().st_size > 10_000
