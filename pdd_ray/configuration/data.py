"""The configuration of a data set."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pdd_ray.configuration.base import FrozenModel

DataSource = Literal[
    "digits",
    "image_folder",
    "npz",
    "cifar10",
    "cifar100",
    "mnist",
    "fashion_mnist",
    "tiny_imagenet",
]


class DataSpec(FrozenModel):
    """Which images, how they are prepared, and what is held out for validation."""

    source: DataSource = "digits"
    """Where the images come from. `digits` is embedded; every other source reads `root`."""
    root: Path | None = None
    """Folder (or .npz file) of the data set on this machine. Not part of a step's identity:
    the content is."""
    download: bool = False
    """Let torchvision download CIFAR, MNIST or Fashion-MNIST into `root` if it is not there."""
    channels: Literal["keep", "rgb", "gray"] = "keep"
    """`keep` takes the images as they are (all must agree); `rgb` and `gray` convert."""
    resize: tuple[int, int] | None = None
    """[height, width] to resize images to (bilinear, antialiased); needed where sizes differ."""
    pool: int = Field(default=1, ge=1)
    """Average-pool images by this factor after resizing (2: 32x32 becomes 16x16)."""
    preprocessing: Literal["normalise", "zca", "none"] = "normalise"
    """Per-channel mean and standard deviation, or ZCA whitening; from the train slice."""
    zca_epsilon: float = Field(default=0.1, gt=0)
    """Added to the eigenvalues of the covariance before whitening."""
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training images, per class, held out for everything that is chosen."""
    split_seed: int = 0
    """Seed of the train / validation split; the same for all seeds of a sweep."""

    @model_validator(mode="after")
    def _root_is_given(self) -> "DataSpec":
        if self.source != "digits" and self.root is None:
            msg = f"source '{self.source}' needs `root`, the folder or file that holds the images"
            raise ValueError(msg)
        return self
