"""Keras' ways where torch's own differ: how parameters are counted, how weights begin, and what ``same`` pads."""

from __future__ import annotations

from torch import Tensor, nn

_STATISTICS = ("running_mean", "running_var")


def keras_parameter_count(*modules: nn.Module) -> int:
    """Trainable numbers and the batch norms' running statistics; fixed factors and counters are not counted."""
    trainable = sum(value.numel() for module in modules for value in module.parameters())
    buffers = [entry for module in modules for entry in module.named_buffers()]
    return trainable + sum(value.numel() for name, value in buffers if name.endswith(_STATISTICS))


def keras_start(network: nn.Module) -> None:
    """Draw weights as Keras' layers do: Glorot uniform (Glorot & Bengio 2010), biases zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def same_max_pool(x: Tensor) -> Tensor:
    """3x3 maximum at stride 2 with ``same`` padding: (0, 1) on an even side, (1, 1) on an odd one."""
    height, width = int(x.shape[2]), int(x.shape[3])
    return nn.functional.max_pool2d(x, 3, 2, padding=(height % 2, width % 2), ceil_mode=True)
