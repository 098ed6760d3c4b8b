"""The score by which MTT chooses its iterate: validation accuracy of networks trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.core.seeding import generator
from pdd_ray.core.transfers import moved_network
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.training.loop import (
    TrainingState,
    accuracy,
    learning_rates,
    recipe_batches,
    sgd_of,
    train,
)

if TYPE_CHECKING:
    from pdd_ray.configuration.methods.trajectory_matching import IterateSelectionSpec
    from pdd_ray.methods.base import Candidate, StageInputs
    from pdd_ray.methods.stage_images import StageImages


def validation_accuracy(
    candidate: Candidate, stage_images: StageImages, inputs: StageInputs, spec: IterateSelectionSpec
) -> float:
    """Return the mean validation accuracy of networks trained on ``candidate`` and frozen images.

    Without conditioning nothing is frozen: they train on the stage's own set alone. The networks
    start at ``inputs.held_out`` (theta_i of chains that no expert uses) and see the same batches
    for every candidate of a stage, so that candidates are compared in pairs.

    Args:
        candidate: What is optimised, and step size.
        stage_images: Which images these are, and which are frozen.
        inputs: The stage's inputs.
        spec: How networks are trained.
    """
    images = torch.cat([stage_images.frozen, candidate.images])
    targets = torch.cat([stage_images.frozen_labels, stage_images.labels])
    if candidate.soft_labels is not None:
        frozen = inputs.previous.soft_labels[: len(stage_images.frozen)].to(candidate.soft_labels)
        targets = torch.cat([frozen, candidate.soft_labels]).softmax(dim=1)
    rates = learning_rates(spec, candidate.step_size)
    dataset = inputs.dataset
    total = 0.0
    for index, start in enumerate(inputs.held_out[: spec.networks]):
        names = ("stage", inputs.stage, "selection", index)
        source = generator(inputs.seed, *names)
        model = create_model(inputs.model, dataset.shape, dataset.num_classes, source)
        FlatModel(model).load(model, start)
        model = moved_network(model, inputs.device)
        batches = recipe_batches(images, spec, inputs.seed, *names, "batches")
        train(TrainingState(model), images, targets, rates, batches, sgd_of(spec))
        total += accuracy(model, dataset.validation_images, dataset.validation_labels)
    return total / min(spec.networks, len(inputs.held_out))
