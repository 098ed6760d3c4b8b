"""Class means: every image is the mean of some random training images of its class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pdd_ray.configuration.method import MethodTraits, StageSize

if TYPE_CHECKING:
    from pdd_ray.methods.base import Observer, Partial, StageInputs, StageOutcome


class ClassMeansSpec(MethodTraits):
    """Means of random training images of each class."""

    name: Literal["class_means"] = "class_means"
    """The method."""
    averaged: int = Field(default=10, ge=1)
    """Training images per mean."""
    step_size: float = Field(default=0.01, gt=0)
    """Learning rate with which networks train on the images."""

    code: ClassVar[str] = "pdd_example.class_means:ClassMeans"
    recipe: ClassVar[str] = "dsa"

    def real_images_per_class(self, images_per_class: int) -> int:
        """Return how many real images of each class a stage of this size starts from."""
        return images_per_class * self.averaged

    def forward_passes(self, size: StageSize) -> float:
        """Return 0: no network sees an image."""
        return 0.0


@dataclass(frozen=True)
class ClassMeans:
    """Averages random training images of each class."""

    spec: ClassMeansSpec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the images of stage ``inputs.stage``; see DistillationMethod."""
        from pdd_ray.methods.base import StageOutcome
        from pdd_ray.methods.initial import class_major_labels, random_real_images

        del partial  # nothing takes long enough to be continued
        needed = inputs.images_per_class * self.spec.averaged
        names = ("stage", inputs.stage, "class means")
        chosen = random_real_images(inputs.dataset, needed, inputs.seed, *names)
        images = chosen.unflatten(0, (-1, self.spec.averaged)).mean(dim=1).cpu()
        observer.images(1, images)
        return StageOutcome(
            images=images,
            labels=class_major_labels(inputs.dataset.num_classes, inputs.images_per_class),
            step_size=self.spec.step_size,
        )
