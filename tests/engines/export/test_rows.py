"""Every row as exported: ONNX Runtime gives torch's numbers, and the spec says what the networks are.

Networks that take any input are exported small. LARGE_EXPORTS=1 adds the predecessors' CNNs at full size (51 and 206
million parameters, the second one in minutes and 6 GB of memory), of which small stand-ins of the same code are
exported otherwise, and the rows whose backbone another row exports anyway.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from engines.catalog import BACKBONE_FILE, CATALOG, CHECKPOINT_FILE, HEAD_FILE, open_model  # noqa: E402
from engines.checkpoints.own import fresh_model, load_checkpoint  # noqa: E402
from engines.errors import SpecError  # noqa: E402
from engines.export.graph import backbone_graph, head_graph  # noqa: E402
from engines.export.package import neutral_spec, write_package  # noqa: E402
from engines.models.backbone import Backbone  # noqa: E402
from engines.models.cnn import SeedCnn, SeedCnnLarge  # noqa: E402
from engines.models.gru_head import mean_logit_head  # noqa: E402
from engines.models.xception import Block, Xception  # noqa: E402
from engines.preprocess import normalise  # noqa: E402
from engines.runtime.onnxruntime_cpu import OnnxRuntimeBackend  # noqa: E402
from engines.spec import Calibration  # noqa: E402

SMALL = 96
LARGE = {"seed-cnn", "seed-cnn-large", "inception-v3", "xception-gru"}
WANTS_LARGE = os.environ.get("LARGE_EXPORTS") == "1"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(11)


def settled(backbone: Backbone, size: int) -> Backbone:
    """With running statistics of some noise, so that features are neither dead nor huge."""
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        backbone.train().forward_features(torch.randn(4, 3, size, size))
    return backbone.eval()


def equal_on_noise(backbone: Backbone, graph: OnnxRuntimeBackend, size: int) -> None:
    """Features and the frame logit of two crops, to 1e-4 of the largest feature."""
    crops = np.random.default_rng(1).standard_normal((2, 3, size, size)).astype(np.float32)
    found = graph.infer({"crops": crops})
    with torch.inference_mode():
        features = backbone.forward_features(torch.from_numpy(crops))
    tolerance = 1e-4 * max(1.0, float(features.abs().max()))
    np.testing.assert_allclose(found["features"], features.numpy(), atol=tolerance, rtol=0)
    assert float(features.abs().max()) > 1e-3
    assert set(found) == ({"features"} if backbone.frame_head is None else {"features", "frame_logit"})
    if backbone.frame_head is not None:
        with torch.inference_mode():
            expected = backbone.frame_head(features).numpy()
        np.testing.assert_allclose(found["frame_logit"], expected, atol=tolerance, rtol=0)


def equal_under_masks(head: torch.nn.Module, graph: OnnxRuntimeBackend, slots: int, width: int) -> None:
    rng = np.random.default_rng(2)
    features = rng.standard_normal((4, slots, width)).astype(np.float32)
    mask = np.ones((4, slots), np.float32)
    mask[1, 8:], mask[2, ::2], mask[3] = 0, 0, 0
    found = graph.infer({"features": features, "mask": mask})["logit"]
    with torch.inference_mode():
        expected = head(torch.from_numpy(features), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", CATALOG)
def test_a_rows_package_gives_torchs_numbers(name: str, tmp_path: Path) -> None:
    if name in LARGE and not WANTS_LARGE:
        pytest.skip("takes long: set LARGE_EXPORTS=1")
    model, row = fresh_model(name), CATALOG[name]
    takes_any = model.backbone is not None and model.backbone.fixed_size is None
    spec = neutral_spec(name, SMALL if takes_any else None)
    if model.backbone is not None:
        settled(model.backbone, spec.pixels.size)
    spec = write_package(tmp_path / name, spec, model)
    stored = load_checkpoint(tmp_path / name / CHECKPOINT_FILE, name)
    assert set(spec.files) == {path.name for path in (tmp_path / name).iterdir()} - {"spec.json"}
    assert (spec.aggregation, spec.positive_class) == (row.head, row.positive_class)
    if stored.backbone is not None:
        equal_on_noise(stored.backbone, OnnxRuntimeBackend(tmp_path / name / BACKBONE_FILE), spec.pixels.size)
    if stored.head is not None:
        graph = OnnxRuntimeBackend(tmp_path / name / HEAD_FILE)
        equal_under_masks(stored.head, graph, spec.window.slots, row.feature_dim)


@pytest.mark.parametrize("network", [SeedCnn, SeedCnnLarge])
def test_a_small_stand_in_of_a_large_network_gives_torchs_numbers(network: type[SeedCnn]) -> None:
    backbone = network(size=32).eval()
    equal_on_noise(backbone, OnnxRuntimeBackend(backbone_graph(backbone, 32, half=False)), 32)


class OneBlock(Backbone):
    """A shrinking block of Xception on its own."""

    feature_dim, frame_head = 8, None

    def __init__(self, style: str) -> None:
        super().__init__()
        self.block = Block((3, 8, 8), style)

    def forward_features(self, crops: torch.Tensor) -> torch.Tensor:
        return self.block(crops).flatten(1)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("style", Xception.STYLES)
def test_xceptions_pools_export_on_even_and_odd_maps(style: str, size: int) -> None:
    backbone = OneBlock(style).eval()
    equal_on_noise(backbone, OnnxRuntimeBackend(backbone_graph(backbone, size, half=False)), size)


def test_weights_can_be_kept_whole(tmp_path: Path) -> None:
    model = fresh_model("meso4")
    sizes = {}
    for half in (True, False):
        write_package(tmp_path / str(half), neutral_spec("meso4"), model, half=half)
        sizes[half] = (tmp_path / str(half) / BACKBONE_FILE).stat().st_size
    assert sizes[False] > 1.7 * sizes[True]
    crops = np.random.default_rng(0).random((2, 3, 256, 256)).astype(np.float32)
    found = open_model(str(tmp_path / "False")).backbone.infer({"crops": crops})["frame_logit"]
    assert model.backbone is not None
    with torch.inference_mode():
        np.testing.assert_allclose(found, model.backbone.eval()(torch.from_numpy(crops)), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (neutral_spec("meso4", 224), "meso4 takes 256 px, not 224: mend the spec"),
        (neutral_spec("xception"), "features, not 2048: mend the spec"),
    ],
)
def test_a_spec_of_another_model_is_refused(tmp_path: Path, spec: object, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        write_package(tmp_path / "x", spec, fresh_model("meso4"))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_frame_calibration_follows_the_frame_head(tmp_path: Path) -> None:
    model = fresh_model("meso4")
    assert model.backbone is not None
    kept = neutral_spec("meso4").model_copy(update={"frame_calibration": Calibration(temperature=2.0)})
    assert write_package(tmp_path / "a", kept, model).frame_calibration == Calibration(temperature=2.0)
    without = kept.model_copy(update={"frame_calibration": None})
    assert write_package(tmp_path / "b", without, model).frame_calibration == Calibration(temperature=1.0)
    assert neutral_spec("inception-gru").frame_calibration is None


@pytest.mark.parametrize("name", CATALOG)
def test_a_neutral_spec_is_the_rows(name: str) -> None:
    row, spec = CATALOG[name], neutral_spec(name)
    assert (spec.name, spec.pixels, spec.window.feature_dim) == (name, row.pixels, row.feature_dim)
    assert (spec.frame_calibration is not None) == row.frame_head
    assert neutral_spec("mine", of=name) == spec.model_copy(update={"name": "mine"})


def test_networks_see_the_pixels_that_their_owners_trained_with() -> None:
    crop = np.zeros((1, 1, 3), np.uint8)
    crop[...] = 0, 51, 255
    seen = {name: normalise([crop], row.pixels).ravel().tolist() for name, row in CATALOG.items()}
    assert seen["seed-cnn"] == seen["seed-cnn-large"] == [255.0, 51.0, 0.0]
    assert seen["xception"] == seen["inception-gru"] == pytest.approx([-1.0, -0.6, 1.0])
    assert seen["meso4"] == pytest.approx([0.0, 0.2, 1.0])


def test_a_mean_head_exports_by_itself() -> None:
    head = mean_logit_head(torch.nn.Linear(12, 1)).eval()
    equal_under_masks(head, OnnxRuntimeBackend(head_graph(head, 20, half=False)), 20, 12)
