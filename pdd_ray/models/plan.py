"""The convolutions and feature maps of a network, known without torch."""

from collections.abc import Iterator
from dataclasses import dataclass

from pdd_ray.errors import ConfigError
from pdd_ray.specs.model import ConvNetSpec, ModelSpec, ResNetSpec

GROUPS = 4
"""Groups of norm `group` (DC's ConvNet variants, Zhao et al. 2021, supplementary)."""
RESNET_BLOCKS = {10: 1, 18: 2}
"""Basic blocks per stage by depth (specification, section 2.2)."""
RESNET_WIDTHS = {"mtt": (64, 128, 256, 512), "idc": (32, 64, 128, 256)}
"""Channels of the four stages by family (specification, section 2.2)."""
RESNET_STRIDES = (1, 2, 2, 2)
MTT_POOL = 4
"""Side of the average pooling before the classifier of family `mtt`."""

Shape = tuple[int, int, int]
"""Channels, height, width of an image."""


@dataclass(frozen=True)
class Convolution:
    """One convolution; ``height`` and ``width`` are those of its output map."""

    channels_in: int
    channels_out: int
    kernel: int
    stride: int
    padding: int
    height: int
    width: int


@dataclass(frozen=True)
class NetworkPlan:
    """The convolutions in order of execution, and the number of inputs of the classifier."""

    convolutions: tuple[Convolution, ...]
    features: int


def plan_network(spec: ModelSpec, shape: Shape) -> NetworkPlan:
    """Return the layers of the network ``spec`` for images of ``shape``.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    if isinstance(spec, ConvNetSpec):
        return _plan_convnet(spec, shape)
    return _plan_resnet(spec, shape)


def _plan_convnet(spec: ConvNetSpec, shape: Shape) -> NetworkPlan:
    if spec.norm == "group" and spec.width % GROUPS:
        msg = f"norm 'group' needs a width divisible by {GROUPS}, got width {spec.width}"
        raise ConfigError(msg)
    channels, height, width = shape
    convolutions = []
    for block in range(spec.depth):
        padding = 3 if block == 0 and channels == 1 else 1
        height, width = height + 2 * padding - 2, width + 2 * padding - 2
        convolutions.append(Convolution(channels, spec.width, 3, 1, padding, height, width))
        channels = spec.width
        if spec.pooling != "none":
            height, width = height // 2, width // 2
        if height < 1 or width < 1:
            raise ConfigError(_too_deep(spec, shape, block))
    return NetworkPlan(tuple(convolutions), channels * height * width)


def _too_deep(spec: ConvNetSpec, shape: Shape, blocks: int) -> str:
    return (
        f"a ConvNet of depth {spec.depth} is too deep for images of shape {shape}: "
        f"nothing is left after block {blocks + 1}; use depth <= {blocks}"
    )


def _plan_resnet(spec: ResNetSpec, shape: Shape) -> NetworkPlan:
    convolutions = tuple(_resnet_convolutions(spec, shape))
    last = convolutions[-1]
    sides = (last.height, last.width)
    if spec.family == "mtt" and any(side // MTT_POOL != 1 for side in sides):
        msg = (
            f"a ResNet of family 'mtt' takes images of 25 to 56 pixels a side (its {MTT_POOL}x"
            f"{MTT_POOL} average pooling must leave one value), got shape {shape}; "
            "use family 'idc' or a ConvNet"
        )
        raise ConfigError(msg)
    if spec.norm == "instance" and sides == (1, 1):
        msg = (
            f"images of shape {shape} leave 1x1 maps in the last stage of a ResNet, which "
            "instance normalisation sets to a constant; use norm 'batch', a ConvNet or images "
            "of more than 8 pixels a side"
        )
        raise ConfigError(msg)
    return NetworkPlan(convolutions, last.channels_out)


def _resnet_convolutions(spec: ResNetSpec, shape: Shape) -> Iterator[Convolution]:
    channels, height, width = shape
    widths = RESNET_WIDTHS[spec.family]
    yield Convolution(channels, widths[0], 3, 1, 1, height, width)
    channels = widths[0]
    for stage_width, stage_stride in zip(widths, RESNET_STRIDES, strict=True):
        for block in range(RESNET_BLOCKS[spec.depth]):
            stride = stage_stride if block == 0 else 1
            height, width = -(-height // stride), -(-width // stride)
            if needs_projection(channels, stage_width, stride):
                yield Convolution(channels, stage_width, 1, stride, 0, height, width)
            yield Convolution(channels, stage_width, 3, stride, 1, height, width)
            yield Convolution(stage_width, stage_width, 3, 1, 1, height, width)
            channels = stage_width


def needs_projection(channels_in: int, channels_out: int, stride: int) -> bool:
    """Return whether a residual block's shortcut is a 1x1 convolution and not the identity."""
    return stride != 1 or channels_in != channels_out
