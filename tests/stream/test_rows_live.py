"""Models of the catalog through the application: imported packages score files, and 1 is always fake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gi", reason="GStreamer's Python bindings are missing: apt install python3-gst-1.0")
torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from engines.catalog import CATALOG, open_model  # noqa: E402
from engines.checkpoints.own import TrainedModel, fresh_model  # noqa: E402
from engines.export.package import neutral_spec, write_package  # noqa: E402
from engines.model_store import VARIABLE, own_folder  # noqa: E402
from engines.models.backbone import Backbone  # noqa: E402
from engines.models.gru_head import GruHead, mean_logit_head  # noqa: E402
from stream.cli import main  # noqa: E402
from stream.parts import Parts  # noqa: E402
from stream.score import score_file  # noqa: E402
from stream.scoring.scorer import ModelScorer  # noqa: E402
from stream.types import FaceBox, Frame, Verdict  # noqa: E402
from tests.fakes import FixedDetector  # noqa: E402
from tests.stream.test_app import clip  # noqa: E402, F401 - a fixture
from tests.stream.test_score import ANY_PICTURE  # noqa: E402

SURE = 3.0


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("store")))
        yield


def imported(name: str, logit: float, size: int | None = None) -> None:
    """A package in the user's store whose logit is nearly ``logit`` whatever it sees, on its real way there."""
    model = fresh_model(name)
    if isinstance(model.head, GruHead):
        settle(model.head.dense2, logit)
        write_package(own_folder(name), neutral_spec(name, size), model)
        return
    assert isinstance(model.backbone, Backbone)
    assert model.backbone.frame_head is not None
    settle(model.backbone.frame_head, logit)
    whole = TrainedModel(model.backbone, mean_logit_head(model.backbone.frame_head))
    write_package(own_folder(name), neutral_spec(name, size), whole)


def settle(last: torch.nn.Linear, logit: float) -> None:
    with torch.no_grad():
        last.weight.mul_(1e-3)
        last.bias.fill_(logit)


def scored(name: str, path: Path) -> tuple[float | None, Verdict]:
    def face(frame: Frame) -> tuple[FaceBox, ...]:
        width, height = frame.planes.width, frame.planes.height
        return (FaceBox((width * 0.3, height * 0.2, width * 0.6, height * 0.8), 0.99),)

    model = open_model(name, threads=1)
    assert model.spec.name == name
    found = score_file(
        path, ANY_PICTURE, Parts(model, FixedDetector(face), ModelScorer(model.backbone, model.head, model.spec))
    )
    return found.fake_probability, found.verdict


@pytest.mark.parametrize(("logit", "fake"), [(SURE, 0.047), (-SURE, 0.953)])
def test_a_model_whose_logit_says_real_is_turned_round(clip: Path, logit: float, fake: float) -> None:  # noqa: F811
    imported("meso4", logit)
    probability, verdict = scored("meso4", clip)
    assert probability == pytest.approx(fake, abs=0.01)
    assert verdict is (Verdict.FAKE if fake > 0.5 else Verdict.REAL)


def test_a_predecessors_video_system_runs(clip: Path) -> None:  # noqa: F811
    imported("xception-gru", SURE, size=96)
    probability, verdict = scored("xception-gru", clip)
    assert probability == pytest.approx(0.953, abs=0.02)
    assert verdict is Verdict.FAKE


@pytest.mark.parametrize("name", [name for name, row in CATALOG.items() if row.use_instead])
def test_a_part_is_refused_in_one_line(clip: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert main(["score", str(clip), "--model", name]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"unmask: {name} ")
    assert "use inception-gru" in error


def test_a_row_without_weights_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "test", "--model", "seed-cnn"]) == 3
    assert capsys.readouterr().err == (
        "unmask: no weights for seed-cnn here: import yours (unmask import FILE --as seed-cnn) "
        "or train it (unmask train configs/training/seed-cnn.yaml --data DIR --out DIR)\n"
    )
