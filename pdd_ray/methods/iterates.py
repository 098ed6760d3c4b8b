"""Choosing the iterate that a stage hands on: by validation accuracy of trained networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.seeding import generator
from pdd_ray.training import (
    TrainingState,
    accuracy,
    random_batches,
    reference_learning_rates,
    sgd_of,
    train,
)

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.methods.base import Candidate, StageInputs
    from pdd_ray.specs.methods import IterateSelectionSpec


def validation_accuracy(
    candidate: Candidate, labels: Tensor, inputs: StageInputs, spec: IterateSelectionSpec
) -> float:
    """Return the mean validation accuracy of networks trained on the union with ``candidate``.

    The networks start at ``inputs.held_out`` (theta_i of chains that no expert uses) and see the
    same batches for every candidate of a stage, so that candidates are compared in pairs.

    Args:
        candidate: New images and step size.
        labels: Labels of the new images, int64 [N].
        inputs: The stage's inputs.
        spec: How networks are trained.
    """
    previous = inputs.previous
    images = torch.cat([previous.images.to(inputs.device), candidate.images])
    classes = torch.cat([previous.labels, labels]).to(inputs.device)
    rates = reference_learning_rates(candidate.step_size, spec.epochs)
    dataset = inputs.dataset
    total = 0.0
    for index, start in enumerate(inputs.held_out[: spec.networks]):
        names = ("stage", inputs.stage, "selection", index)
        model = create_model(
            inputs.model, dataset.shape, dataset.num_classes, generator(inputs.seed, *names)
        ).to(inputs.device)
        FlatModel(model).load(model, start.to(inputs.device))
        batches = random_batches(
            images, spec.batch_size, spec.augmentation, inputs.seed, *names, "batches"
        )
        train(TrainingState(model), images, classes, rates, batches, sgd_of(spec))
        total += accuracy(model, dataset.validation_images, dataset.validation_labels)
    return total / min(spec.networks, len(inputs.held_out))
