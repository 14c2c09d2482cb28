"""The temporal heads: a window of frame features to one logit.

``GruHead`` is trained on windows: two stacked GRUs in Keras' ``reset_after=True`` form, which is torch's form too: two
biases per gate, the reset gate applied after the recurrent product. A masked slot *holds* the state of both layers, as
Keras does. ``MeanLogitHead`` lets a network of single pictures run live: it averages what that says of each sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WINDOW_SLOTS = 20
GRU1_UNITS, GRU2_UNITS, DENSE_UNITS = 16, 8, 8
DROPOUT = 0.4


class GruHead(nn.Module):
    """(N, T, F) features and (N, T) mask to (N, 1) logits: GRU 16, GRU 8, dropout, dense 8 ReLU, dense 1.

    Features are first standardised by two fixed buffers, measured on training windows: identity until they are set.
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_scale", torch.ones(feature_dim))
        self.feature_dim = feature_dim
        self.gru1 = HoldingGru(feature_dim, GRU1_UNITS)
        self.gru2 = HoldingGru(GRU1_UNITS, GRU2_UNITS)
        self.drop = nn.Dropout(DROPOUT)
        self.dense1 = nn.Linear(GRU2_UNITS, DENSE_UNITS)
        self.dense2 = nn.Linear(DENSE_UNITS, 1)

    feature_mean: Tensor
    feature_scale: Tensor

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``mask`` is 1 where a slot holds a sample and 0 where it is missing, oldest slot first."""
        valid = mask.unsqueeze(-1)
        # A missing slot may hold anything, NaN included: it is replaced, not multiplied away.
        known = torch.where(valid > 0.5, features, self.feature_mean)
        states = self.gru1((known - self.feature_mean) * self.feature_scale, valid)
        last = self.gru2(states, valid)[:, -1]
        logit: Tensor = self.dense2(torch.relu(self.dense1(self.drop(last))))
        return logit


class MeanLogitHead(nn.Module):
    """(N, T, F) features and (N, T) mask to (N, 1) logits: the mean of a linear frame logit over the filled slots."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.frame_head = nn.Linear(feature_dim, 1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``mask`` is 1 where a slot holds a sample. Without any the bias alone is given."""
        valid = mask.unsqueeze(-1) > 0.5
        # A missing slot may hold anything, NaN included: it is replaced, not multiplied away.
        total = torch.where(valid, features, torch.zeros_like(features)).sum(1)
        logit: Tensor = self.frame_head(total / valid.sum(1).clamp(min=1))
        return logit


def mean_logit_head(frame_head: nn.Linear) -> MeanLogitHead:
    """The head that averages the logits of this frame head; its weights are copied."""
    head = MeanLogitHead(frame_head.in_features)
    head.frame_head.load_state_dict(frame_head.state_dict())
    return head


class HoldingGru(nn.Module):
    """(N, T, I) and (N, T, 1) mask to every step's state (N, T, H); parameters named and laid out as ``nn.GRU``'s.

    The steps are written out, so the exported graph holds plain arithmetic and any mask means the same everywhere.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.weight_ih_l0 = _parameter(units, 3 * units, inputs)
        self.weight_hh_l0 = _parameter(units, 3 * units, units)
        self.bias_ih_l0 = _parameter(units, 3 * units)
        self.bias_hh_l0 = _parameter(units, 3 * units)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """``valid`` is 1 for a step to take and 0 for one that holds the state."""
        projected = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        state = projected[:, 0, : self.units] * 0
        states = []
        for step in range(x.shape[1]):
            taken = valid[:, step] > 0.5
            state = torch.where(taken, self._next(projected[:, step], state), state)
            states.append(state)
        return torch.stack(states, 1)

    def _next(self, projected: Tensor, state: Tensor) -> Tensor:
        """One GRU step (Cho et al. 2014, reset after the product); gates in torch's order reset, update, new."""
        recurrent = nn.functional.linear(state, self.weight_hh_l0, self.bias_hh_l0)
        reset_in, update_in, new_in = projected.chunk(3, -1)
        reset_state, update_state, new_state = recurrent.chunk(3, -1)
        reset = torch.sigmoid(reset_in + reset_state)
        update = torch.sigmoid(update_in + update_state)
        new = torch.tanh(new_in + reset * new_state)
        return new + update * (state - new)


def _parameter(units: int, *shape: int) -> nn.Parameter:
    """Drawn as ``nn.GRU`` draws its own: uniform within 1 / sqrt(units)."""
    bound = units**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
