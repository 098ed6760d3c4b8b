"""The plan of a sweep: all steps of all its experiments, and the records of its evaluations.

Steps that agree in everything that made them have the same key, and are done once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pdd_ray.configuration.method import DistillationSpec
from pdd_ray.core.records import Record
from pdd_ray.core.steps import Step, topological
from pdd_ray.data.source_registry import SOURCES
from pdd_ray.planning.checks import check_experiment
from pdd_ray.planning.evaluation_steps import PlannedEvaluation, planned_evaluations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pdd_ray.configuration.expand import Experiment
    from pdd_ray.configuration.experiment import ResourcesSpec
    from pdd_ray.configuration.sweep import SweepSpec
    from pdd_ray.data.facts import DataFacts
    from pdd_ray.data.spec import DataSpec

FLOAT_BYTES = 4


@dataclass(frozen=True)
class SweepPlan:
    """All steps of a sweep.

    Attributes:
        sweep: The sweep.
        steps: Every step once, inputs before what reads them.
        requested: Number of steps before sharing, summed over the experiments.
        evaluations: What the sweep reports.
    """

    sweep: SweepSpec
    steps: tuple[Step, ...]
    requested: int
    evaluations: tuple[PlannedEvaluation, ...]

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """A record for every evaluation, its results still to be filled in."""
        return tuple(_record(self.sweep.name, evaluation) for evaluation in self.evaluations)


def plan_sweep(
    sweep: SweepSpec,
    experiments: Sequence[Experiment],
    facts: Callable[[DataSpec], DataFacts],
) -> SweepPlan:
    """Return the steps of all ``experiments``, with shared ones once.

    Raises:
        ConfigError: if an experiment can't be carried out on its data.
    """
    evaluations: list[PlannedEvaluation] = []
    steps: dict[str, Step] = {}
    requested = 0
    for experiment in experiments:
        planned = plan_experiment(experiment, facts(experiment.spec.data), sweep.resources)
        own = topological(evaluation.step for evaluation in planned)
        requested += len(own)
        evaluations += planned
        for step in own:
            steps.setdefault(step.key, step)
    return SweepPlan(sweep, tuple(steps.values()), requested, tuple(evaluations))


def plan_experiment(
    experiment: Experiment, facts: DataFacts, resources: ResourcesSpec
) -> list[PlannedEvaluation]:
    """Return the evaluations of one experiment; their steps lead to all others.

    Raises:
        ConfigError: if the experiment can't be carried out on its data.
    """
    check_experiment(experiment, facts)
    return list(planned_evaluations(experiment, facts, resources))


def planned_records(plan: SweepPlan) -> tuple[Record, ...]:
    """Return a record for every evaluation of ``plan``, its results still to be filled in."""
    return plan.records


def _record(sweep: str, evaluation: PlannedEvaluation) -> Record:
    experiment, facts = evaluation.experiment, evaluation.facts
    spec, method = experiment.spec, experiment.spec.method
    full = evaluation.mode == "full"
    sizes = [] if full else [stage.images_per_class for stage in spec.stages]
    per_class = sum(sizes[: evaluation.stages])
    phases = spec.continual.phases if spec.continual else 0
    classes = len(facts.classes) * evaluation.phase // phases if phases else len(facts.classes)
    images = sum(facts.train_counts) if full else per_class * classes
    return Record(
        sweep=sweep,
        variant=experiment.variant,
        seed=experiment.seed,
        dataset=_dataset_name(spec.data),
        method="full" if full else method.name,
        mode=evaluation.mode,
        stages=evaluation.stages,
        total_stages=len(sizes),
        images_per_class=sizes[0] if sizes else 0,
        total_images_per_class=per_class,
        model=evaluation.model,
        network=evaluation.network,
        epochs=evaluation.epochs,
        step_size=0.0,
        test_accuracy=0.0,
        validation_accuracy=0.0,
        test_images=0,
        seconds=0.0,
        key=evaluation.step.key,
        stage_key=evaluation.stage_step.key if evaluation.stage_step else "",
        protocol=spec.protocol,
        phase=evaluation.phase,
        phases=phases,
        classes=classes,
        train_images=sum(facts.train_counts),
        stored_bytes=images * math.prod(facts.shape) * FLOAT_BYTES,
        conditioning=not isinstance(method, DistillationSpec) or method.conditioning,
        transition=not isinstance(method, DistillationSpec) or method.transition,
        axes=dict(experiment.axes),
    )


def _dataset_name(spec: DataSpec) -> str:
    """Return the source, or the name of the folder or file that somebody's own images are in."""
    own = spec.root if SOURCES[spec.source].own_images else None
    return own.name.removesuffix(".npz") if own else spec.source
