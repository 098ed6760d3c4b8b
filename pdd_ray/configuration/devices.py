"""Which kinds of steps a sweep has, and whether each holds the device that it is to compute on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.configuration.method import DistillationSpec
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pdd_ray.configuration.document import Node
    from pdd_ray.configuration.experiment import ExperimentSpec, ResourcesSpec

COMPUTING = ("start", "expert", "scores", "features", "stage", "evaluation")
"""Entries of `resources` whose steps compute on the device; data are prepared on the CPU."""


def check_gpus(root: Node, resources: ResourcesSpec, specs: Iterable[ExperimentSpec]) -> None:
    """Refuse `device: cuda` for steps that hold no GPU.

    Ray would place them without regard to GPUs, so that any number of them would meet on one.

    Args:
        root: The document of the sweep, for the place of the problem.
        resources: What it says of resources.
        specs: Its experiments.

    Raises:
        ConfigError: naming the kinds of steps, at the line of the device.
    """
    if resources.device != "cuda":
        return
    used = {kind for spec in specs for kind in computing_kinds(spec)}
    without = [kind for kind in COMPUTING if kind in used and not getattr(resources, kind).gpus]
    if not without:
        return
    given = root.mapping()["resources"].mapping()["device"]
    keys = ", ".join(f"resources.{kind}.gpus" for kind in without)
    msg = (
        f"{given.place}: 'cuda' for {' and '.join(without)} steps, which hold no GPU; give them "
        f"one or a fraction of one ({keys}), or use device 'auto': the CPU for steps without GPUs"
    )
    raise ConfigError(msg)


def computing_kinds(spec: ExperimentSpec) -> Iterator[str]:
    """Yield the entries of `resources` whose steps an experiment has and that use the device."""
    yield "evaluation"
    if set(spec.evaluation.modes) == {"full"}:
        return  # nothing is distilled
    yield "stage"
    for stage in range(1, len(spec.stages) + 1):
        method = spec.stage_method(stage)
        distilled = method if isinstance(method, DistillationSpec) else None
        if method.trajectory_epochs or method.needs_features:
            yield "expert"
        if method.needs_features:
            yield "features"
        if method.needs_scores or (distilled and distilled.difficulty):
            yield "scores"
        chains = method.trajectory_epochs or method.held_out_chains or method.bank_chains
        if stage > 1 and distilled and distilled.transition and chains:
            yield "start"
