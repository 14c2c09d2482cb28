"""Which H.264 and H.265 parts to use, best first. Data, and two pure choices from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stream.errors import MissingPartError

Purpose = Literal["live", "file"]


@dataclass(frozen=True)
class EncoderRow:
    """One way to encode H.264 from I420 or NV12 frames in system memory."""

    element: str
    """GStreamer factory name."""
    live: str
    """Properties for a short delay; ``{kbps}``, ``{bps}`` and ``{gop}`` (frames between key frames) are filled in."""
    file: str
    """Properties for a good picture, with the same blanks."""
    before: str = ""
    """What must stand before it, such as an upload to the GPU's memory."""
    after: str = ""

    def launch(self, purpose: Purpose, *, kbps: int = 4000, gop: int = 30) -> str:
        """Launch text from raw frames to ``video/x-h264``."""
        properties = (self.live if purpose == "live" else self.file).format(kbps=kbps, bps=kbps * 1000, gop=gop)
        parts = (self.before, f"{self.element} {properties}".strip(), self.after)
        return " ! ".join(part for part in parts if part)


@dataclass(frozen=True)
class DecoderRow:
    """A decoder that is preferred to those below it wherever it exists."""

    element: str
    is_hardware: bool = True


_NVMM = "nvvidconv ! video/x-raw(memory:NVMM),format=(string)NV12"

ENCODERS = (
    EncoderRow(
        "nvv4l2h264enc",
        "maxperf-enable=true insert-sps-pps=true preset-level=1 bitrate={bps} iframeinterval={gop} idrinterval={gop}",
        "insert-sps-pps=true bitrate={bps} iframeinterval={gop} idrinterval={gop}",
        before=_NVMM,
    ),
    EncoderRow(
        "nvh264enc",
        "preset=low-latency-hq rc-mode=cbr zerolatency=true bframes=0 bitrate={kbps} gop-size={gop}",
        "preset=hq rc-mode=vbr bitrate={kbps} gop-size={gop}",
    ),
    EncoderRow(
        "vah264enc",
        "rate-control=cbr b-frames=0 target-usage=6 bitrate={kbps} key-int-max={gop}",
        "rate-control=vbr b-frames=0 target-usage=4 bitrate={kbps} key-int-max={gop}",
    ),
    EncoderRow(
        "vaapih264enc",
        "rate-control=cbr max-bframes=0 bitrate={kbps} keyframe-period={gop}",
        "rate-control=vbr bitrate={kbps} keyframe-period={gop}",
    ),
    EncoderRow(
        "v4l2h264enc",
        'extra-controls="controls,video_bitrate={bps},h264_i_frame_period={gop},repeat_sequence_header=1"',
        'extra-controls="controls,video_bitrate={bps},h264_i_frame_period={gop}"',
        after="video/x-h264,level=(string)4",
    ),
    EncoderRow(
        "x264enc",
        "tune=zerolatency speed-preset=ultrafast bframes=0 bitrate={kbps} key-int-max={gop}",
        "speed-preset=veryfast pass=qual quantizer=21 bitrate={kbps} key-int-max={gop}",
    ),
    EncoderRow(
        "openh264enc",
        "complexity=low rate-control=bitrate bitrate={bps} gop-size={gop}",
        "complexity=medium rate-control=bitrate bitrate={bps} gop-size={gop}",
    ),
)

DECODERS = (
    DecoderRow("nvv4l2decoder"),
    DecoderRow("nvh264dec"),
    DecoderRow("nvh265dec"),
    DecoderRow("vah264dec"),
    DecoderRow("vah265dec"),
    DecoderRow("vaapih264dec"),
    DecoderRow("vaapih265dec"),
    DecoderRow("v4l2h264dec"),
    DecoderRow("v4l2h265dec"),
    DecoderRow("avdec_h264", is_hardware=False),
    DecoderRow("avdec_h265", is_hardware=False),
    DecoderRow("openh264dec", is_hardware=False),
)

RAW = "none (raw video)"
"""What is reported as the decoder of a source that sends raw frames."""


def pick_encoder(available: Callable[[str], bool]) -> EncoderRow:
    """The first encoder for which ``available(element)`` is true: ask stream.gst.session.element_runs.

    Raises MissingPartError when there is none.
    """
    for row in ENCODERS:
        if available(row.element):
            return row
    raise MissingPartError("no H.264 encoder: sudo apt install gstreamer1.0-plugins-ugly (x264enc)")


def decoder_ranks(available: Callable[[str], bool], best: int) -> dict[str, int]:
    """Factory name -> rank, falling by one from ``best`` through the table, of the decoders that exist."""
    return {row.element: best - place for place, row in enumerate(DECODERS) if available(row.element)}


def download_launch(available: Callable[[str], bool]) -> str:
    """What brings decoded frames to system memory: NVIDIA's decoder leaves them in the GPU's.

    ``nvvidconv`` comes with JetPack, ``nvvideoconvert`` with DeepStream on other machines.
    """
    return next((name for name in ("nvvidconv", "nvvideoconvert") if available(name)), "videoconvert")
