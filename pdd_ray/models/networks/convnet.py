"""The ConvNet of the distillation literature (Gidaris and Komodakis 2018)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pdd_ray.core.errors import ConfigError
from pdd_ray.models.plan import (
    GROUPS,
    Convolution,
    NetworkPlan,
    Norm,
    Shape,
    map_values,
    norm_parameters,
)
from pdd_ray.models.spec import NetworkSpec

if TYPE_CHECKING:
    from torch import nn


class ConvNetSpec(NetworkSpec):
    """The ConvNet of the distillation literature: `depth` blocks and a linear classifier."""

    name: Literal["convnet"] = "convnet"
    """The architecture."""
    width: int = Field(default=128, ge=1)
    """Channels of every convolution."""
    depth: int = Field(default=3, ge=1)
    """Number of blocks; 3 for 32x32 images, 4 for 64x64."""
    norm: Norm = "instance"
    """Normalisation after each convolution."""
    pooling: Literal["average", "max", "none"] = "average"
    """2x2 pooling at the end of each block."""
    activation: Literal["relu", "sigmoid", "leaky_relu", "swish"] = "relu"
    """Non-linearity of each block."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        variant = "".join(
            f"-{value}"
            for value, usual in (
                (self.norm, "instance"),
                (self.pooling, "average"),
                (self.activation, "relu"),
            )
            if value != usual
        )
        return f"convnet-w{self.width}-d{self.depth}{variant}"

    def plan(self, shape: Shape) -> NetworkPlan:
        """Return the layers of a ConvNet for images of ``shape``.

        Raises:
            ConfigError: nothing is left of such images, or norm `group` does not fit the width.
        """
        if self.norm == "group" and self.width % GROUPS:
            msg = f"norm 'group' needs a width divisible by {GROUPS}, got width {self.width}"
            raise ConfigError(msg)
        channels, height, width = shape
        convolutions = []
        for block in range(self.depth):
            padding = 3 if block == 0 and channels == 1 else 1
            height, width = height + 2 * padding - 2, width + 2 * padding - 2
            convolutions.append(
                Convolution(channels, self.width, 3, 1, padding, height, width, True)
            )
            channels = self.width
            if self.pooling != "none":
                height, width = height // 2, width // 2
            if height < 1 or width < 1:
                raise ConfigError(_too_deep(self, shape, block))
        pooled = convolutions if self.pooling != "none" else []
        return NetworkPlan(
            tuple(convolutions),
            channels * height * width,
            norm_parameters(self.norm, convolutions),
            poolings=len(pooled),
            pooled=sum(map(map_values, pooled)),
        )

    def build(self, shape: Shape, num_classes: int) -> nn.Sequential:
        """Return `features` (blocks of convolution, norm, activation, pooling), then `classifier`.

        Names and order of the parameters are those of MTT, DC and PDD, so that their files can be
        read (specification, section 2.1); a part that is `none` takes no place in `features`.
        """
        from torch import nn

        from pdd_ray.models.layers import convolution_block

        plan = self.plan(shape)
        features = [
            layer
            for item in plan.convolutions
            for layer in convolution_block(item, self.norm, self.activation, self.pooling)
        ]
        return nn.Sequential(
            OrderedDict(
                features=nn.Sequential(*features),
                flatten=nn.Flatten(),
                classifier=nn.Linear(plan.features, num_classes),
            )
        )


def _too_deep(spec: ConvNetSpec, shape: Shape, blocks: int) -> str:
    return (
        f"a ConvNet of depth {spec.depth} is too deep for images of shape {shape}: "
        f"nothing is left after block {blocks + 1}; use depth <= {blocks}"
    )
