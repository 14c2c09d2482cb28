"""Scenes in the pixels of the picture they are drawn on.

After a change of resolution the video keeps its first size: later frames are letterboxed into it, while their scenes
still speak of the frame that was analysed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stream.types import FaceScore, Scene


@dataclass(frozen=True)
class Letterbox:
    """Where a frame lies in a picture of another size: scaled by one factor, in the middle."""

    scale: float
    left: float
    top: float

    @classmethod
    def of(cls, frame_wh: tuple[int, int], picture_wh: tuple[int, int]) -> Letterbox:
        """Of a frame fitted into a picture; all four sides over 0."""
        (width, height), (room_x, room_y) = frame_wh, picture_wh
        scale = min(room_x / width, room_y / height)
        return cls(scale, (room_x - scale * width) / 2, (room_y - scale * height) / 2)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """From the frame's pixels to the picture's."""
        return self.left + self.scale * x, self.top + self.scale * y

    def face(self, face: FaceScore) -> FaceScore:
        """The same face with its box and velocity in the picture's pixels."""
        left, top, right, bottom = face.xyxy
        dx, dy = face.velocity
        box = (*self.point(left, top), *self.point(right, bottom))
        return replace(face, xyxy=box, velocity=(self.scale * dx, self.scale * dy))


def fitted(scene: Scene, picture_wh: tuple[int, int]) -> Scene:
    """The scene for a picture of ``picture_wh``; the same object when its boxes already are in those pixels."""
    if scene.frame_wh == picture_wh or min(scene.frame_wh) <= 0:
        return scene
    letterbox = Letterbox.of(scene.frame_wh, picture_wh)
    return replace(scene, faces=tuple(letterbox.face(face) for face in scene.faces), frame_wh=picture_wh)


class SceneFit:
    """Fits each scene once: whoever looks for a new scene by identity sees one, not one for each frame."""

    def __init__(self) -> None:
        self._given: Scene | None = None
        self._fitted: Scene | None = None

    def of(self, scene: Scene, picture_wh: tuple[int, int]) -> Scene:
        """``fitted``, remembered for the newest scene and size."""
        if self._fitted is None or scene is not self._given or self._fitted.frame_wh != picture_wh:
            self._given, self._fitted = scene, fitted(scene, picture_wh)
        return self._fitted
