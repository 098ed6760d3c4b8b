"""Batches in parts, where the memory does not hold what a whole one needs.

Sums and means over the images of a batch are those over its parts, so that results are the same but
for rounding. Batch norm ties the images of a batch together: such a batch stays whole.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from pdd_ray.core.processes import prepared
from pdd_ray.models.batch_norm import mixes_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from pdd_ray.training.loop import Loss

    MeanGradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    MeanAdjoint = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[tuple[Tensor, ...], Tensor]]

Sums = TypeVar("Sums", Tensor, "tuple[Tensor, ...]")


def parts_of(*batch: Tensor, together: bool = False) -> list[tuple[Tensor, ...]]:
    """Return the tensors of a batch in parts, image by image in order; the whole if it fits.

    Args:
        batch: Tensors [b, ...] of the same images, and weights [..., b] if their length is another.
        together: The images change each other's results: the batch stays whole.
    """
    count = min(prepared().parts, len(batch[0]))
    if together or count <= 1:
        return [batch]
    images = len(batch[0])
    split = [each.tensor_split(count, 0 if len(each) == images else -1) for each in batch]
    return list(zip(*split, strict=True))


def size_at_once(usual: int, images: int) -> int:
    """Return how many of ``images`` to take at once where ``usual`` of them are taken otherwise."""
    return -(-min(usual, max(images, 1)) // prepared().parts)


def total(terms: Sequence[Sums]) -> Sums:
    """Return the sum of the terms, tensor by tensor."""
    if isinstance(terms[0], Tensor):
        return reduce(torch.add, terms)
    return tuple(sum(rest, one) for one, *rest in zip(*terms, strict=True))


def rest_of(terms: Sequence[Sums]) -> list[Sums]:
    """Return for each of the terms, two at least, the sum of all others."""
    return [
        total([term for position, term in enumerate(terms) if position != index])
        for index in range(len(terms))
    ]


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return the parts as one tensor again."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def backward(loss_of: Loss, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Add the gradient of the mean loss of a batch to that of ``model``; return the loss, []."""
    parts = parts_of(images, targets, together=prepared().parts > 1 and mixes_images(model))
    if len(parts) == 1:
        loss = loss_of(model, images, targets)
        loss.backward()
        return loss.detach()
    losses = []
    for part in parts:
        loss = loss_of(model, *part) * (len(part[0]) / len(images))
        loss.backward()
        losses.append(loss.detach())
    return total(losses)


def mean_gradient(gradient: MeanGradient, *, together: bool) -> MeanGradient:
    """Return ``gradient(theta, batch, labels)``, means over a batch, for batches in parts."""

    def in_parts(theta: Tensor, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        parts = parts_of(batch, labels, together=together)
        if len(parts) == 1:
            return gradient(theta, batch, labels)
        found = []
        for part in parts:
            share = len(part[0]) / len(batch)
            found.append(tuple(share * value for value in gradient(theta, *part)))
        summed, loss = total(found)
        return summed, loss

    return in_parts


def mean_adjoint(adjoint: MeanAdjoint, *, together: bool) -> MeanAdjoint:
    """Return ``adjoint(theta, batch, labels, vector)`` of a mean over a batch, for one in parts.

    It gives derivatives with respect to theta, which are summed, and to the images and soft targets
    of the batch, which are put together, and a value.
    """

    def in_parts(
        theta: Tensor, batch: Tensor, labels: Tensor, vector: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        parts = parts_of(batch, labels, together=together)
        if len(parts) == 1:
            return adjoint(theta, batch, labels, vector)
        of_theta, of_batch, values = [], [], []
        for images, targets in parts:
            share = len(images) / len(batch)
            (d_theta, *d_part), value = adjoint(theta, images, targets, vector)
            of_theta.append(share * d_theta)
            of_batch.append([share * each for each in d_part])
            values.append(share * value)
        joined = (torch.cat(each) for each in zip(*of_batch, strict=True))
        return (total(of_theta), *joined), total(values)

    return in_parts
