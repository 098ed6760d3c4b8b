"""The images with which a stage starts, real ones or noise, and the real images of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.core.errors import ConfigError
from pdd_ray.core.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.data.dataset import Dataset


def class_major_labels(num_classes: int, images_per_class: int) -> Tensor:
    """Return labels 0, 0, .., 1, 1, ..: int64 [num_classes * images_per_class]."""
    return torch.arange(num_classes).repeat_interleave(images_per_class)


def class_members(dataset: Dataset) -> list[Tensor]:
    """Return the positions of each class in the train images, int64, on the CPU."""
    labels = dataset.train_labels.cpu()
    return [(labels == label).nonzero().flatten() for label in range(dataset.num_classes)]


def random_members(members: Tensor, count: int, source: torch.Generator) -> Tensor:
    """Return ``count`` different ones of ``members`` in random order, or all if there are fewer."""
    return members[torch.randperm(len(members), generator=source)[:count]]


def first_images(
    initialisation: str, dataset: Dataset, images_per_class: int, seed: int, *names: str | int
) -> Tensor:
    """Return new images to start from, prepared: ``real`` ones of each class, else noise.

    float32 [num_classes * images_per_class, C, H, W], drawn from the stream ``(seed, *names)``.
    """
    first = random_real_images if initialisation == "real" else noise_images
    return first(dataset, images_per_class, seed, *names)


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
    for label, (name, members) in enumerate(
        zip(dataset.classes, class_members(dataset), strict=True)
    ):
        if images_per_class > len(members):
            msg = (
                f"class {name!r} has {len(members)} train images, {images_per_class} are needed; "
                "lower images_per_class"
            )
            raise ConfigError(msg)
        chosen.append(random_members(members, images_per_class, generator(seed, *names, label)))
    positions = torch.cat(chosen).to(dataset.train_images.device)
    return torch.index_select(dataset.train_images, 0, positions)


def noise_images(dataset: Dataset, images_per_class: int, seed: int, *names: str | int) -> Tensor:
    """Return standard normal noise: float32 [num_classes * images_per_class, C, H, W]."""
    count = len(dataset.classes) * images_per_class
    source = generator(seed, *names)
    return torch.randn(count, *dataset.train_images.shape[1:], generator=source)
