"""The temporal head: Keras' GRU with a mask that holds the state."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from engines.models.gru_head import GRU1_UNITS, WINDOW_SLOTS, GruHead, HoldingGru

FEATURES = 7


def head_of(seed: int = 0) -> GruHead:
    torch.manual_seed(seed)
    head = GruHead(FEATURES).eval()
    head.feature_mean.copy_(torch.randn(FEATURES))
    head.feature_scale.copy_(torch.rand(FEATURES) + 0.5)
    return head


def logits(head: GruHead, features: Tensor, mask: Tensor) -> Tensor:
    with torch.inference_mode():
        answer: Tensor = head(features, mask)
    return answer


def test_the_head_has_the_predecessors_parameters() -> None:
    assert sum(parameter.numel() for parameter in GruHead(2048).parameters()) == 99_873


def test_standardisation_is_not_trained() -> None:
    names = {name for name, _ in GruHead(FEATURES).named_parameters()}
    assert not any(name.startswith("feature_") for name in names)
    assert {"feature_mean", "feature_scale"} <= set(GruHead(FEATURES).state_dict())


def test_without_gaps_a_layer_is_torchs_own_gru() -> None:
    torch.manual_seed(1)
    reference, layer = nn.GRU(FEATURES, GRU1_UNITS, batch_first=True), HoldingGru(FEATURES, GRU1_UNITS)
    layer.load_state_dict(reference.state_dict())
    x = torch.randn(3, WINDOW_SLOTS, FEATURES)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x, torch.ones(3, WINDOW_SLOTS, 1)), reference(x)[0], atol=1e-6, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=WINDOW_SLOTS, max_size=WINDOW_SLOTS))
def test_a_gap_is_as_if_the_slot_were_not_there(filled: list[bool]) -> None:
    head = head_of()
    mask = torch.tensor([filled], dtype=torch.float32)
    features = torch.randn(1, WINDOW_SLOTS, FEATURES, generator=torch.Generator().manual_seed(2))
    kept = features[:, mask[0] > 0.5]
    expected = logits(head, kept, torch.ones(1, kept.shape[1])) if kept.shape[1] else logits_of_nothing(head)
    torch.testing.assert_close(logits(head, features, mask), expected, atol=1e-6, rtol=1e-5)


def logits_of_nothing(head: GruHead) -> Tensor:
    return logits(head, torch.zeros(1, 1, FEATURES), torch.zeros(1, 1))


@pytest.mark.parametrize("junk", [0.0, 1e6, float("nan"), float("inf")])
def test_what_a_masked_slot_holds_does_not_matter(junk: float) -> None:
    head = head_of()
    features, mask = torch.randn(2, WINDOW_SLOTS, FEATURES), torch.ones(2, WINDOW_SLOTS)
    mask[:, ::3] = 0
    spoilt = features.clone()
    spoilt[:, ::3] = junk
    torch.testing.assert_close(logits(head, spoilt, mask), logits(head, features, mask))


def test_a_window_of_gaps_keeps_the_zero_state() -> None:
    layer = HoldingGru(FEATURES, GRU1_UNITS)
    states = layer(torch.randn(2, WINDOW_SLOTS, FEATURES), torch.zeros(2, WINDOW_SLOTS, 1))
    assert float(states.detach().abs().max()) == 0.0


def test_the_order_of_samples_matters() -> None:
    head = head_of()
    features, mask = torch.randn(1, WINDOW_SLOTS, FEATURES), torch.ones(1, WINDOW_SLOTS)
    assert not torch.allclose(logits(head, features, mask), logits(head, features.flip(1), mask))


def test_each_window_is_scored_alone() -> None:
    head = head_of()
    features = torch.randn(5, WINDOW_SLOTS, FEATURES)
    mask = (torch.rand(5, WINDOW_SLOTS) > 0.4).float()
    alone = torch.cat([logits(head, features[row : row + 1], mask[row : row + 1]) for row in range(5)])
    torch.testing.assert_close(logits(head, features, mask), alone, atol=1e-6, rtol=1e-5)
