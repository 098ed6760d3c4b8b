"""The configuration of networks."""

from typing import Annotated, Literal

from pydantic import Field

from pdd_ray.specs.base import FrozenModel

Norm = Literal["instance", "batch", "layer", "group", "none"]


class ConvNetSpec(FrozenModel):
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


class ResNetSpec(FrozenModel):
    """ResNet-10 or ResNet-18 as in Table 2: full width in the MTT rows, half in the IDC rows."""

    name: Literal["resnet"] = "resnet"
    """The architecture."""
    depth: Literal[10, 18] = 18
    """Number of layers."""
    family: Literal["mtt", "idc"] = "mtt"
    """`mtt`: widths 64..512, 4x4 average pooling; `idc`: widths 32..256, global pooling."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation; Table 2 uses `instance` with family mtt and `batch` with family idc."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        return f"resnet{self.depth}-{self.family}-{self.norm}"


ModelSpec = Annotated[ConvNetSpec | ResNetSpec, Field(discriminator="name")]
