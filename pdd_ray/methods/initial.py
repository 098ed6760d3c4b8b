"""First images of a stage: random real images of each class, or noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.errors import ConfigError
from pdd_ray.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.data.dataset import Dataset


def class_major_labels(num_classes: int, images_per_class: int) -> Tensor:
    """Return labels 0, 0, .., 1, 1, ..: int64 [num_classes * images_per_class]."""
    return torch.arange(num_classes).repeat_interleave(images_per_class)


def random_real_images(
    dataset: Dataset, images_per_class: int, seed: int, *names: str | int
) -> Tensor:
    """Return ``images_per_class`` random train images of each class, class by class.

    They are taken without replacement from a random order of the class that is drawn from the
    stream ``(seed, *names, class)``: float32 [N, C, H, W].

    Raises:
        ConfigError: if a class does not have that many.
    """
    chosen = []
    labels = dataset.train_labels.cpu()
    for label, name in enumerate(dataset.classes):
        members = (labels == label).nonzero().flatten()
        if images_per_class > len(members):
            msg = (
                f"class {name!r} has {len(members)} train images, {images_per_class} are needed; "
                "lower images_per_class"
            )
            raise ConfigError(msg)
        order = torch.randperm(len(members), generator=generator(seed, *names, label))
        chosen.append(members[order[:images_per_class]])
    return torch.index_select(dataset.train_images, 0, torch.cat(chosen))


def noise_images(dataset: Dataset, images_per_class: int, seed: int, *names: str | int) -> Tensor:
    """Return standard normal noise: float32 [num_classes * images_per_class, C, H, W]."""
    count = len(dataset.classes) * images_per_class
    source = generator(seed, *names)
    return torch.randn(count, *dataset.train_images.shape[1:], generator=source)
