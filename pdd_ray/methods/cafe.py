"""CAFE, the distillation method: aligned features of all blocks, in dynamic loops.

Specification of other methods, sections 5 and 6.

With m_k(c) the mean over class c of the features f_k of a ConvNet with D blocks,
``loss = sum over k of w_k sum over c |m_k(real_c) - m_k(frozen_c and new_c)|^2``, plus the
cross-entropy of real images that are classified by the synthetic means of the last features. How
long a network is used, and trained, is decided by its accuracy on real images (Wang et al. 2022).
The original loss has the cross-entropy of the network on the real images too, which does not
depend on the synthetic ones; it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F

from pdd_ray.core.errors import ConfigError, NonFiniteLossError
from pdd_ray.core.seeding import generator
from pdd_ray.core.transfers import fetched, moved
from pdd_ray.methods.dm import SiameseDraws
from pdd_ray.methods.drawn_networks import distill_by_draws, drawn_model, outcome_of
from pdd_ray.methods.layer_features import LayerFeatures
from pdd_ray.methods.stage_images import stage_images_of
from pdd_ray.models.compilation import compiled
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.chunks import joined, parts_of, total
from pdd_ray.training.loop import Sgd, TrainingState, correct_answers, random_batches, train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from pdd_ray.configuration.methods.distribution_matching import CafeSpec
    from pdd_ray.methods.base import Observer, Partial, StageInputs, StageOutcome
    from pdd_ray.methods.class_matching import ClassTask
    from pdd_ray.methods.dm import ClassBatches, GroupBatches
    from pdd_ray.methods.drawn_networks import DrawState
    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec

    Tensors = tuple[Tensor, ...]

REFERENCE_SIDE = 32
"""Side of the images to which the weights are tied."""
HALVINGS = (60, 80, 90)
"""Per cent of the draws after which the pixels' learning rate is halved."""


@dataclass(frozen=True)
class CafeWeights:
    """Weights of the terms of the loss.

    Attributes:
        early: Of the distances of the blocks before the last one.
        late: Of the distances of the last block, and of the last features f_{D+1}.
        center: Of the distance of the flattened last features, which is that of the last features.
        discrimination: Of classifying real images by the synthetic means.
    """

    early: float = 0.1
    late: float = 1.0
    center: float = 1.0
    discrimination: float = 0.01


@dataclass(frozen=True, eq=False)
class LayerMeans:
    """The features of one class, or of several in one batch; without graph.

    Attributes:
        real: Means of real features f_1 .. f_{D+1} of K classes, flattened: [K, features] each.
        synthetic: The same of frozen and new images together.
        last: The last features of every real image, flattened, [b, features].
    """

    real: Tensors
    synthetic: Tensors
    last: Tensor


@dataclass(frozen=True, eq=False)
class CafeLoss:
    """The loss, and the terms it consists of.

    Attributes:
        total: [].
        distances: Of f_1 .. f_{D+1}, [D + 1].
        discrimination: Summed cross-entropy, [].
    """

    total: Tensor
    distances: Tensor
    discrimination: Tensor


def feature_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return the squared distance of class means, summed over classes and features, []."""
    return (real - synthetic).square().sum()


def discrimination_loss(last: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Return the summed cross-entropy of real images whose logits are products with centres.

    Args:
        last: Last features of real images, [b, features].
        labels: Their classes, int64 [b].
        centres: Synthetic class means of these features, [classes, features].
    """
    return F.cross_entropy(last @ centres.T, labels, reduction="sum")


def cafe_loss(
    real: Sequence[Tensor],
    synthetic: Sequence[Tensor],
    last: Tensor,
    labels: Tensor,
    weights: CafeWeights,
) -> CafeLoss:
    """Return CAFE's loss (specification of other methods, section 6).

    Args:
        real: Class means of f_1 .. f_{D+1} over real images, [classes, features] each.
        synthetic: Those over synthetic images.
        last: f_{D+1} of every real image, [b, features].
        labels: Their classes, int64 [b].
        weights: Of the terms.
    """
    pairs = zip(real, synthetic, strict=True)
    distances = torch.stack([feature_distance(*pair) for pair in pairs])
    discrimination = discrimination_loss(last, labels, synthetic[-1])
    total = (
        weights.early * distances[:-2].sum()
        + weights.late * distances[-2:].sum()
        + weights.center * distances[-1]
        + weights.discrimination * discrimination
    )
    return CafeLoss(total, distances, discrimination)


def cafe_weights(spec: CafeSpec, model: ModelSpec, shape: Shape) -> CafeWeights:
    """Return the weights of ``spec`` for images of ``shape``.

    With ``scale_distances`` those of distances are divided by the growth of the first map, and so
    of all maps, against that of 32x32 images: a distance is a sum over the values of a map.
    """
    growth = 1.0
    if spec.scale_distances:
        first = model.plan(shape).convolutions[0]
        growth = first.height * first.width / REFERENCE_SIDE**2
    return CafeWeights(
        early=spec.early_weight / growth,
        late=spec.late_weight / growth,
        center=1 / growth,
        discrimination=spec.discrimination_weight,
    )


def image_learning_rate(spec: CafeSpec, draw: int) -> float:
    """Return the learning rate of the pixels with network number ``draw`` (0-based)."""
    passed = sum(100 * draw >= share * spec.iterations for share in HALVINGS)
    return spec.image_learning_rate * 0.5**passed


def spread(accuracies: Sequence[float], window: int) -> float | None:
    """Return largest minus smallest of the last ``window`` values; None if there are fewer."""
    if len(accuracies) < window:
        return None
    last = accuracies[-window:]
    return max(last) - min(last)


class CafeMatcher:
    """Computes the features of classes, and the gradients of their images.

    The loss ties the classes together through their synthetic means alone. So an update takes two
    passes over the classes: the means without graph, and, given the derivatives of the loss with
    respect to the synthetic means, the image gradients. In both, the result of a class depends on
    its task and theta alone, so tasks can be split over processes in any way; with batch norm it
    depends on all tasks, which then must be given together. Memory does not grow with the number
    of classes.

    Args:
        model: The network, a ConvNet.
        batches: Makes the batches of the tasks.
        compile: Compile the features and their gradient with torch.compile.

    Raises:
        ConfigError: if the network is no ConvNet.
    """

    def __init__(self, model: ModelSpec, batches: ClassBatches, *, compile: bool = False) -> None:
        if not isinstance(model, ConvNetSpec):
            msg = f"CAFE matches the blocks of a ConvNet, not of {model.label}; use model convnet"
            raise ConfigError(msg)
        self._model = model
        self._batches = batches
        self._compile = compile

    def means(self, theta: Tensor, tasks: Sequence[ClassTask]) -> list[LayerMeans]:
        """Return the features of every task, in order; of all in one with batch norm.

        Args:
            theta: Parameters of the network, [P].
            tasks: One per class; their images are on the device and in the dtype of ``theta``.
        """
        functions = self._functions(theta)
        theta = theta.detach()[: functions.numel]
        return [
            _group_means(functions, theta, self._batches.of(group))
            for group in self._batches.groups(tasks)
        ]

    def gradients(
        self, theta: Tensor, tasks: Sequence[ClassTask], d_means: Sequence[Tensors]
    ) -> list[Tensor]:
        """Return the gradient of the images of every task, [n, C, H, W] each.

        Args:
            theta: As for :meth:`means`.
            tasks: The same.
            d_means: For each item of :meth:`means` the derivatives of the loss with respect to its
                ``synthetic``.
        """
        functions = self._functions(theta)
        theta = theta.detach()[: functions.numel]
        gradients: list[Tensor] = []
        for group, d_part in zip(self._batches.groups(tasks), d_means, strict=True):
            batches = self._batches.of(group)
            variable = batches.variable
            d_batch = functions.pulled(theta, variable.images.detach(), variable.weights, d_part)
            gradients += batches.gradients(d_batch)
        return gradients

    def _functions(self, theta: Tensor) -> _Functions:
        return _functions(self._model, self._batches.shape, str(theta.device), self._compile)


def cafe_gradients(
    matcher: CafeMatcher, theta: Tensor, tasks: Sequence[ClassTask], weights: CafeWeights
) -> tuple[CafeLoss, list[Tensor]]:
    """Return the loss and the gradient of the images of every class.

    Args:
        matcher: Of the stage.
        theta: Parameters of the network, [P].
        tasks: Those of all classes 0, 1, .., in this order.
        weights: Of the terms.
    """
    labels = torch.cat([torch.full((len(task.real),), task.label) for task in tasks])
    labels, tasks = moved((labels, tasks), theta.device)
    parts = matcher.means(theta, tasks)
    real = [torch.cat(means) for means in zip(*(part.real for part in parts), strict=True)]
    synthetic = [
        torch.cat(means).requires_grad_(True)
        for means in zip(*(part.synthetic for part in parts), strict=True)
    ]
    last = torch.cat([part.last for part in parts])
    loss = cafe_loss(real, synthetic, last, labels, weights)
    d_means = torch.autograd.grad(loss.total, synthetic)
    sizes = [len(part.synthetic[0]) for part in parts]
    by_part = list(zip(*(d_mean.split(sizes) for d_mean in d_means), strict=True))
    detached = CafeLoss(loss.total.detach(), loss.distances.detach(), loss.discrimination.detach())
    return detached, matcher.gradients(theta, tasks, by_part)


class Cafe:
    """The method of one stage: aligns features of all blocks, in dynamic loops."""

    def __init__(self, spec: CafeSpec) -> None:
        self.spec = spec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the new images of stage ``inputs.stage``; see DistillationMethod."""
        stage = _Stage(self.spec, inputs)
        first = stage.stage_images.first(stage.draws.first_images())
        draws = self.spec.iterations
        state = distill_by_draws(draws, first, stage.use, inputs, partial, observer)
        return outcome_of(state, stage.stage_images, inputs, self.spec.step_size)


class _Stage:
    """What stays the same during the draws of one stage."""

    def __init__(self, spec: CafeSpec, inputs: StageInputs) -> None:
        self.spec = spec
        self.inputs = inputs
        self.stage_images = stage_images_of(inputs, spec)
        self.draws = SiameseDraws(spec, inputs, self.stage_images)
        self.matcher = CafeMatcher(inputs.model, self.draws.batches, compile=spec.compile)
        self.weights = cafe_weights(spec, inputs.model, inputs.dataset.shape)
        self.labels = torch.cat([self.stage_images.frozen_labels, self.stage_images.labels])

    def use(self, state: DrawState) -> Mapping[str, float]:
        """Update the images with one network until its accuracy has settled."""
        network = TrainingState(drawn_model(self.inputs, state.draw))
        accuracies: list[float] = []
        losses: list[Tensor] = []
        for update in range(self.spec.max_updates):
            losses.append(self._update(state, network, update))
            accuracies.append(self._query(network.model, state.draw, update, "updated"))
            varied = spread(accuracies, self.spec.window)
            if varied is not None and varied < self.spec.settled_below:
                break
            if update + 1 < self.spec.max_updates:
                self._train(state, network, update)
        return {
            "loss": sum(fetched(losses)) / len(losses),
            "updates": len(losses),
            "network_epochs": network.epoch,
            "query_accuracy": accuracies[-1],
        }

    def _update(self, state: DrawState, network: TrainingState, update: int) -> Tensor:
        tasks = self.draws.tasks(state.images, state.draw, update)
        theta = FlatModel(network.model).flatten(network.model)
        loss, gradients = cafe_gradients(self.matcher, theta, tasks, self.weights)
        rates = image_learning_rate(self.spec, state.draw) * self.stage_images.rates
        state.descend(self.stage_images.gathered(gradients), rates, self.spec.momentum)
        return loss.total

    def _train(self, state: DrawState, network: TrainingState, update: int) -> None:
        """Train on all images until the accuracy has varied enough.

        Raises:
            NonFiniteLossError: if the training diverges, naming the network.
        """
        spec, inputs = self.spec, self.inputs
        images = torch.cat([self.stage_images.frozen, state.images])
        names = ("stage", inputs.stage, "network batches", state.draw)
        batches = random_batches(
            images, spec.network_batch_size, spec.augmentation, inputs.seed, *names
        )
        accuracies: list[float] = []
        for epoch in range(spec.max_network_epochs):
            # the stream of an epoch is named by its number since the network was drawn
            rates = [spec.network_learning_rate] * (network.epoch + 1)
            try:
                train(network, images, self.labels, rates, batches, Sgd())
            except NonFiniteLossError as error:
                msg = f"with network {state.draw + 1} of stage {inputs.stage} {error}"
                raise NonFiniteLossError(msg) from error
            accuracies.append(self._query(network.model, state.draw, update, epoch))
            varied = spread(accuracies, spec.window)
            if varied is not None and varied > spec.moved_above:
                break

    def _query(self, model: nn.Module, *names: str | int) -> float:
        """Return the mean over classes of the accuracy on random real images."""
        inputs = self.inputs
        dataset = inputs.dataset
        chosen = []
        for label in range(dataset.num_classes):
            source = generator(inputs.seed, "stage", inputs.stage, "query", *names, label)
            chosen.append(self.draws.real.batch(label, self.spec.query_images, source))
        correct = []
        for label, rows in enumerate(moved(chosen, inputs.device)):
            truth = torch.full((len(rows),), label, device=inputs.device)
            correct.append(correct_answers(model, dataset.train_images[rows], truth))
        shares = [count / len(rows) for count, rows in zip(fetched(correct), chosen, strict=True)]
        return sum(shares) / dataset.num_classes


def _group_means(functions: _Functions, theta: Tensor, batches: GroupBatches) -> LayerMeans:
    real, last = functions.summed(theta, batches.real.images, batches.real.weights)
    variable = batches.variable
    synthetic, _ = functions.summed(theta, variable.images.detach(), variable.weights)
    constant = batches.constant
    if len(constant.images):
        offset, _ = functions.summed(theta, constant.images, constant.weights)
        synthetic = tuple(a + b for a, b in zip(synthetic, offset, strict=True))
    return LayerMeans(real, synthetic, last)


class _Functions:
    """The features of a ConvNet and their derivative; compiled, if wanted, once per batch size.

    ``means(theta, images, weights)`` gives weighted sums of the features, [K, features] each, and
    the last features of every image; ``pull(theta, images, weights, d_means)`` the derivative of
    the products of these sums with ``d_means`` with respect to the images.
    """

    def __init__(self, layers: LayerFeatures, *, together: bool, compile: bool) -> None:
        self._layers = FlatModel(layers)
        self._together = together
        self.numel = self._layers.numel
        self.means = self._eager_means
        self.pull = self._eager_pull
        # Uncompiled torch.func takes 1.26 times the time of autograd at width 32, 1.11 at 128, and
        # rounds otherwise in float32 (benchmarks/twins.py): both are kept.
        if compile:
            self.means = compiled(self._means)
            self.pull = compiled(self._functional_pull)

    def summed(self, theta: Tensor, images: Tensor, weights: Tensor) -> tuple[Tensors, Tensor]:
        """Return ``means``, of as many images at once as the memory holds."""
        parts = parts_of(images, weights, together=self._together)
        sums, last = zip(*(self.means(theta, *part) for part in parts), strict=True)
        return total(sums), joined(last)

    def pulled(self, theta: Tensor, images: Tensor, weights: Tensor, d_means: Tensors) -> Tensor:
        """Return ``pull``, of as many images at once as the memory holds."""
        parts = parts_of(images, weights, together=self._together)
        return joined([self.pull(theta, batch, shares, d_means) for batch, shares in parts])

    def _means(self, theta: Tensor, images: Tensor, weights: Tensor) -> tuple[Tensors, Tensor]:
        # this network gives maps, where others give logits
        maps = cast("Tensors", self._layers(theta, images))
        flat = [values.flatten(1) for values in maps]
        return tuple(weights @ values for values in flat), flat[-1]

    def _product(self, images: Tensor, theta: Tensor, weights: Tensor, d_means: Tensors) -> Tensor:
        means, _ = self._means(theta, images, weights)
        products = [(mean * d_mean).sum() for mean, d_mean in zip(means, d_means, strict=True)]
        return torch.stack(products).sum()

    @torch.no_grad()
    def _eager_means(
        self, theta: Tensor, images: Tensor, weights: Tensor
    ) -> tuple[Tensors, Tensor]:
        return self._means(theta, images, weights)

    def _eager_pull(
        self, theta: Tensor, images: Tensor, weights: Tensor, d_means: Tensors
    ) -> Tensor:
        images = images.detach().requires_grad_(True)
        product = self._product(images, theta, weights, d_means)
        return torch.autograd.grad(product, images)[0]

    def _functional_pull(
        self, theta: Tensor, images: Tensor, weights: Tensor, d_means: Tensors
    ) -> Tensor:
        d_images: Tensor = torch.func.grad(self._product)(images, theta, weights, d_means)
        return d_images


@lru_cache
def _functions(model: ConvNetSpec, shape: Shape, device: str, compile: bool) -> _Functions:
    # The classifier, and with it the number of classes, has no part in the features.
    network = create_model(model, shape, 1, torch.Generator()).to(device)
    layers = LayerFeatures(model, network)
    return _Functions(layers, together=model.has_batch_norm, compile=compile)
