"""The kinds of plots by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.plots.courses import accuracy_per_phase, training_curves
from pdd_analysis.plots.settings import accuracy_against_cost, stages_against_images
from pdd_analysis.plots.stages import accuracy_by_mode, accuracy_per_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from pdd_analysis.plots.courses import Curve
    from pdd_ray.core.records import Record

KINDS: Mapping[str, str] = {
    "accuracy": "accuracy against the number of stages, with all real images as a line (Figure 3)",
    "stages": "numbers of stages at equal total images per class (Table 5)",
    "modes": "progressive, union and sequential training (Table 3)",
    "cost": "accuracy against time and against stored bytes",
    "curves": "a student's validation accuracy over the stages (Figure 1)",
    "continual": "accuracy over the phases of continual learning (Table 7)",
}
"""What each kind of plot shows."""

_DRAWN: Mapping[str, Callable[[Iterable[Record], Path], Path]] = {
    "accuracy": accuracy_per_stage,
    "stages": stages_against_images,
    "modes": accuracy_by_mode,
    "cost": accuracy_against_cost,
    "continual": accuracy_per_phase,
}


def draw(kind: str, records: Iterable[Record], curves: Iterable[Curve], path: Path) -> Path:
    """Draw the plot ``kind`` to ``path``, and return ``path``.

    Args:
        kind: A name of :data:`KINDS`.
        records: Finished evaluations.
        curves: Training curves, for the kind ``curves``.
        path: A file that ends in ``.png`` or ``.svg``.

    Raises:
        ConfigError: if there is nothing to draw; the text says what is missing.
    """
    if kind == "curves":
        return training_curves(curves, path)
    return _DRAWN[kind](records, path)
