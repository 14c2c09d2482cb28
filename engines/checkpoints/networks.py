"""Catalog names to fresh networks, and networks to the names that checkpoints know them by."""

from __future__ import annotations

from importlib import import_module

from engines.catalog import NETWORKS, CatalogRow
from engines.errors import CheckpointError
from engines.models.backbone import Backbone
from engines.models.gru_head import GruHead, MeanLogitHead, mean_logit_head

Head = GruHead | MeanLogitHead
WIDEST = 65_536
"""Features that a head may be asked to read: a damaged file must not make it allocate the machine."""


def network_class(name: str) -> type[Backbone]:
    """The class of a backbone. Raises CheckpointError for an unknown name."""
    if name not in NETWORKS:
        raise CheckpointError(f"no network {name!r}: use one of {', '.join(NETWORKS)}")
    module, _, attribute = NETWORKS[name].partition(":")
    found: type[Backbone] = getattr(import_module(module), attribute)
    return found


def network_name(backbone: Backbone) -> str:
    """The name of a backbone's class. Raises CheckpointError for a class that the catalog does not know."""
    kind = type(backbone)
    for name, factory in NETWORKS.items():
        if factory == f"{kind.__module__}:{kind.__qualname__}":
            return name
    raise CheckpointError(f"{kind.__qualname__} is no network of the catalog: add it to engines/catalog.py")


def new_backbone(name: str, style: str | None = None, *, frame_head: bool = True, size: int | None = None) -> Backbone:
    """A fresh backbone; ``style`` None takes its own, ``size`` None its usual one where it has but one.

    Raises CheckpointError when there is none of that kind.
    """
    network = network_class(name)
    try:
        return network.build(network.STYLES[0] if style is None else style, frame_head=frame_head, size=size)
    except ValueError as error:
        raise CheckpointError(f"no such {name}: {error}") from None


def new_head(name: str | None, feature_dim: int, backbone: Backbone | None = None) -> Head | None:
    """A fresh ``gru`` head, the ``mean_logit`` head of the backbone's own frame head, or None for None."""
    if name is None:
        return None
    if name == "gru" and 0 < feature_dim <= WIDEST:
        return GruHead(feature_dim)
    if name == "mean_logit" and backbone is not None and backbone.frame_head is not None:
        return mean_logit_head(backbone.frame_head)
    raise CheckpointError(f"no head {name!r} over {feature_dim} features: use gru, or mean_logit over a frame head")


def row_networks(row: CatalogRow, style: str | None = None) -> tuple[Backbone | None, Head | None]:
    """The row's networks with their first weights."""
    backbone = None if row.network is None else new_backbone(row.network, style, frame_head=row.frame_head)
    return backbone, new_head(row.head, row.feature_dim, backbone)
