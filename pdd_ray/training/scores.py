"""The step that makes forgetting scores of the real images, and the images in a window of them.

For every presentation of a train image, once per epoch and before the update, it is noted whether
the network gets it right; a forgetting event is a correct presentation followed by a wrong one
(Toneva et al. 2019; specification of other methods, section 9).
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from pdd_ray.configuration.training import ForgettingSpec
from pdd_ray.core.artifact_files import SCORE_SHARES, SCORES
from pdd_ray.core.files import write_json
from pdd_ray.core.seeding import generator
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.core.transfers import moved_network
from pdd_ray.data.dataset import load_dataset
from pdd_ray.models.factory import create_model
from pdd_ray.models.registry import read_network
from pdd_ray.training.difficulty import in_window
from pdd_ray.training.forgetting import ForgettingCounter, cumulative_fractions
from pdd_ray.training.loop import Sgd, TrainingState, random_batches
from pdd_ray.training.resumable import Part, Training, train_resumably

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.dataset import Dataset
    from pdd_ray.training.loop import Batch, Batches

logger = logging.getLogger(__name__)

BOUNDS = (3, 9, 15)
"""Scores below which shares are reported: those of the paper's Table 6."""
DROPS = (0.3, 0.6, 0.8)
"""Parts of the training after which the learning rate falls to a fifth."""
STEPS_TOGETHER = 64
"""Steps whose answers are read from the device together."""


def run(context: StepContext) -> None:
    """Train networks on the train slice and count how often each image is forgotten.

    Inputs: ``data``.
    """
    spec = ForgettingSpec.model_validate(context.config["forgetting"])
    dataset = load_dataset(context.inputs["data"], context.device, ["train"])
    total = torch.zeros(len(dataset.train_labels))
    for run_number in range(spec.runs):
        total += _scores_of_run(context, spec, dataset, run_number)
    save_tensors(context.output / SCORES, {"scores": total}, {"epochs": spec.epochs})
    shares = cumulative_fractions(total, BOUNDS)
    shares_below = {f"below_{bound}": share for bound, share in zip(BOUNDS, shares, strict=True)}
    logger.info("shares of images by score: %s", shares_below)
    write_json(context.output / SCORE_SHARES, shares_below)


def load_scores(folder: Path) -> Tensor:
    """Return the scores of the train images that :func:`run` wrote to ``folder``, float32 [N]."""
    tensors, _ = load_tensors(folder / SCORES)
    return tensors["scores"]


def images_in_window(
    dataset: Dataset, scores: Path, window: Mapping[str, Any]
) -> tuple[Dataset, dict[str, float]]:
    """Return ``dataset`` with the train images of a window of scores, and what is to be known.

    Args:
        dataset: The whole data set.
        scores: Folder of the artifact of scores.
        window: ``low``, ``high`` and ``minimum``: scores in [low, high); images that each class
            keeps.
    """
    chosen = in_window(
        load_scores(scores),
        dataset.train_labels.cpu(),
        window["low"],
        window["high"],
        window["minimum"],
        dataset.num_classes,
    )
    for label, count in chosen.filled.items():
        logger.warning(
            "class %r has too few images with a score in [%g, %g): %d of the nearest were added",
            dataset.classes[label],
            window["low"],
            window["high"],
            count,
        )
    indices = chosen.indices.to(dataset.train_images.device)
    narrowed = replace(
        dataset,
        train_images=dataset.train_images[indices],
        train_labels=dataset.train_labels[indices],
    )
    facts = {
        "train_images": float(len(indices)),
        "share_in_window": chosen.share,
        "classes_filled": float(len(chosen.filled)),
    }
    return narrowed, facts


def _scores_of_run(
    context: StepContext, spec: ForgettingSpec, dataset: Dataset, number: int
) -> Tensor:
    """Return the scores of one training, float32 [N]."""
    model_spec = read_network(context.config["model"])
    names = ("forgetting", number)
    seed = context.config["seed"]
    source = generator(seed, *names, "start")
    model = create_model(model_spec, dataset.shape, dataset.num_classes, source)
    model = moved_network(model, context.device)
    images, labels = dataset.train_images, dataset.train_labels
    presentations = _Presentations(
        len(labels), random_batches(images, spec.batch_size, spec.augmentation, seed, *names)
    )
    rates = [
        spec.learning_rate * 0.2 ** sum(epoch >= drop * spec.epochs for drop in DROPS)
        for epoch in range(spec.epochs)
    ]
    sgd = Sgd(spec.momentum, spec.weight_decay)
    training = Training(images, labels, rates, presentations.batches, sgd, presentations.loss)
    part = Part(number, spec.runs)
    train_resumably(context, TrainingState(model), training, recorder=presentations, part=part)
    return presentations.counter.scores(spec.epochs).float()


class _Presentations:
    """Counts which images a network gets right whenever they are presented to it.

    What it says stays on its device for some steps, and is read together.

    Args:
        images: Number of train images.
        draw: Gives the batches of an epoch.
    """

    def __init__(self, images: int, draw: Batches) -> None:
        self._counter = ForgettingCounter(images)
        self._draw = draw
        self._shown: deque[Tensor] = deque()
        self._right: list[Tensor] = []

    def batches(self, epoch: int) -> Iterable[Batch]:
        """Give the batches of ``epoch``, and note which images the network will get."""
        for batch in self._draw(epoch):
            self._shown.append(batch.indices)
            yield batch

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy, and note which of ``images`` ``model`` gets right."""
        logits = model(images)
        self._right.append(logits.detach().argmax(dim=1) == labels)
        if len(self._right) == STEPS_TOGETHER:
            self._count()
        return F.cross_entropy(logits, labels)

    @property
    def counter(self) -> ForgettingCounter:
        """The counts of all presentations so far."""
        self._count()
        return self._counter

    def _count(self) -> None:
        if self._right:
            sizes = [len(part) for part in self._right]
            for right in torch.cat(self._right).cpu().split(sizes):
                shown = self._shown.popleft()
                self._counter.observe(shown[: len(right)], right)
                if len(right) < len(shown):  # the batch came in parts
                    self._shown.appendleft(shown[len(right) :])
            self._right.clear()

    def after_epoch(self, epoch: int) -> None:
        pass

    def tensors(self) -> Mapping[str, Tensor]:
        return self.counter.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._counter = ForgettingCounter.restored(tensors)
