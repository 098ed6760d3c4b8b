"""DataSpec: the configuration of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from pdd_ray.core.frozen_model import LEFT_OUT_AT_DEFAULT, FrozenModel
from pdd_ray.core.misplaced import problem_at
from pdd_ray.data.source import NoOptions
from pdd_ray.data.source_registry import SOURCES

if TYPE_CHECKING:
    from pdd_ray.data.source import DataSource

    SourceName: TypeAlias = str
else:
    SourceName = Literal[tuple(SOURCES)]


class DataSpec(FrozenModel):
    """Which images, how they are prepared, and what is held out for validation."""

    source: SourceName = "digits"
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

    options: Annotated[
        SerializeAsAny[FrozenModel], LEFT_OUT_AT_DEFAULT, WithJsonSchema({"type": "object"})
    ] = NoOptions()
    """Settings of the source itself, where an installed package's source has any."""

    @field_validator("options", mode="before")
    @classmethod
    def _options_of_the_source(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - raw
        source = SOURCES.get(info.data.get("source", ""))
        if source is None or isinstance(value, source.Options):
            return value  # what is wrong with the source is told by itself
        with problem_at():
            return source.Options.model_validate(value)

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> Self:
        source = SOURCES[self.source]
        if source.needs_root and self.root is None:
            msg = f"source '{self.source}' needs `root`, the folder or file that holds the images"
            raise ValueError(msg)
        return self

    def open(self) -> DataSource:
        """Return the source, as it is configured."""
        return SOURCES[self.source](
            root=(self.root or Path()).expanduser().absolute(),
            download=self.download,
            options=self.options,
        )
