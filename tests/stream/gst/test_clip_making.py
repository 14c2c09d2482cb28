"""Clips made from the demo's, read back picture by picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.stream.gst.drawing_parts import need_gst

need_gst()

from stream.errors import SourceError  # noqa: E402
from stream.gst.camera_fleet import EncodedClip  # noqa: E402
from stream.gst.clip_making import ClipShape, ensure_shaped  # noqa: E402


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("skimage", reason="the demo extra is not installed: pip install -e .[demo]")
    from stream.demo.clip import ensure_clip

    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    ensure_clip(path, half_s=2.0)
    return path


@pytest.mark.parametrize(
    "shape",
    [ClipShape(seconds=1.0), ClipShape(854, 480, seconds=0.4, fps=15), ClipShape(seconds=0.4, tiles=2)],
    ids=lambda shape: shape.name,
)
def test_a_clip_has_as_many_pictures_as_it_says_and_lacks_none(
    long_clip: Path, tmp_path: Path, shape: ClipShape
) -> None:
    made = EncodedClip(ensure_shaped(long_clip, tmp_path, shape))
    gaps_ns = np.diff([picture.pts for picture in made.pictures])
    assert len(made.pictures) == round(shape.seconds * shape.fps)
    assert np.abs(gaps_ns - 1e9 / shape.fps).max() < 1e6
    assert ensure_shaped(long_clip, tmp_path, shape).samefile(next(tmp_path.iterdir()))


def test_a_file_that_is_no_video_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(SourceError, match="cannot be made into a clip"):
        ensure_shaped(tmp_path / "notes.mp4", tmp_path / "made", ClipShape())
    assert list((tmp_path / "made").iterdir()) == []
