"""The temporal head: its size, and that a masked slot holds the state in both layers."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed: pip install -e '.[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from engines.models.gru_head import WINDOW_SLOTS, GruHead, HoldingGru  # noqa: E402

FEATURES = 12
masks = st.lists(st.integers(0, 1), min_size=WINDOW_SLOTS, max_size=WINDOW_SLOTS)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(5)


@pytest.fixture(scope="module")
def head():
    return GruHead(FEATURES).eval()


def test_it_has_exactly_the_predecessors_parameters_at_their_feature_length():
    assert sum(p.numel() for p in GruHead(2048).parameters()) == 99_873


def test_it_gives_one_logit_a_window(head):
    assert logits(head, torch.randn(4, WINDOW_SLOTS, FEATURES), [1] * WINDOW_SLOTS).shape == (4, 1)


def test_an_unmasked_layer_equals_torchs_own_gru():
    ours, theirs = HoldingGru(FEATURES, 5), torch.nn.GRU(FEATURES, 5, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 7, FEATURES)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x, torch.ones(3, 7, 1)), theirs(x)[0])


@settings(max_examples=25, deadline=None)
@given(masks)
def test_missing_slots_leave_no_trace(head, mask):
    """Holding both layers' state means that a window with gaps scores as its samples alone would."""
    window = torch.randn(1, WINDOW_SLOTS, FEATURES, generator=torch.Generator().manual_seed(sum(mask)))
    kept = window[:, [slot for slot, there in enumerate(mask) if there]]
    if not any(mask):
        kept, short = window[:, :1], [0]
    else:
        short = [1] * sum(mask)
    torch.testing.assert_close(logits(head, window, mask), logits(head, kept, short))


@settings(max_examples=15, deadline=None)
@given(masks)
def test_what_a_missing_slot_holds_does_not_matter(head, mask):
    window = torch.randn(2, WINDOW_SLOTS, FEATURES, generator=torch.Generator().manual_seed(1))
    spoilt = window.clone()
    spoilt[:, [slot for slot, there in enumerate(mask) if not there]] = float("nan")
    torch.testing.assert_close(logits(head, window, mask), logits(head, spoilt, mask))


def test_a_window_without_samples_has_a_finite_logit_of_its_own(head):
    nothing = [0] * WINDOW_SLOTS
    first, second = (logits(head, torch.randn(1, WINDOW_SLOTS, FEATURES), nothing) for _ in range(2))
    assert torch.isfinite(first).all()
    torch.testing.assert_close(first, second)


def test_the_order_of_samples_matters(head):
    window = torch.randn(1, WINDOW_SLOTS, FEATURES)
    forwards, backwards = (logits(head, one, [1] * WINDOW_SLOTS) for one in (window, window.flip(1)))
    assert abs(float(forwards - backwards)) > 1e-6


def test_standardising_buffers_are_no_parameters_but_travel_with_the_weights(head):
    names = {name for name, _ in head.named_parameters()}
    assert {"feature_mean", "feature_scale"} <= set(head.state_dict()) - names


def test_standardising_is_an_affine_map_of_the_features(head):
    moved = GruHead(FEATURES).eval()
    moved.load_state_dict(head.state_dict())
    moved.feature_mean.fill_(3.0)
    moved.feature_scale.fill_(0.5)
    window = torch.randn(2, WINDOW_SLOTS, FEATURES)
    full = [1] * WINDOW_SLOTS
    torch.testing.assert_close(logits(head, window, full), logits(moved, window * 2 + 3, full))


def logits(head, window, mask):
    with torch.inference_mode():
        return head(window, torch.tensor(mask, dtype=torch.float32).repeat(len(window), 1))
