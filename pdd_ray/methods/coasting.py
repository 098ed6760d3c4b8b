"""IDC's momentum on images of other classes (option ``coasting``), in closed form for one sweep.

IDC's optimiser makes one step per class, but over the images of all classes: where the gradient is
zero, the momentum goes on moving them. Here that is a closed form from one sweep over the classes
to the next, so that classes need not wait for each other (specification of other methods, section
3.5).

A class at position c of C coasts c times, makes its own step with its gradient g, and coasts
C - 1 - c times more. With momentum m and the buffer b from the sweep before, its pixels move by
``-lr * sum_{j=1..c} m^j b`` before its step, from there on by
``-lr * sum_{j=0..C-1-c} m^j (m^(c+1) b + g)``, and the buffer becomes ``m^C b + m^(C-1-c) g``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def at_own_step(
    images: Tensor,
    buffer: Tensor | None,
    positions: Tensor,
    learning_rate: Tensor | float,
    momentum: float,
) -> Tensor:
    """Return the images as they are when the step of their own class comes, [N, C, H, W].

    Args:
        images: Images at the start of the sweep, [N, C, H, W].
        buffer: Their momentum, [N, C, H, W], or None before the first sweep.
        positions: Place of each image's class in the sweep, from 0, int64 [N].
        learning_rate: One for all, or one per image, [N, 1, 1, 1].
        momentum: m, in [0, 1).
    """
    if buffer is None:
        return images
    coasted = momentum * _powers_summed(positions, momentum)
    return images - learning_rate * _per_image(coasted, images) * buffer


def after_sweep(
    images: Tensor,
    gradient: Tensor,
    buffer: Tensor | None,
    positions: Tensor,
    classes: int,
    learning_rate: Tensor | float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """Return images and momentum after the steps of all ``classes``, [N, C, H, W] each.

    Args:
        images: Images at the start of the sweep, [N, C, H, W].
        gradient: Gradient of each image where :func:`at_own_step` has it, [N, C, H, W].
        buffer: Momentum at the start of the sweep, or None before the first one.
        positions: Place of each image's class in the sweep, int64 [N].
        classes: Number of steps in the sweep.
        learning_rate: One for all, or one per image, [N, 1, 1, 1].
        momentum: m, in [0, 1).
    """
    later = classes - 1 - positions
    own = gradient
    if buffer is not None:
        own = gradient + _per_image(_power(momentum, positions + 1), images) * buffer
    moved = learning_rate * _per_image(_powers_summed(later + 1, momentum), images) * own
    start = at_own_step(images, buffer, positions, learning_rate, momentum)
    return start - moved, _per_image(_power(momentum, later), images) * own


def _powers_summed(counts: Tensor, momentum: float) -> Tensor:
    """Return 1 + m + .. + m^(count - 1), float64."""
    return (1 - _power(momentum, counts)) / (1 - momentum)


def _power(momentum: float, exponents: Tensor) -> Tensor:
    base = torch.full(exponents.shape, momentum, dtype=torch.float64, device=exponents.device)
    return base.pow(exponents)


def _per_image(factors: Tensor, images: Tensor) -> Tensor:
    return factors.to(images)[:, None, None, None]
