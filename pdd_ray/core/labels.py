"""Labels: readable names of experiments and their steps, ``pdd/epochs=4/seed0/stage2``.

They name, and identify nothing: keys do. Made and taken apart here alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pdd_ray.core.dotted import last_part

if TYPE_CHECKING:
    from pdd_ray.core.identities import Json

_EXPERIMENT = re.compile(r"^.*?(?:^|/)seed-?\d+/")


def experiment_label(variant: str, axes: Mapping[str, Json], seed: int) -> str:
    """Return the label of an experiment: ``variant/axis=value/seed0``."""
    values = [axis_label(axis, _short(value)) for axis, value in axes.items()]
    return "/".join([variant, *values, f"seed{seed}"])


def picture_label(variant: str, axes: Mapping[str, Json], seed: int, phase: int = 0) -> str:
    """Return the name of a picture of an experiment, which a file can have.

    Args:
        variant: Variant of the experiment.
        axes: Its values of the grid axes.
        seed: Its seed.
        phase: Phase of continual learning; 0 without.
    """
    values = [axis_label(axis, str(value)) for axis, value in axes.items()]
    parts = [variant, *values, f"seed{seed}", *([f"phase{phase}"] if phase else [])]
    return re.sub(r"[^\w.=+-]+", "_", "-".join(parts))


def axis_label(axis: str, value: str) -> str:
    """Return a value of a grid axis under its short name: ``iterations=20``."""
    return f"{last_part(axis)}={value}"


def name_within_experiment(label: str) -> str:
    """Return what a step's label says behind the experiment: ``stage2``, ``phase1/stage2``."""
    return _EXPERIMENT.sub("", label)


def _short(value: Json) -> str:
    """Return an axis value for a label: ``3x2`` for stages, compact JSON for other structures."""
    if isinstance(value, Mapping):
        if set(value) == {"count", "images_per_class"}:
            return f"{value['count']}x{value['images_per_class']}"
        return json.dumps(value, separators=(",", ":")).replace("/", "|")
    return str(value).replace("/", "|")
