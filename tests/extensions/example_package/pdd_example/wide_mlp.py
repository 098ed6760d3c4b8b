"""A multilayer perceptron with one wide hidden layer."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pdd_ray.models.plan import NetworkPlan, Shape
from pdd_ray.models.spec import NetworkSpec

if TYPE_CHECKING:
    from torch import nn


class WideMlpSpec(NetworkSpec):
    """One hidden layer of `width` units."""

    name: Literal["wide_mlp"] = "wide_mlp"
    """The architecture."""
    width: int = Field(default=256, ge=1)
    """Units of the hidden layer."""

    @property
    def label(self) -> str:
        """Short name for tables and folders; different for networks that differ."""
        return f"wide_mlp-w{self.width}"

    def plan(self, shape: Shape) -> NetworkPlan:
        """Return the layers for images of ``shape``: what they cost is estimated from these."""
        hidden = ((math.prod(shape), self.width),)
        return NetworkPlan((), features=self.width, norm_parameters=0, hidden=hidden)

    def build(self, shape: Shape, num_classes: int) -> nn.Sequential:
        """Return the network; the last module is the classifier."""
        from torch import nn

        return nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=nn.Linear(math.prod(shape), self.width),
                relu=nn.ReLU(),
                classifier=nn.Linear(self.width, num_classes),
            )
        )
