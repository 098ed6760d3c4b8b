"""The maps inside a ConvNet, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.specs.model import ConvNetSpec


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
