"""A short clip with one face in it, made once: drawn from the demo's portrait."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def face_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """720p25, 1 to 2 s."""
    pytest.importorskip("skimage", reason="the demo extra is not installed: pip install -e .[demo]")
    from stream.demo.clip import ensure_clip
    from stream.gst.clip_making import ClipShape, ensure_shaped

    folder = tmp_path_factory.mktemp("bench")
    ensure_clip(folder / "clip.mp4", half_s=1.2)
    return ensure_shaped(folder / "clip.mp4", folder, ClipShape(seconds=1.0))
