"""The trajectory matching loss, its inner loop, and its exact gradient in constant memory.

With an inner loop ``theta_{k+1} = theta_k - alpha * g_k``, ``g_k = grad l(theta_k; x_k)``, the loss
is ``L = |theta_T - target|^2 / |theta_0 - target|^2`` (Cazenavette et al. 2022; PDD, eq. 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F

from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.models.compilation import compiled
from pdd_ray.training.augmentation import dsa
from pdd_ray.training.chunks import mean_adjoint, mean_gradient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pdd_ray.models.flat import FlatModel
    from pdd_ray.training.chunks import MeanAdjoint, MeanGradient

Gradient = Literal["exact", "tesla", "unrolled"]


@dataclass(frozen=True, eq=False)
class InnerStep:
    """One step of the student: indices into the union, int64 [b], and their augmentation.

    The augmentation is drawn once; every evaluation of the step replays it.
    """

    indices: Tensor
    draw: dsa.Draw | None = None


@dataclass(frozen=True, eq=False)
class Segment:
    """The part of an expert's trajectory to match: its first and last parameters, [P] each."""

    start: Tensor
    target: Tensor

    def distance(self) -> Tensor:
        """Return ``|start - target|^2``.

        Looking at a value on a device means to wait for it: check a segment before it goes there.

        Raises:
            NonFiniteLossError: on the CPU, if it is zero or not finite: the expert did not move,
                or diverged.
        """
        value = (self.start - self.target).square().sum()
        if value.device.type == "cpu" and not (math.isfinite(value) and value > 0):
            msg = f"the expert's segment has squared length {float(value)}; it must be positive"
            raise NonFiniteLossError(msg)
        return value


@dataclass(frozen=True, eq=False)
class Union:
    """The images that the student trains on: frozen ones of earlier stages, then new ones.

    Attributes:
        images: New images, [N, C, H, W]; the gradient is with respect to these.
        labels: Classes of the frozen and the new images, int64 [frozen + N]; or logits of soft
            labels, [frozen + N, classes], of which a gradient is wanted too.
        frozen: Images of earlier stages, [frozen, C, H, W], or None.
    """

    images: Tensor
    labels: Tensor
    frozen: Tensor | None = None

    @property
    def soft(self) -> bool:
        """Whether labels are logits."""
        return self.labels.is_floating_point()

    def leaves(self) -> list[Tensor]:
        """Return what gradients are wanted of, as new leaves: images, and logits if soft."""
        wanted = [self.images, self.labels] if self.soft else [self.images]
        return [value.detach().requires_grad_(True) for value in wanted]

    def batch(self, leaves: Sequence[Tensor], step: InnerStep) -> tuple[Tensor, Tensor]:
        """Return the augmented images and the targets of ``step``, with ``leaves`` as new ones."""
        images, labels = leaves if self.soft else (leaves[0], self.labels)
        union = images if self.frozen is None else torch.cat([self.frozen, images])
        targets = labels[step.indices]
        if self.soft:
            targets = targets.softmax(dim=1)
        return dsa.apply(union[step.indices], step.draw), targets


@dataclass(frozen=True, eq=False)
class MatchingGradient:
    """The matching loss with its gradients.

    Attributes:
        loss: L, [].
        images: Gradient of the new images, [N, C, H, W].
        labels: Gradient of the logits of soft labels, [frozen + N, classes]; None for classes.
        step_size: Gradient of alpha, [].
        student: theta_T, [P].
        step_losses: Cross-entropy of each inner step before its update, [T].
    """

    loss: Tensor
    images: Tensor
    step_size: Tensor
    student: Tensor
    step_losses: Tensor
    labels: Tensor | None = None


class InnerFunctions:
    """Loss and derivatives of one inner step; compiled, if wanted, once per batch size."""

    def __init__(self, network: FlatModel, *, compile: bool = False) -> None:
        self.network = network
        self.gradient: MeanGradient = self._eager_gradient
        self.adjoint: MeanAdjoint = self._eager_adjoint
        # Uncompiled torch.func takes 1.16 (gradient), 1.08 times (adjoint) the time of autograd at
        # width 32, 1.07 and 1.04 at 128, and rounds otherwise in float32 (benchmarks/twins.py).
        if compile:
            self.gradient = compiled(self._functional_gradient)
            self.adjoint = compiled(self._functional_adjoint)
        self.gradient = mean_gradient(self.gradient, together=network.mixes_images)
        self.adjoint = mean_adjoint(self.adjoint, together=network.mixes_images)

    def loss(self, theta: Tensor, batch: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy l, []."""
        return F.cross_entropy(self.network(theta, batch), labels)

    def _eager_gradient(
        self, theta: Tensor, batch: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return grad l with respect to theta [P], and l."""
        theta = theta.detach().requires_grad_(True)
        loss = self.loss(theta, batch, labels)
        (gradient,) = torch.autograd.grad(loss, theta)
        return gradient, loss.detach()

    def _eager_adjoint(
        self, theta: Tensor, batch: Tensor, labels: Tensor, adjoint: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the derivatives of adjoint @ grad l, and its value [].

        They are with respect to theta (H adjoint, [P]), to the batch [b, C, H, W], and to soft
        targets [b, classes] if these are what the labels are.
        """
        values = [theta, batch, labels] if labels.is_floating_point() else [theta, batch]
        leaves = [value.detach().requires_grad_(True) for value in values]
        loss = self.loss(leaves[0], leaves[1], leaves[2] if len(leaves) > 2 else labels)
        (gradient,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
        product = adjoint @ gradient
        return torch.autograd.grad(product, leaves), product.detach()

    def _functional_gradient(
        self, theta: Tensor, batch: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        gradient: Tensor
        gradient, loss = torch.func.grad_and_value(self.loss)(theta, batch, labels)
        return gradient, loss

    def _functional_adjoint(
        self, theta: Tensor, batch: Tensor, labels: Tensor, adjoint: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        def product(theta: Tensor, batch: Tensor, labels: Tensor) -> Tensor:
            gradient: Tensor = torch.func.grad(self.loss)(theta, batch, labels)
            return adjoint @ gradient

        soft = labels.is_floating_point()
        derivative = torch.func.grad_and_value(product, argnums=(0, 1, 2) if soft else (0, 1))
        derivatives, value = derivative(theta, batch, labels)
        return derivatives, value


def matching_gradient(
    functions: InnerFunctions,
    union: Union,
    step_size: Tensor,
    segment: Segment,
    steps: Sequence[InnerStep],
    gradient: Gradient = "exact",
) -> MatchingGradient:
    """Return the matching loss and its gradients for one segment and given inner steps.

    ``exact`` stores theta_0 .. theta_T and goes backwards with the adjoint
    ``lambda_k = lambda_{k+1} - alpha * H_k lambda_{k+1}``, recomputing each step: the exact
    gradient with the activation memory of one step (specification, section 8.3). ``tesla`` drops
    the Hessian term: Cui et al. 2023's approximation. ``unrolled`` backpropagates through all
    steps at once: the slow twin of ``exact``.

    Args:
        functions: The student's inner step.
        union: Frozen and new images.
        step_size: alpha, [].
        segment: Where the student starts and where it should arrive.
        steps: The T inner steps.
        gradient: How the gradient is computed.
    """
    if gradient == "unrolled":
        return _unrolled(functions, union, step_size, segment, steps)
    parameters, step_losses = _roll_out(functions, union, step_size, segment, steps)
    distance = segment.distance()
    student = parameters[-1]
    adjoint = 2 * (student - segment.target) / distance
    gradients = [torch.zeros_like(leaf) for leaf in union.leaves()]
    step_size_gradient = torch.zeros_like(step_size)
    for step, theta in zip(reversed(steps), reversed(parameters[:-1]), strict=True):
        leaves = union.leaves()
        batch = union.batch(leaves, step)
        inputs, targets = (value.detach() for value in batch)
        (d_theta, *d_batch), product = functions.adjoint(theta, inputs, targets, adjoint)
        d_leaves = torch.autograd.grad(batch[: len(leaves)], leaves, d_batch)
        for gradient_of, d_leaf in zip(gradients, d_leaves, strict=True):
            gradient_of -= step_size * d_leaf
        step_size_gradient -= product
        if gradient == "exact":
            adjoint = adjoint - step_size * d_theta
    return MatchingGradient(
        loss=(student - segment.target).square().sum() / distance,
        images=gradients[0],
        step_size=step_size_gradient,
        student=student,
        step_losses=step_losses,
        labels=gradients[1] if union.soft else None,
    )


def momentum_update(
    value: Tensor,
    gradient: Tensor,
    buffer: Tensor | None,
    learning_rate: float | Tensor,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """Return ``value`` and its momentum buffer after one step of SGD with momentum.

    ``buffer = momentum * buffer + gradient`` (``gradient`` in the first step),
    ``value -= learning_rate * buffer``; the optimiser of images and step size (specification,
    section 5.1).
    """
    buffer = gradient if buffer is None else momentum * buffer + gradient
    return value - learning_rate * buffer, buffer


def inner_steps(
    count: int,
    batch_size: int,
    total: int,
    strategy: str,
    size: tuple[int, int],
    source: torch.Generator,
) -> list[InnerStep]:
    """Draw ``total`` inner steps on a union of ``count`` images of ``size`` (height, width).

    Chunks of a random permutation are consumed from the last one, so that a short remainder comes
    first; a fresh permutation is drawn when they are used up (specification, section 5.2).
    """
    chunks = _chunks(count, batch_size, source)
    steps = []
    for _ in range(total):
        indices = next(chunks)
        steps.append(InnerStep(indices, dsa.draw(strategy, len(indices), *size, source)))
    return steps


def _chunks(count: int, batch_size: int, source: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from reversed(torch.randperm(count, generator=source).split(batch_size))


def _roll_out(
    functions: InnerFunctions,
    union: Union,
    step_size: Tensor,
    segment: Segment,
    steps: Sequence[InnerStep],
) -> tuple[list[Tensor], Tensor]:
    """Return theta_0 .. theta_T, [P] each and without graph, and the losses of the steps [T]."""
    parameters = [segment.start.detach()]
    losses = []
    for step in steps:
        batch, targets = (value.detach() for value in union.batch(union.leaves(), step))
        gradient, loss = functions.gradient(parameters[-1], batch, targets)
        parameters.append(parameters[-1] - step_size.detach() * gradient)
        losses.append(loss)
    return parameters, torch.stack(losses)


def _unrolled(
    functions: InnerFunctions,
    union: Union,
    step_size: Tensor,
    segment: Segment,
    steps: Sequence[InnerStep],
) -> MatchingGradient:
    leaves = union.leaves()
    alpha = step_size.detach().requires_grad_(True)
    theta = segment.start.detach().requires_grad_(True)
    losses = []
    for step in steps:
        batch, targets = union.batch(leaves, step)
        loss = functions.loss(theta, batch, targets)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - alpha * gradient
        losses.append(loss.detach())
    matching = (theta - segment.target).square().sum() / segment.distance()
    d_alpha, d_images, *d_labels = torch.autograd.grad(matching, [alpha, *leaves])
    return MatchingGradient(
        loss=matching.detach(),
        images=d_images,
        step_size=d_alpha,
        student=theta.detach(),
        step_losses=torch.stack(losses),
        labels=d_labels[0] if d_labels else None,
    )
