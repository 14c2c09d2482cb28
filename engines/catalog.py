"""The models this project knows, as data, and how to load one without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.engine_choice import AUTO, Graph, Opened, open_fastest
from engines.errors import CheckpointError
from engines.model_store import SHIPPED, ModelPlace, find_model
from engines.model_store import SPEC_FILE as SPEC_FILE
from engines.runtime.ports import Backend
from engines.spec import ModelSpec, PixelSpec, load_spec, verify_files
from engines.store import BUILT

BACKBONE_FILE, HEAD_FILE = "backbone.onnx", "head.onnx"
GRAPHS = (BACKBONE_FILE, HEAD_FILE)
CHECKPOINT_FILE = "checkpoint.safetensors"
"""The trained network beside the graphs that were made of it."""

NETWORKS = {
    "lite0": "engines.models.efficientnet_lite:FrameClassifier",
    "xception": "engines.models.xception:Xception",
    "inception-v3": "engines.models.inception_v3:InceptionV3",
    "seed-cnn": "engines.models.cnn:SeedCnn",
    "seed-cnn-large": "engines.models.cnn:SeedCnnLarge",
    "meso4": "engines.models.meso4:Meso4",
}
"""Backbones by the name that checkpoints know them by: module and class, imported on use, for the live path has no
torch."""


@dataclass(frozen=True)
class CatalogRow:
    """One model: what it is, and what its spec says before anything was measured of it."""

    name: str
    kind: Literal["image", "features", "head", "video"]
    """Scores single pictures; gives features only; reads features only; scores windows of features."""
    summary: str
    parameters: int
    """As Keras counts: trainable numbers and the batch norms' running statistics."""
    pixels: PixelSpec
    """Of its input; of a head alone: what the backbone that it reads takes."""
    feature_dim: int
    network: str | None
    """Its backbone, of NETWORKS; None for a head alone."""
    frame_head: bool = True
    """Whether its backbone says a logit of each crop by itself."""
    positive_class: Literal["fake", "real"] = "fake"
    use_instead: str = ""
    """Of a part that cannot score by itself: the rows that can, in words."""
    max_logit_delta: float = 0.02
    """Largest |Δlogit| a runtime may show against the torch reference."""

    @property
    def head(self) -> Literal["gru", "mean_logit"] | None:
        """What makes one logit of a window."""
        heads: dict[str, Literal["gru", "mean_logit"] | None]
        heads = {"image": "mean_logit", "features": None, "head": "gru", "video": "gru"}
        return heads[self.kind]

    @property
    def input_size(self) -> int | None:
        """Side of its input in pixels; None for a head alone."""
        return None if self.kind == "head" else self.pixels.size

    @property
    def factory(self) -> str | None:
        """``module:class`` of its backbone."""
        return None if self.network is None else NETWORKS[self.network]

    @property
    def folder(self) -> Path:
        """Where its weights are shipped, if they are."""
        return SHIPPED / self.name


def _scaled(size: int, mean: float, std: float, colour: Literal["rgb", "bgr"] = "rgb") -> PixelSpec:
    """``(x - mean) / std`` of 0-255, alike in all three colours."""
    return PixelSpec(size=size, colour=colour, mean=(mean,) * 3, std=(std,) * 3)


_RAW_BGR = _scaled(224, 0.0, 1.0, "bgr")
_KERAS_299 = _scaled(299, 127.5, 127.5)

CATALOG = {
    row.name: row
    for row in (
        CatalogRow(
            "lite0-gru",
            "video",
            "EfficientNet-lite0 features, GRU head over 20 samples",
            parameters=3_477_314,
            pixels=_scaled(224, 127.0, 128.0),
            feature_dim=1280,
            network="lite0",
        ),
        CatalogRow(
            "xception-gru",
            "video",
            "Xception features, GRU head over 20 samples",
            parameters=20_961_353,
            pixels=_KERAS_299,
            feature_dim=2048,
            network="xception",
            frame_head=False,
        ),
        CatalogRow(
            "inception-gru",
            "video",
            "Inception v3 features, GRU head over 20 samples",
            parameters=21_902_657,
            pixels=_KERAS_299,
            feature_dim=2048,
            network="inception-v3",
            frame_head=False,
        ),
        CatalogRow(
            "xception",
            "image",
            "Xception with one dense unit, mean over the window",
            parameters=20_863_529,
            pixels=_KERAS_299,
            feature_dim=2048,
            network="xception",
        ),
        CatalogRow(
            "seed-cnn",
            "image",
            "three convolutions, dense 128-64-1, mean over the window",
            parameters=51_619_585,
            pixels=_RAW_BGR,
            feature_dim=64,
            network="seed-cnn",
        ),
        CatalogRow(
            "seed-cnn-large",
            "image",
            "four convolutions, dense 512-256-128-64-1, mean over the window",
            parameters=205_932_673,
            pixels=_RAW_BGR,
            feature_dim=64,
            network="seed-cnn-large",
        ),
        CatalogRow(
            "meso4",
            "image",
            "MesoNet's Meso4, mean over the window; its logit says real",
            parameters=28_073,
            pixels=_scaled(256, 0.0, 255.0),
            feature_dim=16,
            network="meso4",
            positive_class="real",
        ),
        CatalogRow(
            "inception-v3",
            "features",
            "Inception v3 without its classifier",
            parameters=21_802_784,
            pixels=_KERAS_299,
            feature_dim=2048,
            network="inception-v3",
            frame_head=False,
            use_instead="inception-gru",
        ),
        CatalogRow(
            "gru-head",
            "head",
            "GRU 16, GRU 8, dense 8-1 over 20 samples of 2048 features",
            parameters=99_873,
            pixels=_KERAS_299,
            feature_dim=2048,
            network=None,
            frame_head=False,
            use_instead="inception-gru or xception-gru",
        ),
    )
}
DEFAULT_MODEL = "lite0-gru"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run: its promise and its two graphs."""

    spec: ModelSpec
    backbone: Backend
    """``crops`` (N, 3, S, S) float32 -> ``features`` (N, F) and, where it has a frame head, ``frame_logit`` (N, 1)."""
    head: Backend
    """``features`` (N, T, F), ``mask`` (N, T) float32 -> ``logit`` (N, 1)."""
    why: str = ""
    """Why the backbone runs on what it runs on, in one line."""
    precision: str = "fp32"
    """Of the backbone."""
    engine: str = ""
    """Digest of the backbone's engine, where one was built for this machine; "" is the source graph."""

    @property
    def is_engine(self) -> bool:
        return bool(self.engine)

    def close(self) -> None:
        self.backbone.close()
        self.head.close()


def model_folder(name_or_folder: str) -> Path:
    """The folder of a catalog name or of a user's own model, or the folder itself.

    Raises CheckpointError when there is none, or no weights for a known name.
    """
    found = find_model(name_or_folder)
    folder = Path(name_or_folder).expanduser()
    if found is not None and (name_or_folder in CATALOG or not folder.is_dir()):
        return found.folder
    if name_or_folder in CATALOG:
        raise CheckpointError(_without_weights(name_or_folder))
    if folder.is_dir():
        return folder
    raise CheckpointError(f"no model {name_or_folder!r}: use one of {', '.join(CATALOG)}, or a model's folder")


def models_here() -> dict[str, ModelPlace]:
    """Every catalog name that has weights on this machine, and where, in the catalog's order."""
    return {name: place for name in CATALOG if (place := find_model(name)) is not None}


def graphs_of(spec: ModelSpec) -> tuple[str, ...]:
    """The graphs that its spec names: both, or one of a part. Raises CheckpointError when there is none."""
    named = tuple(file for file in GRAPHS if file in spec.files)
    if not named:
        raise CheckpointError(f"{spec.name} has no graph in its spec.json: export the model again")
    return named


def open_model(
    name_or_folder: str = DEFAULT_MODEL, *, backend: str = AUTO, threads: int = 0, engines_root: Path = BUILT
) -> LoadedModel:
    """Check the files against their hashes and load them.

    The fastest current engine under ``engines_root`` (made by build_engines.py) is preferred to the shipped graph; an
    explicit ``backend`` is the backbone's: the head is small and takes what is fastest.
    Raises SpecError, CheckpointError or RuntimeMissingError with one line that says what to do.
    """
    _refuse_part(name_or_folder)
    folder = model_folder(name_or_folder)
    spec = load_spec(folder / SPEC_FILE)
    _refuse_part(spec.name)
    if spec.aggregation is None:
        raise CheckpointError(f"{spec.name} gives features only and cannot score: use a model with a head")
    verify_files(folder, spec, GRAPHS)
    backbone = _opened(spec, folder / BACKBONE_FILE, engines_root, backend, threads)
    head = _opened(spec, folder / HEAD_FILE, engines_root, AUTO, 1)
    return LoadedModel(spec, backbone.backend, head.backend, backbone.why, backbone.precision, backbone.engine)


def graph_of(spec: ModelSpec, folder: Path, file: str) -> Graph:
    """One of a model's graphs, as engines are keyed by it."""
    judged_by = spec.model_dump_json(
        include={"pixels", "positive_class", "calibration", "frame_calibration", "verdict"}
    )
    promise = hashlib.sha256(f"{judged_by} {spec.files.get(HEAD_FILE)}".encode()).hexdigest()[:16]
    return Graph(spec.name, file, folder / file, spec.files[file], promise)


def _without_weights(name: str) -> str:
    ways = f"import yours (unmask import FILE --as {name})"
    if CATALOG[name].kind not in ("image", "video"):
        return f"no weights for {name} here: {ways}"
    trained = f"train it (unmask train configs/training/{name}.yaml --data DIR --out DIR)"
    return f"no weights for {name} here: {ways} or {trained}"


def _refuse_part(name: str) -> None:
    """Raise CheckpointError for a catalog row that cannot score by itself."""
    row = CATALOG.get(name)
    if row is not None and row.use_instead:
        does = "gives features only" if row.kind == "features" else "reads features only"
        raise CheckpointError(f"{name} {does} and cannot score by itself: use {row.use_instead}")


def _opened(spec: ModelSpec, path: Path, root: Path, backend: str, threads: int) -> Opened:
    return open_fastest(graph_of(spec, path.parent, path.name), backend=backend, threads=threads, root=root)
