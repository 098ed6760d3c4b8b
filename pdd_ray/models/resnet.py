"""ResNet-10 and ResNet-18 for small images, in the two families of the PDD paper's Table 2."""

from collections import OrderedDict

from torch import Tensor, nn

from pdd_ray.models.layers import NORMS
from pdd_ray.models.plan import (
    MTT_POOL,
    RESNET_BLOCKS,
    RESNET_STRIDES,
    RESNET_WIDTHS,
    NetworkPlan,
    needs_projection,
)
from pdd_ray.specs.model import ResNetSpec


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with norms, and a shortcut around them (He et al. 2016, figure 5).

    The shortcut is the identity, or a 1x1 convolution with norm where the map changes;
    ``shortcut`` is its name, which differs between the families.
    """

    def __init__(
        self, spec: ResNetSpec, channels: tuple[int, int], stride: int, shortcut: str
    ) -> None:
        super().__init__()
        channels_in, channels_out = channels
        self.conv1 = _convolution(channels_in, channels_out, 3, stride)
        self.bn1 = _norm(spec, channels_out)
        self.conv2 = _convolution(channels_out, channels_out, 3, 1)
        self.bn2 = _norm(spec, channels_out)
        self.relu = nn.ReLU()
        self._shortcut = shortcut
        projection = nn.Sequential()
        if needs_projection(channels_in, channels_out, stride):
            projection.append(_convolution(channels_in, channels_out, 1, stride))
            projection.append(_norm(spec, channels_out))
        self.add_module(shortcut, projection)

    def forward(self, images: Tensor) -> Tensor:
        """Return the block's output map [N, channels_out, H / stride, W / stride]."""
        residual = self.relu(self.bn1(self.conv1(images)))
        residual = self.bn2(self.conv2(residual))
        output: Tensor = self.relu(residual + self.get_submodule(self._shortcut)(images))
        return output


def build_resnet(spec: ResNetSpec, plan: NetworkPlan, num_classes: int) -> nn.Sequential:
    """Return the network with the parameter names of its family's authors.

    Family `mtt`: conv1, bn1, layer1 .. layer4 with `shortcut`, classifier. Family `idc`: layer0,
    layer1 .. layer4 with `downsample`, fc (specification, section 2.2).
    """
    stem_width = RESNET_WIDTHS[spec.family][0]
    channels = plan.convolutions[0].channels_in
    stem = OrderedDict(
        conv1=_convolution(channels, stem_width, 3, 1), bn1=_norm(spec, stem_width), relu=nn.ReLU()
    )
    classifier = nn.Linear(plan.features, num_classes)
    if spec.family == "mtt":
        stages = _stages(spec, "shortcut")
        head = OrderedDict[str, nn.Module](
            pool=nn.AvgPool2d(MTT_POOL), flatten=nn.Flatten(), classifier=classifier
        )
        return nn.Sequential(OrderedDict[str, nn.Module](**stem, **stages, **head))
    stages = _stages(spec, "downsample")
    head = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=classifier)
    return nn.Sequential(OrderedDict[str, nn.Module](layer0=nn.Sequential(stem), **stages, **head))


def _stages(spec: ResNetSpec, shortcut: str) -> dict[str, nn.Module]:
    widths = RESNET_WIDTHS[spec.family]
    channels = widths[0]
    stages: dict[str, nn.Module] = {}
    for index, (width, stage_stride) in enumerate(zip(widths, RESNET_STRIDES, strict=True), 1):
        blocks = nn.Sequential()
        for block in range(RESNET_BLOCKS[spec.depth]):
            stride = stage_stride if block == 0 else 1
            blocks.append(BasicBlock(spec, (channels, width), stride, shortcut))
            channels = width
        stages[f"layer{index}"] = blocks
    return stages


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False
    )


def _norm(spec: ResNetSpec, channels: int) -> nn.Module:
    return NORMS[spec.norm](channels, 0, 0)
