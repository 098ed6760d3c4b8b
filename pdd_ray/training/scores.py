"""Forgetting scores of the real images, and the images that a window of them leaves.

For every presentation of a train image, once per epoch and before the update, it is noted whether
the network gets it right; a forgetting event is a correct presentation followed by a wrong one
(Toneva et al. 2019; specification of other methods, section 9).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter

from pdd_ray.configuration.training import ForgettingSpec
from pdd_ray.core.artifact_files import SCORE_SHARES, SCORES
from pdd_ray.core.files import write_json
from pdd_ray.core.seeding import generator
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.data.dataset import load_dataset
from pdd_ray.models.factory import create_model
from pdd_ray.models.registry import ModelSpec
from pdd_ray.training.difficulty import in_window
from pdd_ray.training.forgetting import ForgettingCounter, cumulative_fractions
from pdd_ray.training.loop import Sgd, TrainingState, random_batches, train

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.dataset import Dataset
    from pdd_ray.training.loop import Batch

logger = logging.getLogger(__name__)

BOUNDS = (3, 9, 15)
"""Scores below which shares are reported: those of the paper's Table 6."""
DROPS = (0.3, 0.6, 0.8)
"""Parts of the training after which the learning rate falls to a fifth."""
_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)


def run(context: StepContext) -> None:
    """Train networks on the train slice and count how often each image is forgotten.

    Inputs: ``data``.
    """
    spec = ForgettingSpec.model_validate(context.config["forgetting"])
    dataset = load_dataset(context.inputs["data"], context.device)
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
    """Return the scores of one training, float32 [N].

    The presentations are seen by a hook of the network, since the loss hides its logits.
    """
    model_spec = _MODEL.validate_python(context.config["model"])
    names = ("forgetting", number)
    seed = context.config["seed"]
    source = generator(seed, *names, "start")
    model = create_model(model_spec, dataset.shape, dataset.num_classes, source)
    model = model.to(context.device)
    counter = ForgettingCounter(len(dataset.train_labels))
    draw = random_batches(dataset.train_images, spec.batch_size, spec.augmentation, seed, *names)
    shown: list[Tensor] = []

    def batches(epoch: int) -> Iterable[Batch]:
        for batch in draw(epoch):
            shown[:] = [batch.indices]
            yield batch

    def observe(_model: object, _inputs: object, logits: Tensor) -> None:
        truth = dataset.train_labels[shown[0].to(logits.device)]
        counter.observe(shown[0], (logits.argmax(dim=1) == truth).cpu())

    def after_epoch(epoch: int, loss: float) -> None:
        fraction = (number + epoch / spec.epochs) / spec.runs
        context.progress({"fraction": fraction, "loss": loss})

    hook = model.register_forward_hook(observe)
    rates = [
        spec.learning_rate * 0.2 ** sum(epoch >= drop * spec.epochs for drop in DROPS)
        for epoch in range(spec.epochs)
    ]
    sgd = Sgd(spec.momentum, spec.weight_decay)
    images, labels = dataset.train_images, dataset.train_labels
    train(TrainingState(model), images, labels, rates, batches, sgd, after_epoch=after_epoch)
    hook.remove()
    return counter.scores(spec.epochs).float()
