"""The demo's clip: a person before a moving camera, genuine at first, with another's face from the middle on.

Both halves go through the same camera and the same compression: the swap is their only difference.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess  # nosec B404 # GStreamer's command
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Bytes
from stream.demo.camera_motion import Camera, camera_path
from stream.demo.materials import load_actor, load_portrait
from stream.demo.swap import Patch, swapped_patches
from stream.errors import MissingPartError, OutputError

VERSION = 2
"""Counts up when the clip would come out differently: an older one is made anew."""
SIZE_WH = (1280, 720)
FPS = 30
SCALE = 2.0
"""The portrait is enlarged by this: its face becomes about 230 pixels high."""
SCENE_WH = (1440, 840)
"""The portrait's surroundings, larger than a frame by what the camera moves."""
FACE_AT = (0.44, 0.40)
"""Where the face's middle lies in the scene, as fractions."""
SEED = 7
BITRATE_KBIT = 3000


@dataclass(frozen=True)
class Part:
    """A stretch of the clip and what it is."""

    name: str
    label: str
    """``real`` or ``fake``: the verdict it must end with."""
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Truth:
    """What the clip holds; written beside it as JSON."""

    parts: tuple[Part, ...]
    fps: int = FPS
    seed: int = SEED
    version: int = VERSION

    @property
    def duration_s(self) -> float:
        return self.parts[-1].end_s


def truth_of(half_s: float = 22.0) -> Truth:
    """Half genuine, half swapped."""
    return Truth((Part("genuine", "real", 0.0, half_s), Part("swapped", "fake", half_s, 2 * half_s)))


def ensure_clip(path: Path, *, half_s: float = 22.0, on_progress: Callable[[float], None] = lambda _: None) -> Truth:
    """The clip at ``path``, made if it is absent or of an older version. Raises OutputError or MissingPartError."""
    wanted = truth_of(half_s)
    if path.is_file() and read_truth(path) == wanted:
        return wanted
    return make_clip(path, wanted, on_progress=on_progress)


def make_clip(path: Path, truth: Truth, *, on_progress: Callable[[float], None] = lambda _: None) -> Truth:
    """Write clip and truth; both appear complete or not at all. ``on_progress`` gets 0-1."""
    partial = path.with_name(f".{path.stem}.partial.mp4")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(path, partial, truth, on_progress)
    except OSError as error:
        raise OutputError(f"the demo's clip cannot be written to {path}: {error.strerror or error}") from error
    return truth


def _make(path: Path, partial: Path, truth: Truth, on_progress: Callable[[float], None]) -> None:
    try:
        _encode(frames_of(truth), round(truth.duration_s * FPS), partial, on_progress)
        truth_file(path).write_text(json.dumps(asdict(truth), indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def truth_file(clip: Path) -> Path:
    return clip.with_suffix(".json")


def read_truth(clip: Path) -> Truth | None:
    """None when there is none that this version understands."""
    try:
        fields = json.loads(truth_file(clip).read_bytes())
        parts = tuple(Part(**part) for part in fields.pop("parts"))
        return Truth(parts, **fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def frames_of(truth: Truth, size_wh: tuple[int, int] = SIZE_WH, *, every: int = 1) -> Iterator[Bytes]:
    """The clip's pictures, (H, W, 3) RGB, before compression. ``every``: only each n-th, none of the others is made."""
    rng = np.random.default_rng(truth.seed)
    portrait, corner = _scene_corner()
    scene = surroundings(portrait, corner)
    poses = camera_path(round(truth.duration_s * FPS), FPS, rng)[::every]
    camera = Camera(size_wh, rng)
    swap_at = [index for index in range(len(poses)) if _part_at(truth, index * every / FPS).label == "fake"]
    patches = list(islice(swapped_patches(portrait, load_portrait().points * SCALE, load_actor()), len(swap_at)))
    for index, pose in enumerate(poses):
        swapped = index in swap_at
        patch = patches[there_and_back(index - swap_at[0], len(patches))] if swapped else None
        yield camera.shoot(_with(scene, patch, corner) if patch else scene, pose)


def there_and_back(index: int, count: int) -> int:
    """0 1 2 … count-1 … 2 1 0 1 …: a short take played without a jump."""
    step = index % max(1, 2 * count - 2)
    return step if step < count else 2 * count - 2 - step


def surroundings(portrait: Bytes, corner: tuple[int, int]) -> Bytes:
    """The scene (SCENE_WH): the portrait at ``corner``, carried on beyond its border out of focus."""
    left, top = corner
    width, height = SCENE_WH
    inside = portrait[max(0, -top) : height - top, max(0, -left) : width - left]
    below, beside = height - top - portrait.shape[0], width - left - portrait.shape[1]
    borders = (max(0, top), max(0, below), max(0, left), max(0, beside))
    wide = _bordered(inside, borders, cv2.BORDER_REFLECT_101)
    known = _bordered(np.ones(inside.shape[:2], np.float32), borders, cv2.BORDER_CONSTANT)
    sharp = np.clip(2 * cv2.GaussianBlur(known, (0, 0), 12) - 1, 0, 1)[..., None]
    return np.asarray(wide * sharp + cv2.GaussianBlur(wide, (0, 0), 14) * (1 - sharp), np.uint8)


def _bordered(picture: NDArray[Any], borders: tuple[int, int, int, int], kind: int) -> NDArray[Any]:
    """``picture`` with so many pixels more above, below, left and right."""
    above, below, left, right = borders
    return np.asarray(cv2.copyMakeBorder(picture, above, below, left, right, kind))


def _scene_corner() -> tuple[Bytes, tuple[int, int]]:
    """The enlarged portrait and where its upper left corner lies in the scene."""
    portrait = load_portrait()
    large = cv2.resize(portrait.rgb, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LANCZOS4)
    face = portrait.points.mean(axis=0) * SCALE
    corner = (round(FACE_AT[0] * SCENE_WH[0] - face[0]), round(FACE_AT[1] * SCENE_WH[1] - face[1]))
    return np.asarray(large, np.uint8), corner


def _with(scene: Bytes, patch: Patch, corner: tuple[int, int]) -> Bytes:
    return Patch(patch.rgb, patch.left + corner[0], patch.top + corner[1]).on(scene)


def _part_at(truth: Truth, at_s: float) -> Part:
    return next((part for part in truth.parts if at_s < part.end_s), truth.parts[-1])


def _encode(frames: Iterator[Bytes], count: int, path: Path, on_progress: Callable[[float], None]) -> None:
    """Compress to H.264 in mp4 with GStreamer's own command line tool."""
    process = subprocess.Popen(  # nosec B603 # our own words and a path of ours
        _command(path), stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    pipe = process.stdin
    if pipe is None:
        raise OSError("no pipe to the encoder")
    try:
        for index, rgb in enumerate(frames):
            pipe.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).data)
            on_progress((index + 1) / count)
    except BrokenPipeError:
        pass  # the encoder has said why
    except BaseException:
        process.kill()
        raise
    finally:
        _, complaint = process.communicate()
    if process.returncode or not path.is_file():
        raise OutputError(f"the demo's clip could not be encoded: {_last_line(complaint)}")


def _command(path: Path) -> list[str]:
    launcher = shutil.which("gst-launch-1.0")
    if launcher is None:
        raise MissingPartError("gst-launch-1.0 is missing: apt-get install gstreamer1.0-tools")
    width, height = SIZE_WH
    picture = f"width={width} height={height} format=i420 framerate={FPS}/1 colorimetry=bt601"
    encoder = f"x264enc bitrate={BITRATE_KBIT} speed-preset=veryfast bframes=0 key-int-max={2 * FPS}"
    line = f"fdsrc blocksize={width * height * 3 // 2} ! rawvideoparse {picture} ! queue ! {encoder}"
    line += " ! h264parse ! mp4mux faststart=true ! filesink"
    return [launcher, "-q", "-e", *line.split(), f"location={path}"]


def _last_line(complaint: bytes) -> str:
    lines = [line for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "the encoder gave no reason"
