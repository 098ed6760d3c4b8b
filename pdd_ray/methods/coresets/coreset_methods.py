"""The coresets and the random baseline as distillation methods: real images are the new set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.errors import ConfigError
from pdd_ray.methods.base import StageOutcome
from pdd_ray.methods.coresets.herding import herding
from pdd_ray.methods.coresets.k_center import k_center
from pdd_ray.methods.initial import class_major_labels, class_members, random_real_images
from pdd_ray.training.forgetting import hardest

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pdd_ray.configuration.methods.coresets import (
        CoresetSpec,
        ForgettingCoresetSpec,
        HerdingSpec,
        KCenterSpec,
        RandomCoresetSpec,
    )
    from pdd_ray.methods.base import Observer, Partial, StageInputs


@dataclass(frozen=True)
class RandomCoreset:
    """Takes random train images of each class."""

    spec: RandomCoresetSpec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the selected images; see DistillationMethod."""
        del partial, observer
        count = inputs.images_per_class
        images = random_real_images(inputs.dataset, count, inputs.seed, "random selection")
        return _outcome(images, inputs, self.spec)


@dataclass(frozen=True)
class FeatureCoreset:
    """Herding or k-center: chooses in each class by the features of its images."""

    spec: HerdingSpec | KCenterSpec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the selected images; see DistillationMethod."""
        del partial, observer
        choose = herding if self.spec.name == "herding" else k_center
        assert inputs.features is not None  # noqa: S101 - planned with its trait `needs_features`
        return _chosen_by(choose, inputs.features, inputs, self.spec)


@dataclass(frozen=True)
class ForgettingCoreset:
    """Takes the images of each class that are forgotten most often."""

    spec: ForgettingCoresetSpec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the selected images; see DistillationMethod."""
        del partial, observer
        assert inputs.scores is not None  # noqa: S101 - planned with its trait `needs_scores`
        return _chosen_by(hardest, inputs.scores, inputs, self.spec)


def _chosen_by(
    choose: Callable[[Tensor, int], Tensor], of: Tensor, inputs: StageInputs, spec: CoresetSpec
) -> StageOutcome:
    """Return the images that ``choose`` takes of each class by their features or scores."""
    dataset = inputs.dataset
    chosen = []
    for name, members in zip(dataset.classes, class_members(dataset), strict=True):
        try:
            chosen.append(members[choose(of[members], inputs.images_per_class)])
        except ConfigError as error:
            raise ConfigError(f"class {name!r}: {error}") from error
    images = torch.index_select(dataset.train_images.cpu(), 0, torch.cat(chosen))
    return _outcome(images, inputs, spec)


def _outcome(images: Tensor, inputs: StageInputs, spec: CoresetSpec) -> StageOutcome:
    return StageOutcome(
        images=images.cpu(),
        labels=class_major_labels(inputs.dataset.num_classes, inputs.images_per_class),
        step_size=spec.step_size,
    )
