"""The step that embeds the real images by a trained expert, for coresets, and its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.core.artifact_files import FEATURES
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.data.dataset import load_dataset
from pdd_ray.models.registry import read_network
from pdd_ray.training.chunks import size_at_once
from pdd_ray.training.trajectories import last_network, open_trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from pdd_ray.core.steps import StepContext

BATCH = 256


def run(context: StepContext) -> None:
    """Embed the train images, unaugmented, by the last snapshot of an expert.

    Features are the inputs of the classifier (specification of other methods, section 8).

    Inputs: ``data``, ``expert``.
    """
    dataset = load_dataset(context.inputs["data"], context.device, ["train"])
    trajectory = open_trajectory(context.inputs["expert"])
    spec = read_network(context.config["model"])
    model = last_network(trajectory, spec, dataset.train_images, dataset.num_classes)
    features = embedded(dataset.train_images, model[:-1])
    save_tensors(context.output / FEATURES, {"features": features.cpu()}, {})


@torch.no_grad()
def embedded(images: Tensor, embedding: nn.Module, batch_size: int = BATCH) -> Tensor:
    """Return the features [N, D] of ``images`` [N, C, H, W], ``batch_size`` of them at once."""
    size = size_at_once(batch_size, len(images))
    return torch.cat([embedding(batch) for batch in images.split(size)])


def load_features(folder: Path) -> Tensor:
    """Return the features that :func:`run` wrote to ``folder``, float32 [N, D]."""
    tensors, _ = load_tensors(folder / FEATURES)
    return tensors["features"]
