"""Features of networks: the embedding before the classifier, and the maps of a ConvNet's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.models.networks.convnet import ConvNetSpec
    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec


class Embedding:
    """``embedding(theta, images)`` gives what the classifier gets of images: [N, D].

    Args:
        model: The network; the number of its classes has no part in this.
        shape: (C, H, W) of images.
        device: Where it is used.
    """

    def __init__(self, model: ModelSpec, shape: Shape, device: str) -> None:
        skeleton = create_model(model, shape, 1, torch.Generator())
        # A slice of a Sequential is one, and the classifier's parameters are the last of theta.
        self._network = FlatModel(skeleton[:-1].to(device))

    def __call__(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return the features [N, D] of ``images`` [N, C, H, W] under ``theta`` [P]."""
        return self._network(theta[: self._network.numel], images)


class LayerFeatures(nn.Module):
    """Gives the maps of a ConvNet: its blocks before their pooling, then the last after it.

    With D blocks these are the features f_1 .. f_{D+1} of CAFE (specification of other methods,
    section 6); the last one, flattened, is what the classifier gets. Without pooling the last two
    are equal. The parameters are those of the network without its classifier, in the same order
    and under the same names.

    Args:
        spec: The ConvNet.
        model: The network that it describes.
    """

    def __init__(self, spec: ConvNetSpec, model: nn.Sequential) -> None:
        super().__init__()
        self.features = cast("nn.Sequential", model[0])
        self._length = len(self.features) // spec.depth
        self._activation = 1 if spec.norm == "none" else 2

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of ``images`` [N, C, H, W], each [N, width, height, width of the map]."""
        maps = []
        values = images
        for position, layer in enumerate(self.features):
            values = layer(values)
            if position % self._length == self._activation:
                maps.append(values)
        return (*maps, values)
