from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stream.sources.video_parts import need_gst

need_gst()

from gi.repository import Gst  # noqa: E402

from engines.preprocess import Planes  # noqa: E402
from stream.errors import SourceError  # noqa: E402
from stream.gst.buffers import layout_of, map_planes, running_ns, video_info  # noqa: E402

SIZES = [(854, 480), (855, 481), (16, 16), (1, 1), (15, 17), (640, 360), (3840, 2160)]


def sample_of(caps: str, pattern: str = "smpte", after: str = "") -> Any:
    """One Gst.Sample of videotestsrc."""
    pipeline = Gst.parse_launch(
        f"videotestsrc num-buffers=1 pattern={pattern} ! video/x-raw,{caps} {after} ! appsink name=out sync=false"
    )
    pipeline.set_state(Gst.State.PLAYING)
    sample = pipeline.get_by_name("out").emit("pull-sample")
    pipeline.set_state(Gst.State.NULL)
    assert sample is not None
    return sample


def planes_of(sample: Any) -> Planes:
    planes, _ = map_planes(sample.get_buffer(), video_info(sample.get_caps()))
    return planes


def full_chroma(planes: Planes) -> NDArray[np.uint8]:
    """(2, h, w): U and V, however they are stored."""
    if len(planes.chroma) == 2:
        return np.stack(planes.chroma)
    return np.stack([planes.chroma[0][..., 0], planes.chroma[0][..., 1]])


@pytest.mark.parametrize("size_wh", SIZES)
@pytest.mark.parametrize("layout", ["I420", "NV12"])
def test_views_show_the_same_picture_as_a_plain_copy(layout: str, size_wh: tuple[int, int]) -> None:
    """A GRAY8 picture, whose rows are read by hand, is the reference."""
    width, height = size_wh
    size = f"width={width},height={height},colorimetry=bt601"
    planes = planes_of(sample_of(f"format={layout},{size}"))
    reference = np.frombuffer(_bytes(sample_of(f"format=GRAY8,{size}")), np.uint8)
    stride = (width + 3) // 4 * 4
    luma = reference.reshape(height, stride)[:, :width]
    assert planes.y.shape == (height, width)
    assert np.array_equal(planes.y, luma)
    assert full_chroma(planes).shape == (2, (height + 1) // 2, (width + 1) // 2)


@pytest.mark.parametrize("size_wh", SIZES)
def test_both_layouts_hold_the_same_colours(size_wh: tuple[int, int]) -> None:
    size = f"width={size_wh[0]},height={size_wh[1]}"
    planar, paired = (planes_of(sample_of(f"format={layout},{size}")) for layout in ("I420", "NV12"))
    assert np.array_equal(full_chroma(planar), full_chroma(paired))


def test_a_padded_picture_is_not_skewed() -> None:
    """854 luma bytes lie in rows of 856: read without the stride, the bars would lean."""
    planes = planes_of(sample_of("format=I420,width=854,height=480"))
    assert planes.y.strides[0] == 856
    bars = planes.y[:300]
    assert np.array_equal(bars, np.broadcast_to(bars[0], bars.shape))


def test_an_odd_picture_turns_into_the_colours_it_was_made_of() -> None:
    planes = planes_of(sample_of("format=I420,width=855,height=481,colorimetry=bt601", "red"))
    u, v = (cv2.resize(plane, (855, 481), interpolation=cv2.INTER_NEAREST) for plane in planes.chroma)
    luma = planes.y.astype(float)
    red = 1.164 * (luma - 16) + 1.596 * (v.astype(float) - 128)
    blue = 1.164 * (luma - 16) + 2.017 * (u.astype(float) - 128)
    assert np.abs(red - 255).max() < 4
    assert np.abs(blue).max() < 4


def test_a_buffers_own_layout_wins_over_the_caps() -> None:
    """A cropped buffer of a decoder: strides and offsets come with the buffer."""
    sample = sample_of("format=I420,width=160,height=120", after="! videocrop left=32 top=16")
    info = video_info(sample.get_caps())
    assert (info.width, info.height) == (128, 104)
    told = layout_of(sample.get_buffer(), info)
    assert planes_of(sample).y.strides[0] == told[0][1]
    whole = planes_of(sample_of("format=I420,width=160,height=120"))
    assert np.array_equal(planes_of(sample).y, whole.y[16:, 32:])


@pytest.mark.parametrize(
    ("colorimetry", "matrix", "is_full"),
    [("bt601", "bt601", False), ("bt709", "bt709", False), ("1:4:0:0", "bt601", True), ("1:3:5:1", "bt709", True)],
)
def test_matrix_and_range_come_from_the_caps(colorimetry: str, matrix: str, is_full: bool) -> None:
    planes = planes_of(sample_of(f"format=NV12,width=64,height=48,colorimetry=(string){colorimetry}"))
    assert (planes.matrix, planes.full_range) == (matrix, is_full)


def test_views_are_no_copies_and_read_only() -> None:
    sample = sample_of("format=I420,width=64,height=48")
    first, second = planes_of(sample), planes_of(sample)
    assert first.y.__array_interface__["data"][0] == second.y.__array_interface__["data"][0]
    assert not first.y.flags.writeable


def test_giving_back_twice_is_harmless() -> None:
    sample = sample_of("format=I420,width=64,height=48")
    _, unmap = map_planes(sample.get_buffer(), video_info(sample.get_caps()))
    unmap()
    unmap()
    assert sample.get_buffer().map(Gst.MapFlags.READ)


def test_a_sample_tells_its_time_or_that_it_has_none() -> None:
    sample = sample_of("format=I420,width=64,height=48")
    assert running_ns(sample) == 0
    sample.get_buffer().pts = Gst.CLOCK_TIME_NONE
    assert running_ns(sample) is None


def test_other_formats_are_refused() -> None:
    with pytest.raises(SourceError, match="I420"):
        video_info(Gst.Caps.from_string("video/x-raw,format=RGB,width=64,height=48"))


def _bytes(sample: Any) -> bytes:
    buffer = sample.get_buffer()
    return bytes(buffer.extract_dup(0, buffer.get_size()))
