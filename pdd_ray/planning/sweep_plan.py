"""The plan of a sweep: all steps of all its experiments, and the records of its evaluations.

Steps that agree in everything that made them have the same key, and are done once.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from pdd_ray.configuration.method import DistillationSpec
from pdd_ray.core import artifact_files
from pdd_ray.core.errors import DamagedArtifactError
from pdd_ray.core.operations import EVALUATION, kind_of
from pdd_ray.core.records import Record
from pdd_ray.core.steps import Step, topological
from pdd_ray.data.source_registry import SOURCES
from pdd_ray.planning.evaluation_steps import PlannedEvaluation, planned_evaluations
from pdd_ray.planning.experiments import check_experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pdd_ray.configuration.expand import Experiment
    from pdd_ray.configuration.experiment import ResourcesSpec
    from pdd_ray.configuration.sweep import SweepSpec
    from pdd_ray.core.store import Store
    from pdd_ray.data.facts import DataFacts
    from pdd_ray.data.spec import DataSpec

FLOAT_BYTES = 4
RESULTS = ("step_size", "test_accuracy", "validation_accuracy", "test_images")
"""Fields of a record that its evaluation's ``result.json`` gives."""


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
    requested = 0
    for experiment in experiments:
        planned = plan_experiment(experiment, facts(experiment.spec.data), sweep.resources)
        requested += len(topological(evaluation.step for evaluation in planned))
        evaluations += planned
    steps = tuple(topological(evaluation.step for evaluation in evaluations))
    return SweepPlan(sweep, steps, requested, tuple(evaluations))


def plan_experiment(
    experiment: Experiment, facts: DataFacts, resources: ResourcesSpec
) -> list[PlannedEvaluation]:
    """Return the evaluations of one experiment; their steps lead to all others.

    Raises:
        ConfigError: if the experiment can't be carried out on its data.
    """
    check_experiment(experiment, facts)
    return list(planned_evaluations(experiment, facts, resources))


def collect_records(plan: SweepPlan, store: Store) -> list[Record]:
    """Return the records of the finished evaluations of ``plan``, in its order."""
    return finished_records(planned_records(plan), store)


def planned_records(plan: SweepPlan) -> list[Record]:
    """Return a record for every evaluation of ``plan``, its results still to be filled in."""
    return [_record(plan.sweep.name, evaluation) for evaluation in plan.evaluations]


def finished_records(planned: Iterable[Record], store: Store) -> list[Record]:
    """Return the ``planned`` records whose evaluations are finished, with their results."""
    cost = _CostOfSets(store)
    return [_with_results(record, store, cost) for record in planned if store.exists(record.key)]


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


def _with_results(planned: Record, store: Store, cost: _CostOfSets) -> Record:
    try:
        text = (store.folder(planned.key) / artifact_files.RESULT).read_text(encoding="utf-8")
        result = {name: json.loads(text)[name] for name in RESULTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its {artifact_files.RESULT} can't be read ({error})"
        raise DamagedArtifactError(planned.key, reason) from error
    manifest = store.manifest(planned.key)
    return replace(
        planned, **result, seconds=manifest["seconds"], cost_seconds=cost.of(planned.key)
    )


class _CostOfSets:
    """Adds up the time of the steps that led to what evaluations evaluated."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made_by = cache(self._read)

    def of(self, evaluation: str) -> float | None:
        """Return the seconds of all steps before the evaluation, other evaluations left out.

        None if one of them is not in the store any more.
        """
        seen: dict[str, float] = {}
        waiting = list(self._made_by(evaluation)[1])
        while waiting:
            key = waiting.pop()
            if key in seen:
                continue
            if not self._store.exists(key):
                return None
            seconds, inputs = self._made_by(key)
            seen[key] = 0.0 if kind_of(key) == EVALUATION.kind else seconds
            waiting += inputs
        return math.fsum(seen.values())

    def _read(self, key: str) -> tuple[float, tuple[str, ...]]:
        manifest = self._store.manifest(key)
        return manifest["seconds"], tuple(manifest["inputs"].values())
