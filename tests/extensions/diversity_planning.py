"""Planning of the step that measures the diversity of a stage's images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core.operations import Operation
from pdd_ray.core.steps import Cost, Step

if TYPE_CHECKING:
    from pdd_ray.planning.stage_steps import StagePlanner

DIVERSITY = Operation("diversity", "tests.extensions.diversity:run", resources="evaluation")


def diversity(planner: StagePlanner, stage: int) -> Step:
    """Return the step that measures the images of U_stage."""
    inputs = {"stage": planner.stage(stage)}
    return planner.step(DIVERSITY, f"diversity{stage}", {}, inputs, Cost())
