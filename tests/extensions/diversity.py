"""Diversity: how far the images of a class of a synthetic set are from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.core.files import write_json
from pdd_ray.data.synthetic_set import load_synthetic_set

if TYPE_CHECKING:
    from pdd_ray.core.steps import StepContext

DIVERSITY_FILE = "diversity.json"


def run(context: StepContext) -> None:
    """Write the mean distance between two images of a class, by class.

    Inputs: ``stage`` (U_i).
    """
    union = load_synthetic_set(context.inputs["stage"])
    result = {}
    for label, name in enumerate(union.classes):
        images = union.images[union.labels == label].flatten(1).to(context.device)
        result[name] = float(torch.pdist(images).mean())
        context.progress({"fraction": (label + 1) / len(union.classes)})
    write_json(context.output / DIVERSITY_FILE, result)
