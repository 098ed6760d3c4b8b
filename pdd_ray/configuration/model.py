"""The configuration of networks."""

from typing import Annotated, Literal

from pydantic import Field

from pdd_ray.configuration.base import FrozenModel

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
    """ResNet-10 or ResNet-18: full width in Table 2's MTT rows, half in its IDC rows."""

    name: Literal["resnet"] = "resnet"
    """The architecture."""
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


class MlpSpec(FrozenModel):
    """DC's multilayer perceptron: two hidden layers of 128 units."""

    name: Literal["mlp"] = "mlp"
    """The architecture."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        return "mlp"


class LeNetSpec(FrozenModel):
    """DC's LeNet: two convolutions with max-pooling, two hidden layers."""

    name: Literal["lenet"] = "lenet"
    """The architecture."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        return "lenet"


class AlexNetSpec(FrozenModel):
    """DC's AlexNet for small images: five convolutions and a linear classifier."""

    name: Literal["alexnet"] = "alexnet"
    """The architecture."""
    norm: Literal["none", "instance", "batch"] = "none"
    """Normalisation after each convolution; DC's AlexNet has none, its AlexNetBN `batch`."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        return "alexnet" if self.norm == "none" else f"alexnet-{self.norm}"


class VggSpec(FrozenModel):
    """DC's VGG for small images: convolutions and a linear classifier without hidden layers."""

    name: Literal["vgg"] = "vgg"
    """The architecture."""
    depth: Literal[11] = 11
    """Layers by the count of its paper; here eight convolutions and the classifier."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation after each convolution; DC's VGG11 uses `instance`, its VGG11BN `batch`."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        return f"vgg{self.depth}-{self.norm}"


class DenseNetSpec(FrozenModel):
    """IDC's DenseNet-BC for small images: growth 12, 6, 12, 24 and 16 layers, batch norm."""

    name: Literal["densenet"] = "densenet"
    """The architecture."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        return "densenet"


PlainSpec = MlpSpec | LeNetSpec | AlexNetSpec | VggSpec
"""Networks that are one chain of convolutions and then linear layers."""

ModelSpec = Annotated[
    ConvNetSpec | ResNetSpec | MlpSpec | LeNetSpec | AlexNetSpec | VggSpec | DenseNetSpec,
    Field(discriminator="name"),
]


def has_batch_norm(spec: ModelSpec) -> bool:
    """Return whether what the network says of an image depends on the others of its batch."""
    return isinstance(spec, DenseNetSpec) or getattr(spec, "norm", "none") == "batch"
