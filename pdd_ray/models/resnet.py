"""The modules of ResNets in the families of the PDD paper's Table 2 and of IDC's ImageNet."""

from collections import OrderedDict

from torch import Tensor, nn

from pdd_ray.models.layers import NORMS
from pdd_ray.models.networks.resnet import (
    MTT_POOL,
    WIDTHS,
    Block,
    ResNetSpec,
    Stem,
    head_of,
    stages_of,
    stem_of,
)
from pdd_ray.models.plan import Shape


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with norms, and a shortcut around them (He et al. 2016, figure 5).

    The shortcut is the identity, or a 1x1 convolution with norm where the map changes;
    ``shortcut`` is its name, which differs between the families. A map is halved by the stride of
    a convolution, or by average pooling: after the first ReLU, and in the shortcut before its norm.
    """

    def __init__(self, spec: ResNetSpec, block: Block, shortcut: str) -> None:
        super().__init__()
        averages = spec.downsampling == "average" and block.stride > 1
        stride = 1 if averages else block.stride
        channels_in, channels_out = block.channels_in, block.channels_out
        self.conv1 = _convolution(channels_in, channels_out, 3, stride)
        self.bn1 = _norm(spec, channels_out)
        self.conv2 = _convolution(channels_out, channels_out, 3, 1)
        self.bn2 = _norm(spec, channels_out)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(block.stride) if averages else nn.Identity()
        self._shortcut = shortcut
        projection = nn.Sequential()
        if block.projects:
            projection.append(_convolution(channels_in, channels_out, 1, stride))
            if averages:
                projection.append(nn.AvgPool2d(block.stride))
            projection.append(_norm(spec, channels_out))
        self.add_module(shortcut, projection)

    def forward(self, images: Tensor) -> Tensor:
        """Return the block's output map [N, channels_out, H / stride, W / stride]."""
        residual = self.pool(self.relu(self.bn1(self.conv1(images))))
        residual = self.bn2(self.conv2(residual))
        output: Tensor = self.relu(residual + self.get_submodule(self._shortcut)(images))
        return output


def build_resnet(spec: ResNetSpec, shape: Shape, num_classes: int) -> nn.Sequential:
    """Return the network with the parameter names of its family's authors.

    Family `mtt`: conv1, bn1, layer1 .. layer4 with `shortcut`, classifier. The families of IDC:
    layer0, layer1 .. layer4 with `downsample`, fc (specification, section 2.2).
    """
    stem = _stem(spec, stem_of(spec, shape), shape[0])
    classifier = nn.Linear(spec.plan(shape).features, num_classes)
    if spec.family == "mtt":
        head = OrderedDict[str, nn.Module]()
        if head_of(spec) == "window":
            head["pool"] = nn.AvgPool2d(MTT_POOL)
        head.update(flatten=nn.Flatten(), classifier=classifier)
        return nn.Sequential(OrderedDict(**stem, **_stages(spec, "shortcut"), **head))
    return nn.Sequential(
        OrderedDict(
            layer0=nn.Sequential(stem),
            **_stages(spec, "downsample"),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=classifier,
        )
    )


def _stem(spec: ResNetSpec, stem: Stem, channels: int) -> OrderedDict[str, nn.Module]:
    width = WIDTHS[spec.family][0]
    modules = OrderedDict[str, nn.Module](
        conv1=_convolution(channels, width, stem.kernel, stem.stride),
        bn1=_norm(spec, width),
        relu=nn.ReLU(),
    )
    if stem.pooling == "average":
        modules["pool"] = nn.AvgPool2d(stem.reduction)
    elif stem.pooling == "max":
        modules["pool"] = nn.MaxPool2d(3, stem.reduction, padding=1)
    return modules


def _stages(spec: ResNetSpec, shortcut: str) -> dict[str, nn.Module]:
    return {
        f"layer{number}": nn.Sequential(*(BasicBlock(spec, block, shortcut) for block in stage))
        for number, stage in enumerate(stages_of(spec), 1)
    }


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False
    )


def _norm(spec: ResNetSpec, channels: int) -> nn.Module:
    return NORMS[spec.norm](channels, 0, 0)
