"""The random initial network theta_1 of each chain of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core.seeding import generator
from pdd_ray.models.factory import create_model

if TYPE_CHECKING:
    from torch import nn

    from pdd_ray.models.registry import ModelSpec


def random_start(
    spec: ModelSpec, shape: tuple[int, int, int], num_classes: int, seed: int, chain: int
) -> nn.Module:
    """Return the network theta_1 of ``chain``: its own random initialisation."""
    return create_model(spec, shape, num_classes, generator(seed, "chain", chain, "start"))
