"""What a stream asks of the analysis, and the limits that all streams share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from engines.spec import WindowSpec


class Priority(str, Enum):
    """Who is served more often, and whose sampling is thinned out last."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


WEIGHTS = {Priority.LOW: 1, Priority.NORMAL: 2, Priority.HIGH: 4}
"""Turns that a stream gets while another of weight 1 gets one."""


@dataclass(frozen=True)
class StreamPlan:
    """One stream's place among the others."""

    is_live: bool = False
    """A file waits for its reader: it is always served whole, so that its scores depend on nothing else."""
    priority: Priority = Priority.NORMAL
    sample_every: int = 1
    """Every n-th slot of a window is sampled, the others are masked."""
    detect_period_ns: int | None = None
    """Between two looks for faces; None takes the detector's own."""

    @property
    def weight(self) -> int:
        return WEIGHTS[self.priority]


@dataclass(frozen=True)
class CalmPolicy:
    """When a face is calm, and how slowly it is sampled then. Raises ValueError when it can never be."""

    every: int = 1
    """Every n-th slot; 1: calm faces are sampled like the others."""
    after_s: float = 3.0
    """How long its probability must have been low."""
    below: float = 0.2
    """Smoothed fake probability up to which a face can be calm."""
    rise: float = 0.03
    """A step up of the smoothed probability, from one score to the next, that ends the calm."""

    def __post_init__(self) -> None:
        if self.every < 1 or min(self.after_s, self.below, self.rise) < 0:
            raise ValueError("every must be 1 or more; after_s, below and rise must not be negative")


@dataclass(frozen=True)
class Limits:
    """What all streams share in one step."""

    max_batch: int | None = None
    """Crops of live streams; None: all."""
    max_detections: int | None = None
    """Frames of live streams that are searched for faces; None: all."""


def longest_stride(window: WindowSpec) -> int:
    """The largest n for which every n-th slot keeps ``min_samples`` in a window even when one sample fails; 1 or more.

    20 slots that need 5 samples: every third (6 samples, or 5 after one poor picture).
    """
    return max(1, window.slots // (window.min_samples + 1))
