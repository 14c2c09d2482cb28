from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stream.gst.drawing_parts import Scenes, bytes_of, need_gst, samples

need_gst()

from gi.repository import Gst, GstVideo  # noqa: E402

from stream.gst.overlay_element import MediaClock, OverlayBinding, UnmaskOverlay, register_overlay, writable_planes  # noqa: E402
from stream.types import StreamName  # noqa: E402
from tests.fakes import ListObserver  # noqa: E402
from tests.stream.overlay.scenes import NOW_NS, SECOND, face_of, scene_of  # noqa: E402

ROOT = Path(__file__).parents[3]
FACE = face_of((40.0, 60.0, 100.0, 110.0))


def run(binding: OverlayBinding, frames: list[Any], upstream: str = "") -> tuple[list[Any], UnmaskOverlay]:
    """Push frames through the element; the samples that come out."""
    pipeline = Gst.parse_launch(
        f"appsrc name=in format=time {upstream} ! identity name=link  appsink name=out sync=false"
    )
    element = UnmaskOverlay()
    element.bind(binding)
    pipeline.add(element)
    assert pipeline.get_by_name("link").link(element)
    assert element.link(pipeline.get_by_name("out"))
    pipeline.set_state(Gst.State.PLAYING)
    for frame in frames:
        pipeline.get_by_name("in").emit("push-sample", frame)
    pipeline.get_by_name("in").emit("end-of-stream")
    pull = pipeline.get_by_name("out")
    drawn = list(iter(lambda: pull.emit("pull-sample"), None))
    pipeline.set_state(Gst.State.NULL)
    return drawn, element


def binding(scenes: Any, observer: ListObserver | None = None) -> OverlayBinding:
    return OverlayBinding(StreamName("lobby"), scenes, observer or ListObserver(), clock=lambda: NOW_NS)


@pytest.mark.parametrize("size", [(160, 120), (855, 481), (854, 480), (16, 16), (1, 1), (121, 161)])
@pytest.mark.parametrize("layout", ["I420", "NV12"])
def test_every_size_and_layout_comes_out_whole(layout: str, size: tuple[int, int]) -> None:
    frames = list(samples(3, *size, caps=f"format={layout}"))
    drawn, element = run(binding(Scenes(scene_of(FACE))), frames)
    assert [sample.get_buffer().pts for sample in drawn] == [sample.get_buffer().pts for sample in frames]
    assert [len(bytes_of(sample)) for sample in drawn] == [len(bytes_of(sample)) for sample in frames]
    assert element.errors == 0


@pytest.mark.parametrize("layout", ["I420", "NV12"])
def test_the_face_is_drawn_where_it_is(layout: str) -> None:
    frames = list(samples(1, 320, 240, caps=f"format={layout}", pattern="black"))
    drawn, _ = run(binding(Scenes(scene_of(face_of((100.0, 80.0, 180.0, 160.0))))), frames)
    before, after = (np.frombuffer(bytes_of(s), np.uint8)[: 320 * 240].reshape(240, 320) for s in (frames[0], drawn[0]))
    changed = (before != after)[74:168, 94:188]
    assert changed[6].any()
    assert not changed[20:70, 20:70].any()


def test_whoever_shares_the_frame_does_not_see_the_overlay() -> None:
    frames = list(samples(3, 320, 240))
    before = [bytes_of(frame) for frame in frames]
    drawn, _ = run(binding(Scenes(scene_of(FACE))), frames)
    assert [bytes_of(frame) for frame in frames] == before
    assert all(bytes_of(sample) != old for sample, old in zip(drawn, before, strict=True))


def test_padded_rows_are_drawn_by_their_stride() -> None:
    """A buffer whose rows are 64 bytes apart and wider than the picture, as decoders make them."""
    info = GstVideo.VideoInfo.new_from_caps(Gst.Caps.from_string("video/x-raw,format=I420,width=50,height=40"))
    buffer = Gst.Buffer.new_allocate(None, 64 * 40 + 2 * 32 * 20, None)
    buffer.memset(0, 90, buffer.get_size())
    offsets, strides = [0, 64 * 40, 64 * 40 + 32 * 20, 0], [64, 32, 32, 0]
    GstVideo.buffer_add_video_meta_full(
        buffer, GstVideo.VideoFrameFlags.NONE, GstVideo.VideoFormat.I420, 50, 40, 3, offsets, strides
    )
    with writable_planes(buffer, info) as planes:
        planes.y[...] = 200
        planes.chroma[1][...] = 33
    written = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
    luma, v = written[: 64 * 40].reshape(40, 64), written[64 * 40 + 32 * 20 :].reshape(20, 32)
    assert (luma[:, :50] == 200).all()
    assert (luma[:, 50:] == 90).all()
    assert (v[:, :25] == 33).all()
    assert (v[:, 25:] == 90).all()


@pytest.mark.parametrize(
    ("colorimetry", "matrix", "full"),
    [("bt601", "bt601", False), ("bt709", "bt709", False), ("1:4:0:0", "bt601", True)],
)
def test_colours_follow_the_caps(colorimetry: str, matrix: str, full: bool) -> None:
    text = f"video/x-raw,format=NV12,width=32,height=32,framerate=30/1,colorimetry=(string){colorimetry}"
    info = GstVideo.VideoInfo.new_from_caps(Gst.Caps.from_string(text))
    buffer = Gst.Buffer.new_allocate(None, info.size, None)
    with writable_planes(buffer, info) as planes:
        assert (planes.matrix, planes.full_range) == (matrix, full)


@pytest.mark.parametrize("scenes", [None, Scenes(None), Scenes(error=RuntimeError("board broken"))])
def test_the_video_goes_on_whatever_the_scene_source_does(scenes: Any) -> None:
    observer = ListObserver()
    drawn, element = run(binding(scenes, observer), list(samples(10)))
    broken = scenes is not None and scenes.error is not None
    assert len(drawn) == 10
    assert element.errors == (10 if broken else 0)
    assert observer.of("frame_dropped") == [("lobby", "video", "error")] * element.errors


def test_the_time_of_every_frame_is_reported() -> None:
    observer = ListObserver()
    run(binding(Scenes(scene_of(FACE)), observer), list(samples(5)))
    took = observer.of("stage_took")
    assert [details[:2] for details in took] == [("lobby", "overlay")] * 5
    assert all(details[2] > 0 for details in took)


def test_a_caps_change_in_mid_stream_is_followed() -> None:
    frames = [*samples(2, 160, 120), *samples(2, 321, 243, caps="format=NV12")]
    drawn, element = run(binding(Scenes(scene_of(FACE))), frames)
    assert len(drawn) == 4
    assert element.errors == 0


def test_a_file_ages_in_media_time() -> None:
    clock, first, second = MediaClock(), scene_of(), scene_of(captured_ns=NOW_NS + SECOND)
    late = [clock.now_ns(scene, pts) - scene.captured_ns for scene, pts in ((first, 5), (first, 45), (second, 90))]
    assert late == [0, 40, 0]


def test_a_file_that_jumps_back_is_not_in_the_past() -> None:
    clock, scene = MediaClock(), scene_of()
    late = [clock.now_ns(scene, pts) - scene.captured_ns for pts in (5 * SECOND, 6 * SECOND, 0, SECOND)]
    assert late == [0, SECOND, 0, SECOND]


def test_a_registered_element_is_found_by_its_name() -> None:
    register_overlay()
    register_overlay()
    pipeline = Gst.parse_launch(
        "videotestsrc num-buffers=3 ! video/x-raw,format=NV12 ! unmaskoverlay name=it ! fakesink"
    )
    pipeline.set_state(Gst.State.PLAYING)
    wanted = Gst.MessageType.EOS | Gst.MessageType.ERROR
    message = pipeline.get_bus().timed_pop_filtered(60 * Gst.SECOND, wanted)
    assert message.type == Gst.MessageType.EOS
    assert pipeline.get_by_name("it").errors == 0
    pipeline.set_state(Gst.State.NULL)


def plugin_loader_is_here() -> bool:
    return Gst.Registry.get().find_plugin("python") is not None


@pytest.mark.skipif(
    not plugin_loader_is_here(), reason="GStreamer lacks its Python plugin loader (gstreamer1.0-python3-plugin-loader)"
)
def test_gst_launch_finds_the_element(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    text = "from stream.gst.overlay_element import UnmaskOverlay, __gstelementfactory__\n"
    (tmp_path / "python" / "unmask_overlay.py").write_text(text)
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if "site-packages" in path)])
    environment = os.environ | {
        "GST_PLUGIN_PATH": str(tmp_path),
        "GST_REGISTRY": str(tmp_path / "registry.bin"),
        "PYTHONPATH": paths,
    }
    line = "gst-launch-1.0 -q videotestsrc num-buffers=5 ! video/x-raw,format=I420 ! unmaskoverlay ! fakesink"
    done = subprocess.run(line.split(), env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert "no element" not in done.stderr


def test_elements_do_not_share_what_they_draw() -> None:
    frames = list(samples(1, 320, 240))
    pictures = [bytes_of(run(binding(Scenes(scene)), frames)[0][0]) for scene in (scene_of(), scene_of(FACE))]
    assert all(one != other for one, other in itertools.combinations(pictures, 2))
