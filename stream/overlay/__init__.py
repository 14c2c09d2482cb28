"""Drawing verdicts on a decoded frame's own planes: pure pixels, no clock, no pads.

palette    colours and words of each verdict; RGB to YUV
sprites    small pictures with alpha, kept as planes, blended in place
ink        text and shapes as coverage masks
brackets   the marks around a face
panel      the label of a face: verdict, window strip, sparkline
header     the bar on top: stream, state, rate, latency, model
layout     where labels go
fit        scenes in the pixels of the picture, when the analysed frame had others
overlay    all of it, in order
"""

from stream.overlay.overlay import Overlay
from stream.overlay.palette import OverlayStyle

__all__ = ["Overlay", "OverlayStyle"]
