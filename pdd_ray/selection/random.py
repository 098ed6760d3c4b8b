"""Random selection: the baseline at the same number of images per class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_ray.methods.base import StageOutcome
from pdd_ray.methods.initial import class_major_labels, random_real_images

if TYPE_CHECKING:
    from pdd_ray.methods.base import Observer, Partial, StageInputs
    from pdd_ray.specs.methods import RandomSelectionSpec


@dataclass(frozen=True)
class RandomSelection:
    """Takes random train images of each class; a later stage takes others than the ones before."""

    spec: RandomSelectionSpec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the images of stage ``inputs.stage``; see DistillationMethod."""
        del partial, observer
        dataset = inputs.dataset
        taken = len(inputs.previous.images) // dataset.num_classes
        images = random_real_images(
            dataset, inputs.images_per_class, inputs.seed, "random selection", skip=taken
        )
        return StageOutcome(
            images=images.cpu(),
            labels=class_major_labels(dataset.num_classes, inputs.images_per_class),
            step_size=self.spec.step_size,
        )
