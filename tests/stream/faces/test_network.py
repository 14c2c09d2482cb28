from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.cuda.host import HostKernels
from engines.cuda.preprocessor import GpuPreprocessor
from engines.errors import InferenceError
from engines.postprocess import Detections
from engines.preprocess import BoxGeometry, Levels, normalise
from engines.runtime.ports import Array, TensorSpec
from engines.runtime.scripted import ScriptedBackend
from engines.spec import PixelSpec
from stream.faces.network import FaceNetwork, NetworkDetector, fit_inside, fit_longest
from stream.faces.open import DETECTORS, network_named
from tests.engines.cuda.fake_gpu import FakeGpu
from tests.stream.faces.pictures import frame_from_rgb

SIDES = st.integers(1, 5000)


def scripted(
    box: tuple[float, ...], *, size: tuple[int | None, int | None] = (None, None), seen: list[Array] | None = None
) -> NetworkDetector:
    """A detector whose network always sees a face at ``box``, in input pixels; ``size`` is (height, width).

    What it is shown is added to ``seen``.
    """

    def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
        if seen is not None:
            seen.append(arrays["in"])
        return {"box": np.array([box], np.float32), "mean": arrays["in"].mean((2, 3))}

    def decode(outputs: Mapping[str, Array], size_wh: tuple[int, int], confidence: float) -> Detections:
        del size_wh
        points = np.tile(outputs["box"][:, None, :2], (1, 5, 1))
        return Detections(outputs["box"], np.array([confidence], np.float32), points)

    network = FaceNetwork(
        "scripted", BoxGeometry(1.5, 0.1), lambda rgb: rgb.transpose(2, 0, 1)[None].astype(np.float32), Levels(),
        decode,
        find_weights=lambda: pytest.fail("not asked for"), load_graph=lambda path: path, accepts=bool,
    )  # fmt: skip
    backend = ScriptedBackend(
        (TensorSpec("in", (1, 3, *size)),), (TensorSpec("box", (None, 4)), TensorSpec("mean", (1, 3))), run
    )
    return NetworkDetector(network, backend, confidence=0.5, width=320)


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(32, 1920))
def test_a_reduced_frame_keeps_its_aspect_in_the_smallest_canvas(width: int, height: int, longest: int) -> None:
    fit = fit_longest((width, height), longest)
    assert max(fit.inner_wh) == longest
    assert all(side % 32 == 0 for side in fit.canvas_wh)
    assert all(0 <= outer - inner < 32 for outer, inner in zip(fit.canvas_wh, fit.inner_wh, strict=True))
    scale = longest / max(width, height)
    assert abs(fit.inner_wh[0] - width * scale) <= 1
    assert abs(fit.inner_wh[1] - height * scale) <= 1


@settings(deadline=None)
@given(SIDES, SIDES)
def test_a_frame_fits_into_a_fixed_canvas_and_touches_two_sides(width: int, height: int) -> None:
    fit = fit_inside((width, height), (640, 480))
    assert fit.inner_wh[0] <= 640
    assert fit.inner_wh[1] <= 480
    assert fit.inner_wh[0] == 640 or fit.inner_wh[1] == 480


@settings(deadline=None)
@given(st.integers(40, 400), st.integers(40, 400))
def test_a_box_comes_back_in_frame_pixels(width: int, height: int) -> None:
    detector = scripted((8.0, 4.0, 24.0, 16.0))
    (face,) = detector.detect(frame_from_rgb(np.zeros((height, width, 3), np.uint8)))
    inner = fit_longest((width, height), 320).inner_wh
    x, y = width / inner[0], height / inner[1]
    assert face.xyxy == pytest.approx((8 * x, 4 * y, 24 * x, 16 * y), rel=1e-5)
    assert face.landmarks[4] == pytest.approx((8 * x, 4 * y), rel=1e-5)


def test_a_network_of_fixed_size_gets_that_size() -> None:
    detector = scripted((8.0, 8.0, 40.0, 40.0), size=(96, 64))
    (face,) = detector.detect(frame_from_rgb(np.zeros((48, 128, 3), np.uint8)))
    assert face.xyxy == (16.0, 16.0, 80.0, 80.0)  # 128 px were halved to 64
    assert face.confidence == 0.5


def test_a_detector_carries_its_networks_name_and_geometry() -> None:
    detector = scripted((0.0, 0.0, 9.0, 9.0))
    assert (detector.name, detector.geometry) == ("scripted", BoxGeometry(1.5, 0.1))


@pytest.mark.parametrize("box", [(0.0, 0.0, 5000.0, 5000.0), (4.0, 4.0, 4.5, 30.0), (9.0, 9.0, 2.0, 2.0)])
def test_a_box_that_no_face_can_have_is_dropped(box: tuple[float, ...]) -> None:
    assert scripted(box).detect(frame_from_rgb(np.zeros((90, 160, 3), np.uint8))) == ()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_box_that_is_no_number_stops_the_frame(bad: float) -> None:
    with pytest.raises(InferenceError, match="not numbers"):
        scripted((0.0, 0.0, bad, 10.0)).detect(frame_from_rgb(np.zeros((90, 160, 3), np.uint8)))


def test_a_closed_detector_says_so() -> None:
    detector = scripted((0.0, 0.0, 9.0, 9.0))
    detector.close()
    with pytest.raises(InferenceError, match="closed"):
        detector.detect(frame_from_rgb(np.zeros((90, 160, 3), np.uint8)))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_networks_levels_say_what_its_input_array_does(name: str) -> None:
    network = network_named(name)
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    levels = network.levels
    pixels = PixelSpec(size=64, colour=levels.colour, mean=levels.mean, std=levels.std)
    np.testing.assert_allclose(normalise([rgb], pixels), network.input_array(rgb), atol=1e-6)


@pytest.mark.parametrize("size", [(None, None), (96, 64)], ids=["any size", "fixed size"])
def test_a_frame_reduced_on_the_gpu_looks_the_same_to_the_network(
    kernels: HostKernels, size: tuple[int | None, int | None]
) -> None:
    seen: list[Array] = []
    rgb = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    gpu = FakeGpu(kernels)
    preprocessor = GpuPreprocessor(gpu)
    found = []
    for way in (None, preprocessor):
        detector = scripted((8.0, 8.0, 40.0, 40.0), size=size, seen=seen)
        detector.prepare_on(way)
        found.append(detector.detect(frame_from_rgb(rgb)))
    assert gpu.launches == ["letterbox"]
    assert found[0] == found[1] != ()
    assert seen[0].shape == seen[1].shape
    assert np.abs(seen[0] - seen[1]).max() <= 1.0
