"""IDC, the distillation method: multi-formation images, matched with networks in training.

Specification of other methods, sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.seeding import generator
from pdd_ray.data.multi_formation import decode, mix_initial
from pdd_ray.methods.class_matching import ClassTask
from pdd_ray.methods.coasting import after_sweep, at_own_step
from pdd_ray.methods.drawn_networks import distill_by_draws, drawn_model, outcome_of
from pdd_ray.methods.feature_matching_idc import FeatureMatcher
from pdd_ray.methods.gradient_distance import idc_distance
from pdd_ray.methods.gradient_matching import GradientMatcher
from pdd_ray.methods.initial import class_members, noise_images, random_real_images
from pdd_ray.methods.shards import sharded
from pdd_ray.methods.stage_images import stage_images_of
from pdd_ray.models.compiled import compiled_loss
from pdd_ray.models.flat import FlatModel
from pdd_ray.training.augmentation.cutmix import draw_cutmix
from pdd_ray.training.augmentation.rules import draw_augmentation
from pdd_ray.training.loop import (
    Batch,
    Sgd,
    TrainingState,
    mean_cross_entropy,
    random_batches,
    train,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pdd_ray.configuration.methods.gradient_matching import IdcSpec
    from pdd_ray.data.pixels import PixelTransform
    from pdd_ray.methods.base import Observer, Partial, StageInputs, StageOutcome
    from pdd_ray.methods.drawn_networks import DrawState
    from pdd_ray.methods.shards import Matcher
    from pdd_ray.methods.stage_images import StageImages
    from pdd_ray.training.loop import Batches, Loss


class RealBatches(Protocol):
    """Chooses the real images that the classes are matched with."""

    def positions(self, theta: Tensor, draw: int, sweep: int) -> Sequence[Tensor]:
        """Return for each class the positions of its batch in the train images, int64 [B].

        Within a draw it is asked for the sweeps 0, 1, ... in this order.
        """


@dataclass(frozen=True)
class DecodeAndPrepare:
    """Makes network-ready images [n * f^2, C, H, W] of stored ones, pixels [n, C, H, W]."""

    factor: int
    pixels: PixelTransform

    def __call__(self, images: Tensor) -> Tensor:
        """Return what networks see of stored ``images``, part by part; differentiable."""
        return self.pixels.forward(decode(images, self.factor))


class Idc:
    """The method of one stage: matches gradients along training on real images."""

    def __init__(self, spec: IdcSpec) -> None:
        self.spec = spec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the new images of stage ``inputs.stage``, pixels in [0, 1].

        See DistillationMethod.
        """
        stage = IdcStage(self.spec, inputs, ShuffledBatches(self.spec, inputs))
        return stage.distill(first_images(self.spec, inputs), partial, observer)


class ShuffledBatches:
    """Random batches of each class, without replacement until a class has no whole batch left."""

    def __init__(self, spec: IdcSpec, inputs: StageInputs) -> None:
        self._spec = spec
        self._seed = inputs.seed
        self._names = ("stage", inputs.stage, "real batches")
        self._members = class_members(inputs.dataset)

    def positions(self, theta: Tensor, draw: int, sweep: int) -> Sequence[Tensor]:
        """Return the positions of the batch of each class; a small class gives all its images."""
        del theta
        update = draw * self._spec.inner_loop + sweep
        return [self._batch(members, label, update) for label, members in enumerate(self._members)]

    def _batch(self, members: Tensor, label: int, update: int) -> Tensor:
        size = self._spec.real_batch_size
        if len(members) <= size:
            return members
        turn, place = divmod(update, len(members) // size)
        source = generator(self._seed, *self._names, label, turn)
        order = torch.randperm(len(members), generator=source)
        return members[order[place * size : (place + 1) * size]]


class RealTraining:
    """The training of networks on real images between the sweeps over the classes.

    All batches of a stage come from one stream: whole batches of shuffled epochs, numbered from 0.
    """

    def __init__(self, spec: IdcSpec, inputs: StageInputs) -> None:
        dataset = inputs.dataset
        self._spec = spec
        self._seed = inputs.seed
        self._names = ("stage", inputs.stage, "network training")
        self._images, self._labels = dataset.train_images, dataset.train_labels
        self._size = min(spec.network_batch_size, len(self._labels))
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self._sgd = Sgd(spec.network_momentum, spec.network_weight_decay)
        self._loss_of: Loss = mean_cross_entropy
        if spec.compile:
            self._loss_of = compiled_loss(
                inputs.model, dataset.shape, dataset.num_classes, self._size
            )
        self.steps = -(-spec.network_images // self._size)
        """Steps after each sweep."""

    def early(self, network: TrainingState, draw: int) -> None:
        """Train a fresh network, number ``draw``, for the first epochs."""
        batches = random_batches(
            self._images,
            self._size,
            self._spec.network_augmentation,
            self._seed,
            *self._names,
            "early",
            draw,
            rule="idc",
            cutmix=self._spec.cutmix,
        )
        self._train(network, self._spec.early_epochs, batches)

    def after_sweep(self, network: TrainingState, update: int) -> None:
        """Train ``network`` after sweep number ``update`` of the stage."""
        first = update * self.steps
        steps = range(first, first + self.steps)
        self._train(network, 1, lambda _epoch: map(self.batch, steps))

    def batch(self, step: int) -> Batch:
        """Return batch number ``step`` of the stream."""
        epoch, place = divmod(step, len(self._labels) // self._size)
        if epoch != self._epoch:
            source = generator(self._seed, *self._names, "epoch", epoch)
            self._order = torch.randperm(len(self._labels), generator=source)
            self._epoch = epoch
        source = generator(self._seed, *self._names, "step", step)
        size, (height, width) = self._size, self._images.shape[2:]
        strategy = self._spec.network_augmentation
        return Batch(
            self._order[place * size : (place + 1) * size],
            draw_augmentation("idc", strategy, size, height, width, source),
            draw_cutmix(self._spec.cutmix, size, height, width, source),
        )

    def _train(self, network: TrainingState, epochs: int, batches: Batches) -> None:
        network.epoch = 0
        rates = [self._spec.network_learning_rate] * epochs
        train(
            network,
            self._images,
            self._labels,
            rates,
            batches,
            self._sgd,
            loss_of=self._loss_of,
        )


class IdcStage:
    """What stays the same during the draws of one stage.

    Args:
        spec: The method's configuration.
        inputs: The stage's inputs.
        real_batches: Chooses the real images of each class.
    """

    def __init__(self, spec: IdcSpec, inputs: StageInputs, real_batches: RealBatches) -> None:
        self.spec = spec
        self.inputs = inputs
        self.stage_images = stage_images_of(inputs, spec)
        self._real_batches = real_batches
        self._real_training = RealTraining(spec, inputs)
        size = inputs.dataset.shape[1]
        rate = spec.image_rate(inputs.images_per_class, size, inputs.stage)
        self._rates = rate * self.stage_images.rates
        self._is_new = _which_are_new(self.stage_images, self.spec.factor)
        self._matcher = create_matcher(
            spec, inputs, self.stage_images.frozen, self.stage_images.frozen_labels
        )

    def distill(self, first: Tensor, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the outcome for new images that start as ``first``, pixels [N, C, H, W]."""
        start = self.stage_images.first(first)
        with sharded(self._matcher, self.inputs.shards) as self._matcher:
            state = distill_by_draws(
                self.spec.iterations, start, self._use, self.inputs, partial, observer
            )
        # Later stages clamp what they start from: what is saved is what they will be matched with.
        state.images = state.images.clamp(0, 1)
        return outcome_of(state, self.stage_images, self.inputs, self.spec.step_size)

    def _use(self, state: DrawState) -> dict[str, Tensor]:
        """Make all updates with one network; return their mean loss over sweeps and classes."""
        state.images = state.images.clamp(0, 1)
        network = self._network(state.draw)
        flat = FlatModel(network.model)
        losses = []
        for sweep in range(self.spec.inner_loop):
            losses.append(self._sweep(state, flat.flatten(network.model), sweep))
            # Nobody would see what the network learns after the last sweep.
            if self._real_training.steps and sweep + 1 < self.spec.inner_loop:
                self._train(network, state.draw, sweep)
        return {"loss": torch.stack(losses).mean()}

    def _network(self, draw: int) -> TrainingState:
        network = TrainingState(drawn_model(self.inputs, draw))
        if self.spec.early_epochs and not self.inputs.bank:
            self._real_training.early(network, draw)
        return network

    def _train(self, network: TrainingState, draw: int, sweep: int) -> None:
        try:
            self._real_training.after_sweep(network, draw * self.spec.inner_loop + sweep)
        except NonFiniteLossError as error:
            msg = (
                f"training network {draw + 1} of stage {self.inputs.stage} on real images diverged "
                f"after sweep {sweep + 1}; lower network_learning_rate"
            )
            raise NonFiniteLossError(msg) from error

    def _sweep(self, state: DrawState, theta: Tensor, sweep: int) -> Tensor:
        """Update the images of every class once; return the mean loss of the classes, []."""
        real = self._real_batches.positions(theta, state.draw, sweep)
        momentum, coasting = self.spec.momentum, self.spec.coasting
        labels, rates = self.stage_images.labels, self._rates
        images = state.images
        if coasting:
            images = at_own_step(images, state.momentum, labels, rates, momentum)
        tasks = [
            self._task(label, positions, images, state.draw, sweep)
            for label, positions in enumerate(real)
        ]
        matches = self._matcher.match(theta, tasks)
        gradient = self.stage_images.gathered([match.gradient for match in matches])
        if coasting:
            state.images, state.momentum = after_sweep(
                state.images, gradient, state.momentum, labels, len(tasks), rates, momentum
            )
        else:
            state.descend(gradient, rates, momentum)
        return torch.stack([match.loss for match in matches]).mean()

    def _task(self, label: int, real: Tensor, images: Tensor, draw: int, sweep: int) -> ClassTask:
        inputs = self.inputs
        source = generator(inputs.seed, "stage", inputs.stage, "match", draw, sweep, label)
        _, height, width = inputs.dataset.shape
        return ClassTask(
            label=label,
            real=real,
            images=images[self.stage_images.members(label)],
            augmentation=draw_augmentation(
                "idc", self.spec.augmentation, 1, height, width, source, shared=True
            ),
            subsample=draw_subsample(
                self._is_new[label],
                self.spec.synthetic_batch_size,
                source,
                new_first=self.spec.always_new,
            ),
        )


def _which_are_new(stage_images: StageImages, factor: int) -> list[Tensor]:
    """Return for each class which of its frozen and decoded images are new ones, bool, CPU."""
    frozen = stage_images.frozen_labels.cpu()
    return [
        torch.cat(
            [
                torch.zeros(int((frozen == label).sum()), dtype=torch.bool),
                (members >= len(stage_images.carried)).repeat(factor**2),
            ]
        )
        for label, members in enumerate(stage_images.host_members)
    ]


def create_matcher(
    spec: IdcSpec, inputs: StageInputs, frozen: Tensor, frozen_labels: Tensor
) -> Matcher[[]]:
    """Return what computes the loss and the image gradient of classes.

    Args:
        spec: The method's configuration.
        inputs: The stage's inputs.
        frozen: Network-ready images of earlier stages, [F, C, H, W].
        frozen_labels: Their classes, int64 [F].
    """
    dataset = inputs.dataset
    prepare = DecodeAndPrepare(spec.factor, dataset.pixels)
    data = (dataset.train_images, frozen, frozen_labels)
    if spec.match == "features":
        return FeatureMatcher(inputs.model, *data, prepare, compile=spec.compile)
    distance = idc_distance(spec.metric)
    return GradientMatcher(
        inputs.model, dataset.num_classes, *data, distance, prepare, compile=spec.compile
    )


def draw_subsample(
    is_new: Tensor, limit: int, source: torch.Generator, *, new_first: bool
) -> Tensor | None:
    """Draw ``limit`` different rows: int64 [limit], or None if there are not more than that.

    Args:
        is_new: Which rows are of new images, bool [N].
        limit: Most rows.
        source: A CPU generator.
        new_first: Take rows of earlier stages only if there are not enough new ones.
    """
    if len(is_new) <= limit:
        return None
    order = torch.randperm(len(is_new), generator=source)
    if new_first:
        order = order[(~is_new[order]).int().argsort(stable=True)]
    return order[:limit]


def first_images(spec: IdcSpec, inputs: StageInputs) -> Tensor:
    """Return the first new images: pixels [num_classes * images_per_class, C, H, W]."""
    names = ("stage", inputs.stage, "initialisation")
    count = inputs.images_per_class
    if spec.initialisation == "noise":
        noise = noise_images(inputs.dataset, count, inputs.seed, *names)
        return (noise / 4 + 0.5).clamp(0, 1)
    needed = spec.real_images_per_class(count)
    real = random_real_images(inputs.dataset, needed, inputs.seed, *names)
    return mixed(real, spec, inputs)


def mixed(real: Tensor, spec: IdcSpec, inputs: StageInputs) -> Tensor:
    """Return the new images that are tiled from ``real`` ones, pixels in [0, 1].

    Args:
        real: Prepared train images, class by class, as many as tiles: [N * f^2, C, H, W].
        spec: The method's configuration.
        inputs: The stage's inputs.
    """
    pixels = inputs.dataset.pixels.inverse(real).clamp(0, 1)
    classes = pixels.chunk(inputs.dataset.num_classes)
    return torch.cat([mix_initial(each, spec.factor, inputs.images_per_class) for each in classes])
