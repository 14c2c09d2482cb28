"""The predecessors' two image networks: a few convolutions, one huge dense layer, and a logit.

Inputs are BGR on the 0-255 scale, as they are. Both flatten in torch's order (channel, row, column); Keras flattens
(row, column, channel), so an importer permutes the first dense layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from engines.models.as_keras import keras_start
from engines.models.backbone import Backbone

SIZE = 224
FEATURE_DIM = 64
DROPOUT = 0.5
_relu = nn.functional.relu


class _Flat(Backbone):
    """Dense layers over every place of a picture: one input size each, and no feature map to average."""

    HAS_MAP = False
    feature_dim = FEATURE_DIM
    frame_head: nn.Linear

    def __init__(self, size: int = SIZE) -> None:
        super().__init__()
        self.fixed_size = size

    @classmethod
    def build(cls, style: str, *, frame_head: bool, size: int | None = None) -> Backbone:
        if style != cls.STYLES[0] or not frame_head:
            raise ValueError(f"{cls.__name__} comes as {cls.STYLES[0]!r} with a frame head only")
        return cls(size or SIZE)


class SeedCnn(_Flat):
    """Convolutions 64, 128, 128 and two pools, then dense 128, 64 and 1: 51,619,585 parameters at 224 px."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self.conv1 = nn.Conv2d(3, 64, 7, padding="same")
        self.conv2 = nn.Conv2d(64, 128, 3, padding="same")
        self.conv3 = nn.Conv2d(128, 128, 3, padding="same")
        self.dense1 = nn.Linear(_flat(size), 128)
        self.dense2 = nn.Linear(128, FEATURE_DIM)
        self.drop = nn.Dropout(DROPOUT)
        self.frame_head = nn.Linear(FEATURE_DIM, 1)
        keras_start(self)

    def forward_features(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to the last hidden layer, (N, 64)."""
        x = _pooled(_relu(self.conv1(crops)))
        x = _pooled(_relu(self.conv3(_relu(self.conv2(x)))))
        return _relu(self.dense2(self.drop(_relu(self.dense1(x.flatten(1))))))


class SeedCnnLarge(_Flat):
    """Two 2x2 and two 3x3 convolutions, then dense 512, 256, 128, 64 and 1: 205,932,673 parameters at 224 px.

    Dropout stands between 256 and 128, and nowhere else.
    """

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self.conv1 = nn.Conv2d(3, 64, 2)
        self.conv2 = nn.Conv2d(64, 64, 2)
        self.conv3 = nn.Conv2d(64, 128, 3, padding="same")
        self.conv4 = nn.Conv2d(128, 128, 3, padding="same")
        self.dense1 = nn.Linear(_flat(size), 512)
        self.dense2 = nn.Linear(512, 256)
        self.hidden_drop = nn.Dropout(DROPOUT)
        self.dense3 = nn.Linear(256, 128)
        self.dense4 = nn.Linear(128, FEATURE_DIM)
        self.drop = nn.Identity()
        self.frame_head = nn.Linear(FEATURE_DIM, 1)
        keras_start(self)

    def forward_features(self, crops: Tensor) -> Tensor:
        """(N, 3, S, S) to the last hidden layer, (N, 64)."""
        x = _relu(self.conv2(_padded(_relu(self.conv1(_padded(crops))))))
        x = _relu(self.conv4(_relu(self.conv3(_pooled(x)))))
        x = _relu(self.dense2(_relu(self.dense1(_pooled(x).flatten(1)))))
        return _relu(self.dense4(_relu(self.dense3(self.hidden_drop(x)))))


def _flat(size: int) -> int:
    """Numbers after two pools of 128 maps."""
    return 128 * (size // 4) ** 2


def _pooled(x: Tensor) -> Tensor:
    return nn.functional.max_pool2d(x, 2)


def _padded(x: Tensor) -> Tensor:
    """What ``same`` means for a 2x2 kernel in Keras: one column right, one row below."""
    return nn.functional.pad(x, (0, 1, 0, 1))
