"""Features of the real images under a network that was trained on them, for coresets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter

from pdd_ray.core.artifact_files import FEATURES
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.data.dataset import load_dataset
from pdd_ray.models.registry import ModelSpec
from pdd_ray.training.trajectories import last_network, open_trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.core.steps import StepContext

BATCH = 256
_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)


@torch.no_grad()
def run(context: StepContext) -> None:
    """Embed the train images, unaugmented, by the last snapshot of an expert.

    Features are the inputs of the classifier (specification of other methods, section 8).

    Inputs: ``data``, ``expert``.
    """
    dataset = load_dataset(context.inputs["data"], context.device)
    trajectory = open_trajectory(context.inputs["expert"])
    spec = _MODEL.validate_python(context.config["model"])
    model = last_network(trajectory, spec, dataset.train_images, dataset.num_classes)
    embedding = model[:-1]
    features = torch.cat([embedding(batch) for batch in dataset.train_images.split(BATCH)])
    save_tensors(context.output / FEATURES, {"features": features.cpu()}, {})


def load_features(folder: Path) -> Tensor:
    """Return the features that :func:`run` wrote to ``folder``, float32 [N, D]."""
    tensors, _ = load_tensors(folder / FEATURES)
    return tensors["features"]
