"""The initial soft labels of MTT: logits of experts on images that they get right (DATM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.core.seeding import generator
from pdd_ray.methods.initial import class_members, random_members
from pdd_ray.training.chunks import size_at_once
from pdd_ray.training.trajectories import last_network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pdd_ray.methods.base import StageInputs

BATCH = 256


@torch.no_grad()
def soft_start(
    inputs: StageInputs, images: Tensor, names: tuple[str | int, ...]
) -> tuple[Tensor, Tensor]:
    """Return the first images and the logits of their soft labels.

    Of each class, the first images in a random order that the last snapshot of an expert
    classifies correctly, by the first expert if it has enough of them, else also by the next ones;
    their logits are the mean over the experts that get them right (DATM; specification, section
    5.4). A class of which the experts get too few right keeps its random images, with the logits
    of the first expert.

    Args:
        inputs: The stage's inputs.
        images: Random first images, class by class, [N, C, H, W].
        names: Stream of the random order.
    """
    dataset, count = inputs.dataset, inputs.images_per_class
    networks = [
        last_network(expert, inputs.model, dataset.train_images, dataset.num_classes)
        for expert in inputs.experts
    ]
    chosen, logits = images.clone(), _logits(networks[0], images.to(inputs.device))
    for label, members in enumerate(class_members(dataset)):
        source = generator(inputs.seed, *names, "correct", label)
        members = random_members(members, len(members), source)
        own = dataset.train_images[members.to(dataset.train_images.device)]
        said = torch.stack([_logits(network, own) for network in networks])
        correct = said.argmax(dim=2) == label
        found = [row for expert in correct for row in expert.nonzero().flatten().tolist()]
        rows = list(dict.fromkeys(found))[:count]
        if len(rows) < count:
            continue
        right = correct[:, rows].to(said.dtype).unsqueeze(2)
        part = slice(label * count, (label + 1) * count)
        chosen[part] = own[rows].to(images)
        logits[part] = (said[:, rows] * right).sum(0) / right.sum(0)
    return chosen, logits


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    size = size_at_once(BATCH, len(images))
    return torch.cat([network(batch) for batch in images.split(size)]).cpu()
