"""The modules of IDC's DenseNet-BC for small images (Huang et al. 2017)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from pdd_ray.models.networks.densenet import BOTTLENECK, DENSE_LAYERS, GROWTH, DenseNetSpec
from pdd_ray.models.plan import Shape


class DenseLayer(nn.Module):
    """Two convolutions with norm and ReLU before each; their output stands before the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, BOTTLENECK, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(BOTTLENECK)
        self.conv2 = nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Return the map [N, GROWTH + channels, H, W] of ``images`` [N, channels, H, W]."""
        added = self.conv1(self.relu(self.bn1(images)))
        added = self.conv2(self.relu(self.bn2(added)))
        return torch.cat([added, images], dim=1)


def build_densenet(spec: DenseNetSpec, shape: Shape, num_classes: int) -> nn.Sequential:
    """Return conv1, dense1, trans1, ..., dense4, bn, ReLU, global average pooling, linear.

    Names and order of the parameters are those of IDC's code. It pools the last map with a window
    of 4x4, all of it for the 32x32 images that it was made for; here the window is the map.
    """
    plan = spec.plan(shape)
    stem = plan.convolutions[0]
    channels = stem.channels_out
    modules = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(stem.channels_in, channels, stem.kernel, padding=stem.padding, bias=False)
    )
    for number, layers in enumerate(DENSE_LAYERS, 1):
        if number > 1:
            modules[f"trans{number - 1}"] = _transition(channels)
            channels //= 2
        modules[f"dense{number}"] = nn.Sequential(
            *(DenseLayer(channels + layer * GROWTH) for layer in range(layers))
        )
        channels += layers * GROWTH
    modules["bn"] = nn.BatchNorm2d(channels)
    modules["relu"] = nn.ReLU()
    modules["pool"] = nn.AdaptiveAvgPool2d(1)
    modules["flatten"] = nn.Flatten()
    modules["linear"] = nn.Linear(plan.features, num_classes)
    return nn.Sequential(modules)


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            bn=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
            conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )
