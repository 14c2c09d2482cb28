"""Where the analysis leaves the newest scene and the overlay finds it."""

from __future__ import annotations

from stream.types import Scene


class SceneBoard:
    """One stream's newest scene. One writer, any readers: a reference assignment is atomic in Python."""

    def __init__(self, scene: Scene | None = None) -> None:
        self._scene = scene

    def publish(self, scene: Scene) -> None:
        self._scene = scene

    def newest(self) -> Scene | None:
        return self._scene
