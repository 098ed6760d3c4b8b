"""Progressive dataset distillation as steps: the paper's algorithm, planned.

``theta_1`` is random; ``S_i = A(theta_i, T | U_{i-1})``; ``theta_{i+1}`` is trained from
``theta_i`` on ``U_i``; an evaluation trains one network on ``U_1``, then ``U_2``, ..., then ``U_P``
(PDD, sections 4.1 and 5.1; Algorithm 1's indices are off by one, specification, section 9.1).
Stage 1 is the base method itself. Steps that agree in everything that made them have the same key,
and are done once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from pdd_ray import costs
from pdd_ray.data.facts import DataFacts, step_config
from pdd_ray.errors import DamagedArtifactError
from pdd_ray.experiments import check_experiment, experiment_id
from pdd_ray.records import Record
from pdd_ray.specs.methods.base import DistillationSpec
from pdd_ray.steps import Cost, Resources, Step, topological

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pdd_ray.fingerprint import Json
    from pdd_ray.specs.data import DataSpec
    from pdd_ray.specs.expand import Experiment
    from pdd_ray.specs.experiment import ResourcesSpec, StepResources
    from pdd_ray.specs.methods import MethodSpec
    from pdd_ray.specs.model import ModelSpec
    from pdd_ray.specs.sweep import SweepSpec
    from pdd_ray.store import Store

GIGABYTE = 1_000_000_000
RESULTS = ("step_size", "test_accuracy", "validation_accuracy", "test_images")
"""Fields of a record that its evaluation's ``result.json`` gives."""


@dataclass(frozen=True)
class PlannedEvaluation:
    """One evaluation that a sweep reports: a step, and what it is an evaluation of."""

    step: Step
    experiment: Experiment
    mode: str
    stages: int
    model: str
    network: int
    epochs: int
    stage_step: Step


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
    planner = _Planner(experiment, facts, resources)
    return list(planner.evaluations())


def collect_records(plan: SweepPlan, store: Store) -> list[Record]:
    """Return the records of the finished evaluations of ``plan``, in its order."""
    return finished_records(planned_records(plan), store)


def planned_records(plan: SweepPlan) -> list[Record]:
    """Return a record for every evaluation of ``plan``, its results still to be filled in."""
    return [_record(plan.sweep.name, evaluation) for evaluation in plan.evaluations]


def finished_records(planned: Iterable[Record], store: Store) -> list[Record]:
    """Return the ``planned`` records whose evaluations are finished, with their results."""
    return [_with_results(record, store) for record in planned if store.exists(record.key)]


class _Planner:
    """Makes the steps of one experiment."""

    def __init__(self, experiment: Experiment, facts: DataFacts, resources: ResourcesSpec) -> None:
        self.experiment = experiment
        self.spec = experiment.spec
        self.facts = facts
        self.resources = resources
        self.model = self.spec.model.to_json()
        self.costs = costs.Costs(self.spec, facts)
        # Made once each: otherwise planning would take time exponential in the stages.
        self.data = cache(self._data)
        self.stage = cache(self._stage)
        self.start = cache(self._start)
        self.scores = cache(self._scores)
        self.expert = cache(self._expert)
        self.evaluation = cache(self._evaluation)

    def evaluations(self) -> Iterator[PlannedEvaluation]:
        """Yield every evaluation that the experiment reports."""
        spec = self.spec.evaluation
        last = len(self.spec.stages)
        prefixes = range(1, last + 1) if spec.prefixes == "all" else [last]
        models = spec.models or (self.spec.model,)
        networks = range(spec.networks)
        for mode, model, stages, network in product(spec.modes, models, prefixes, networks):
            union = mode == "union"
            recipe = self.spec.method.recipe
            count = spec.epochs_of_union if union else spec.epochs_per_stage
            epochs = count(stages, recipe)
            yield PlannedEvaluation(
                step=self.evaluation(mode, model, network, stages, epochs),
                experiment=self.experiment,
                mode=mode,
                stages=stages,
                model=model.label,
                network=network,
                epochs=epochs,
                stage_step=self.stage(stages),
            )

    def _data(self) -> Step:
        """Return the step that prepares the data set."""
        return self._step(
            "data",
            "pdd_ray.data.step:run",
            "data",
            step_config(self.spec.data, self.facts),
            {},
            self.costs.data(),
        )

    def _stage(self, stage: int) -> Step:
        """Return the step that makes S_stage, conditioned on U_{stage - 1}."""
        method = self.spec.stage_method(stage)
        per_class = self.spec.stages[stage - 1].images_per_class
        inputs: dict[str, Step] = {"data": self.data()}
        config: dict[str, Json] = {
            "method": method.to_json(),
            "model": self.model,
            "images_per_class": per_class,
            "seed": self.experiment.seed,
            "stage": stage,
        }
        if stage > 1:
            inputs["previous"] = self.stage(stage - 1)
        window = difficulty_window(method, stage)
        if window:
            config["window"] = window
        if window or method.needs_scores:
            inputs["scores"] = self.scores()
        if method.needs_features:
            inputs["features"] = self._features()
        inputs |= self._networks(stage, method, config)
        return self._step(
            "stage" if method.distills else "selection",
            "pdd_ray.stage:run",
            f"stage{stage}",
            config,
            inputs,
            self.costs.stage(stage),
            trial=method.distills,
        )

    def _networks(self, stage: int, method: MethodSpec, config: dict[str, Json]) -> dict[str, Step]:
        """Return the experts, held-out starts and the bank of ``stage``, as far as needed."""
        count = self.spec.experts.count
        held_out = list(range(count, count + method.held_out_chains))
        inputs: dict[str, Step] = {}
        if held_out:
            config["held_out"] = held_out
        if method.trajectory_epochs:
            inputs |= {f"expert.{chain}": self.expert(stage, chain) for chain in range(count)}
        if has_transition(method, stage):
            inputs |= {f"held_out.{chain}": self.start(stage, chain) for chain in held_out}
            bank = range(method.bank_chains)
            inputs |= {f"bank.{chain}": self.start(stage, chain) for chain in bank}
        return inputs

    def _scores(self) -> Step:
        """Return the forgetting scores of the real images."""
        config: dict[str, Json] = {
            "forgetting": self.spec.forgetting.to_json(),
            "model": self.model,
            "seed": self.experiment.seed,
        }
        inputs = {"data": self.data()}
        cost = self.costs.scores()
        return self._step("scores", "pdd_ray.scores:run", "scores", config, inputs, cost)

    def _features(self) -> Step:
        """Return the features of the real images under the first expert."""
        inputs = {"data": self.data(), "expert": self.expert(1, 0)}
        config: dict[str, Json] = {"model": self.model}
        cost = self.costs.features()
        return self._step("features", "pdd_ray.features:run", "features", config, inputs, cost)

    def _start(self, stage: int, chain: int) -> Step:
        """Return the transition of ``chain`` to theta_stage (stage > 1)."""
        inputs = {"stage": self.stage(stage - 1)}
        if stage > 2:
            inputs["start"] = self.start(stage - 1, chain)
        return self._step(
            "start",
            "pdd_ray.experts:run_start",
            f"stage{stage}/start{chain}",
            {
                "transition": self.spec.transition_training().to_json(),
                "model": self.model,
                "seed": self.experiment.seed,
                "chain": chain,
            },
            inputs,
            self.costs.start(stage),
        )

    def _expert(self, stage: int, chain: int) -> Step:
        """Return the trajectory of ``chain`` from theta_stage on real data.

        Without transition the experts of later stages are those of the first one.
        """
        method = self.spec.stage_method(stage)
        window = difficulty_window(method, stage)
        transition = has_transition(method, stage)
        if stage > 1 and not transition and not window:
            return self.expert(1, chain)
        epochs = expert_epochs(self.spec.experts.epochs, method, stage)
        expert = self.spec.experts.to_json()
        identity = {k: v for k, v in expert.items() if k not in ("count", "epochs")}
        inputs = {"data": self.data()}
        if transition:
            inputs["start"] = self.start(stage, chain)
        config: dict[str, Json] = {
            "expert": identity,
            "epochs": epochs,
            "model": self.model,
            "seed": self.experiment.seed,
            "chain": chain,
            "stage": stage,
        }
        if window:
            config["window"] = window
            inputs["scores"] = self.scores()
        return self._step(
            "expert",
            "pdd_ray.experts:run_expert",
            f"stage{stage}/expert{chain}",
            config,
            inputs,
            self.costs.expert(epochs),
        )

    def _evaluation(
        self, mode: str, model: ModelSpec, network: int, stages: int, epochs: int
    ) -> Step:
        """Return the evaluation of one network after ``stages`` stages in ``mode``.

        Progressive and sequential evaluations continue the network of the stage before.
        """
        spec = self.spec.evaluation
        inputs = {"data": self.data(), "stage": self.stage(stages)}
        if mode != "union" and stages > 1:
            inputs["previous"] = self.evaluation(mode, model, network, stages - 1, epochs)
        config: dict[str, Json] = {
            "training": self.spec.evaluation_training(epochs).to_json(),
            "model": model.to_json(),
            "network": network,
            "seed": self.experiment.seed,
            # the first stage is the same in all modes, and is shared by them
            "subset": "stage" if mode == "sequential" and stages > 1 else "union",
            "carry_momentum": spec.carry_momentum if "previous" in inputs else True,
        }
        return self._step(
            "evaluation",
            "pdd_ray.evaluation:run",
            f"{mode}{stages}-e{epochs}/{model.label}/network{network}",
            config,
            inputs,
            self.costs.evaluation(model, mode, stages, epochs),
        )

    def _step(
        self,
        kind: str,
        function: str,
        name: str,
        config: Mapping[str, Json],
        inputs: Mapping[str, Step],
        cost: Cost,
        *,
        trial: bool = False,
    ) -> Step:
        return Step(
            kind=kind,
            function=function,
            config=config,
            inputs=inputs,
            label=f"{experiment_id(self.experiment)}/{name}",
            runs_as="trial" if trial else "task",
            resources=_resources(self.resources, kind),
            device=self.resources.device,
            cost=cost,
        )


def has_transition(method: MethodSpec, stage: int) -> bool:
    """Return whether ``stage`` starts from networks that were trained on the sets so far."""
    return stage > 1 and isinstance(method, DistillationSpec) and method.transition


def difficulty_window(method: MethodSpec, stage: int) -> dict[str, Json] | None:
    """Return which real images ``stage`` sees, if it does not see all of them."""
    if not isinstance(method, DistillationSpec) or method.difficulty is None:
        return None
    width = method.difficulty.width
    return {
        "low": width * (stage - 1),
        "high": width * stage,
        "minimum": method.difficulty.minimum,
    }


def expert_epochs(first_stage: int, method: MethodSpec, stage: int) -> int:
    """Return the epochs of the experts of ``stage``: those that its segments can reach.

    The reference trains two epochs more in later stages, which no segment can use
    (specification, section 1.3).
    """
    return first_stage if stage == 1 else method.trajectory_epochs


def _resources(resources: ResourcesSpec, kind: str) -> Resources:
    entry: StepResources = getattr(resources, "stage" if kind == "selection" else kind)
    memory = None if entry.memory_gb is None else int(entry.memory_gb * GIGABYTE)
    shards = resources.class_shards if kind == "stage" else 1
    return Resources(cpus=entry.cpus, gpus=entry.gpus, memory=memory, shards=shards)


def _record(sweep: str, evaluation: PlannedEvaluation) -> Record:
    experiment = evaluation.experiment
    spec = experiment.spec
    sizes = [stage.images_per_class for stage in spec.stages]
    return Record(
        sweep=sweep,
        variant=experiment.variant,
        seed=experiment.seed,
        dataset=spec.data.source,
        method=spec.method.name,
        mode=evaluation.mode,
        stages=evaluation.stages,
        total_stages=len(sizes),
        images_per_class=sizes[0],
        total_images_per_class=sum(sizes[: evaluation.stages]),
        model=evaluation.model,
        network=evaluation.network,
        epochs=evaluation.epochs,
        step_size=0.0,
        test_accuracy=0.0,
        validation_accuracy=0.0,
        test_images=0,
        seconds=0.0,
        key=evaluation.step.key,
        stage_key=evaluation.stage_step.key,
        axes=dict(experiment.axes),
    )


def _with_results(planned: Record, store: Store) -> Record:
    try:
        text = (store.folder(planned.key) / "result.json").read_text(encoding="utf-8")
        result = {name: json.loads(text)[name] for name in RESULTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its result.json can't be read ({error})"
        raise DamagedArtifactError(planned.key, reason) from error
    return replace(planned, **result, seconds=store.manifest(planned.key)["seconds"])
