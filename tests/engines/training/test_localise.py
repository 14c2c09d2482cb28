"""The second answer of a network in training: where a fake was changed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

import torch

from engines.models.efficientnet_lite import FrameClassifier
from engines.training.changes import grid_of
from engines.training.localise import LocalisingClassifier, localisation_loss


@pytest.mark.parametrize("size", [64, 144, 192])
def test_it_answers_whether_as_the_plain_network_does_and_where_on_the_grid(size: int) -> None:
    torch.manual_seed(0)
    plain = FrameClassifier().eval()
    crops = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        whether, where = LocalisingClassifier(plain).eval()(crops)
        torch.testing.assert_close(whether, plain(crops)[:, 0])
    assert where is not None
    assert where.shape == (2, grid_of(size), grid_of(size))


def test_unknown_cells_cost_nothing_and_teach_nothing() -> None:
    logits = torch.zeros(2, 2, 2, requires_grad=True)
    changed = torch.tensor([[[1.0, float("nan")], [0.0, 0.5]], [[float("nan")] * 2] * 2])
    loss = localisation_loss(logits, changed)
    assert loss.item() == pytest.approx(0.6931, abs=1e-3)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient == 0, torch.isnan(changed) | (changed == 0.5))


def test_a_batch_of_which_nothing_is_known_has_no_loss() -> None:
    assert localisation_loss(torch.ones(1, 2, 2), torch.full((1, 2, 2), float("nan"))).item() == 0
