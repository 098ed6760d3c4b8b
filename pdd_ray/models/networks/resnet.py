"""ResNet-10 and ResNet-18 in their families (specification, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pdd_ray.core.errors import ConfigError
from pdd_ray.models.plan import Convolution, NetworkPlan, Shape, norm_parameters, too_small
from pdd_ray.models.spec import NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import nn

BLOCKS: Final = {10: 1, 18: 2}
"""Basic blocks per stage by depth."""
WIDTHS: Final = {
    "mtt": (64, 128, 256, 512),
    "idc": (32, 64, 128, 256),
    "idc_imagenet": (64, 128, 256, 512),
}
"""Channels of the four stages by family."""
STRIDES: Final = (1, 2, 2, 2)
MTT_POOL: Final = 4
"""Side of the average pooling before the classifier of family `mtt`."""


@dataclass(frozen=True)
class Stem:
    """The convolution before the first stage; pooling divides the sides by ``reduction``.

    Average pooling has windows of that size; max-pooling has overlapping ones of 3x3.
    """

    kernel: int = 3
    stride: int = 1
    pooling: Literal["none", "average", "max"] = "none"
    reduction: int = 1


@dataclass(frozen=True)
class Block:
    """A basic block; ``stride`` is what its sides are divided by."""

    channels_in: int
    channels_out: int
    stride: int

    @property
    def projects(self) -> bool:
        """Whether the shortcut is a 1x1 convolution and not the identity."""
        return self.stride != 1 or self.channels_in != self.channels_out


class ResNetSpec(NetworkSpec):
    """ResNet-10 or ResNet-18: full width in Table 2's MTT rows, half in its IDC rows."""

    name: Literal["resnet"] = "resnet"
    """The architecture."""

    code: ClassVar[str] = "pdd_ray.models.resnet:build_resnet"
    depth: Literal[10, 18] = 18
    """Number of layers."""
    family: Literal["mtt", "idc", "idc_imagenet"] = "mtt"
    """`mtt`: widths 64..512, 4x4 average pooling (none with downsampling `average`); `idc`: widths
    32..256, global pooling; `idc_imagenet`: widths 64..512, global pooling, and a first layer that
    reduces images of more than 64 pixels a side."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation; Table 2 uses `instance` with family mtt and `batch` with family idc."""
    downsampling: Literal["stride", "average"] = "stride"
    """How the map is halved: strided convolutions, or 2x2 average pooling after them, as in DC's
    ResNet18_AP (family mtt) and IDC's ResNetAP-10 (family idc_imagenet)."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        variant = "-ap" if self.downsampling == "average" else ""
        return f"resnet{self.depth}-{self.family}-{self.norm}{variant}"

    def plan(self, shape: Shape) -> NetworkPlan:
        """Return the layers of a ResNet for images of ``shape``.

        Raises:
            ConfigError: the network cannot process images of this size.
        """
        convolutions = tuple(_convolutions(self, shape))
        last = convolutions[-1]
        _check(self, shape, last)
        values = 1 if head_of(self) != "flat" else last.height * last.width
        features = last.channels_out * values
        pooled = last.channels_out * last.height * last.width if values == 1 else 0
        return NetworkPlan(
            convolutions,
            features,
            norm_parameters(self.norm, convolutions),
            poolings=1 if pooled else 0,
            pooled=pooled,
        )

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """Give ``model`` the first values of its family's authors, in place."""
        from pdd_ray.models.initialise import initialise, initialise_he

        (initialise if self.family == "mtt" else initialise_he)(model, generator)


def head_of(spec: ResNetSpec) -> Literal["window", "flat", "global"]:
    """Return how the last map reaches the classifier.

    Average pooling in a window of side `MTT_POOL`, which must fit once; no pooling; or global
    average pooling.
    """
    if spec.family != "mtt":
        return "global"
    return "window" if spec.downsampling == "stride" else "flat"


def stem_of(spec: ResNetSpec, shape: Shape) -> Stem:
    """Return what precedes the first stage; it depends on the longer side in `idc_imagenet`."""
    side = max(shape[1:])
    if spec.family != "idc_imagenet" or side <= 64:
        return Stem()
    if spec.downsampling == "average":
        return Stem(3, 1, "average", 2) if side <= 128 else Stem(7, 1, "average", 4)
    return Stem(3, 1, "max", 2) if side <= 128 else Stem(7, 2, "max", 2)


def stages_of(spec: ResNetSpec) -> tuple[tuple[Block, ...], ...]:
    """Return the basic blocks of the four stages."""
    widths = WIDTHS[spec.family]
    rest = BLOCKS[spec.depth] - 1
    return tuple(
        (Block(channels, width, stride), *(Block(width, width, 1) for _ in range(rest)))
        for channels, width, stride in zip((widths[0], *widths), widths, STRIDES, strict=False)
    )


def _check(spec: ResNetSpec, shape: Shape, last: Convolution) -> None:
    sides = (last.height, last.width)
    if min(sides) < 1:
        smallest = stem_of(spec, shape).reduction * 2 ** sum(stride == 2 for stride in STRIDES)
        raise ConfigError(too_small(f"network '{spec.label}'", shape, smallest))
    if head_of(spec) == "window" and any(side // MTT_POOL != 1 for side in sides):
        msg = (
            f"a ResNet of family 'mtt' takes images of 25 to 56 pixels a side (its {MTT_POOL}x"
            f"{MTT_POOL} average pooling must leave one value), got shape {shape}; "
            "use family 'idc' or a ConvNet"
        )
        raise ConfigError(msg)
    if spec.norm == "instance" and sides == (1, 1):
        largest = 8 if spec.downsampling == "stride" else 15
        msg = (
            f"images of shape {shape} leave 1x1 maps in the last stage of a ResNet, which "
            "instance normalisation sets to a constant; use norm 'batch', a ConvNet or images "
            f"of more than {largest} pixels a side"
        )
        raise ConfigError(msg)


def _convolutions(spec: ResNetSpec, shape: Shape) -> Iterator[Convolution]:
    stem = stem_of(spec, shape)
    sides = shape[1:]
    yield _convolution((shape[0], WIDTHS[spec.family][0]), stem.kernel, stem.stride, sides)
    sides = _reduced(sides, stem.stride, rounded_down=False)
    sides = _reduced(sides, stem.reduction, rounded_down=stem.pooling == "average")
    averages = spec.downsampling == "average"
    for block in chain.from_iterable(stages_of(spec)):
        stride = 1 if averages else block.stride
        channels = (block.channels_in, block.channels_out)
        if block.projects:
            yield _convolution(channels, 1, stride, sides)
        yield _convolution(channels, 3, stride, sides)
        sides = _reduced(sides, block.stride, rounded_down=averages)
        yield _convolution((block.channels_out, block.channels_out), 3, 1, sides)


def _convolution(
    channels: tuple[int, int], kernel: int, stride: int, sides: tuple[int, int]
) -> Convolution:
    height, width = _reduced(sides, stride, rounded_down=False)
    return Convolution(*channels, kernel, stride, kernel // 2, height, width, bias=False)


def _reduced(sides: tuple[int, int], divisor: int, *, rounded_down: bool) -> tuple[int, int]:
    """Return the sides of a map after a stride: average pooling drops what does not fill it."""
    height, width = sides
    if rounded_down:
        return height // divisor, width // divisor
    return -(-height // divisor), -(-width // divisor)
