"""Where imported weights come from, and what each origin fixes that no file says: one home for these facts.

Sources: Keras' ``preprocess_input`` of Xception and Inception; MesoNet (DariusAf/MesoNet: RGB / 255, P(REAL)) and its
PyTorch port (HongguLiu/MesoNet-Pytorch: 0.5 / 0.5, folders ``df`` before ``real``); DeepfakeBench (its detectors' YAML:
256 px, 0.5 / 0.5, faces aligned with a scale of 1.3); FaceForensics++ (``detect_from_video.py``: 299 px, 1.3 times the
detector's box); ISPL (icpr2020dfdc: 224 px, ImageNet's mean and deviation); torchvision and cadene's pretrained-models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engines.spec import PixelSpec

Colours = tuple[float, float, float]
HALF: Colours = (127.5, 127.5, 127.5)
IMAGENET_MEAN: Colours = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD: Colours = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class Origin:
    """What weights of one origin expect of their input, and what their answer means."""

    title: str
    pixels: PixelSpec
    positive_class: Literal["fake", "real"] = "fake"
    period_s: float | None = None
    """Seconds between the samples of a window that a temporal head was trained on; None: pictures only."""


def _rgb(size: int, mean: Colours = HALF, std: Colours = HALF, crop: float = 1.0) -> PixelSpec:
    return PixelSpec(size=size, mean=mean, std=std, crop_margin=crop)


_RAW_BGR = PixelSpec(size=224, colour="bgr", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
_BYTES: Colours = (255.0, 255.0, 255.0)

ORIGINS = {
    "seed-cnn": Origin("Keras, the predecessors' CNN", _RAW_BGR),
    "seed-cnn-large": Origin("Keras, the predecessors' larger CNN", _RAW_BGR),
    "keras-xception": Origin("Keras' Xception", _rgb(299)),
    "keras-inception-v3": Origin("Keras' Inception v3", _rgb(299)),
    "keras-gru-head": Origin("Keras, the predecessors' video head", _rgb(299), period_s=1 / 30),
    "keras-meso4": Origin("MesoNet's Meso4", _rgb(256, (0.0, 0.0, 0.0), _BYTES), "real"),
    "deepfakebench": Origin("DeepfakeBench's Xception", _rgb(256, crop=1.3)),
    "deepfakebench-meso4": Origin("DeepfakeBench's Meso4", _rgb(256, crop=1.3)),
    "faceforensics": Origin("FaceForensics++'s Xception", _rgb(299, crop=1.3)),
    "ispl": Origin("ISPL's Xception", _rgb(224, IMAGENET_MEAN, IMAGENET_STD)),
    "cadene": Origin("Xception of cadene or timm", _rgb(299)),
    "torchvision": Origin("Inception v3 of torchvision or timm", _rgb(299)),
    "mesonet-pytorch": Origin("Meso4's PyTorch port", _rgb(256), "real"),
}
