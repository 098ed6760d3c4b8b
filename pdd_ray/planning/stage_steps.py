"""The steps that make an experiment's stages: data, scores, experts, transitions, stages.

``theta_1`` is random; ``S_i = A(theta_i, T | U_{i-1})``; ``theta_{i+1}`` is trained from
``theta_i`` on ``U_i`` (PDD, section 4.1; Algorithm 1's indices are off by one, specification,
section 9.1). Stage 1 is the base method itself.
"""

from __future__ import annotations

from functools import cache, cached_property, partial
from typing import TYPE_CHECKING

from pdd_ray.configuration.devices import COMPUTING
from pdd_ray.configuration.method import DistillationSpec
from pdd_ray.core import operations
from pdd_ray.core.steps import Cost, Resources, Step
from pdd_ray.data.facts import step_config
from pdd_ray.planning import costs
from pdd_ray.planning.checks import experiment_id
from pdd_ray.planning.compiling import expert_is_compiled, stage_is_compiled
from pdd_ray.planning.grouping import Grouping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.configuration.expand import Experiment
    from pdd_ray.configuration.experiment import ResourcesSpec, StepResources
    from pdd_ray.configuration.method_registry import MethodSpec
    from pdd_ray.core.identities import Json
    from pdd_ray.core.operations import Operation
    from pdd_ray.data.facts import DataFacts

GIGABYTE = 1_000_000_000


class StagePlanner:
    """Makes the steps of one experiment on one data set; equal calls give the same step.

    Args:
        experiment: The experiment.
        facts: The data set.
        resources: What steps hold while they run.
        name: Of the part of the experiment that this is, e.g. ``phase2/``; for labels.
        data: The step that gives the data set; it is the experiment's own if not given.
    """

    def __init__(
        self,
        experiment: Experiment,
        facts: DataFacts,
        resources: ResourcesSpec,
        *,
        name: str = "",
        data: Step | None = None,
    ) -> None:
        self.experiment = experiment
        self.spec = experiment.spec
        self.facts = facts
        self.resources = resources
        self.name = name
        self.costs = costs.Costs(self.spec, facts)
        self.grouping = Grouping(self.spec, resources, facts.shape, len(facts.classes))
        self._model = self.spec.model.identity()
        self._given_data = data
        self._label = f"{experiment_id(experiment)}/{name}"
        # Made once each: otherwise planning would take time exponential in the stages.
        self.data = cache(self._data)
        self.stage = cache(self._stage)
        self.start = cache(self._start)
        self.scores = cache(self._scores)
        self.expert = cache(self._expert)
        # What chains have in common is made once, and lies in memory once.
        self.method = cache(self.spec.stage_method)
        self.expert_is_compiled = cache(partial(expert_is_compiled, self.spec, facts, resources))
        self.held = cache(partial(_resources, resources))

    def _data(self) -> Step:
        """Return the step that prepares the data set."""
        if self._given_data is not None:
            return self._given_data
        return self.step(
            operations.DATA,
            "data",
            step_config(self.spec.data, self.facts),
            {},
            self.costs.data(),
        )

    def _stage(self, stage: int) -> Step:
        """Return the step that makes S_stage, conditioned on U_{stage - 1}."""
        method = self.method(stage)
        per_class = self.spec.stages[stage - 1].images_per_class
        inputs: dict[str, Step] = {"data": self.data()}
        config: dict[str, Json] = {
            "method": self._method(stage),
            "model": self._model,
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
        if self.spec.protocol == "reference" and method.chooses_iterates:
            config["chosen_on"] = "test"
        inputs |= self._networks(stage, method, config)
        return self.step(
            operations.STAGE if method.distills else operations.CORESET,
            f"stage{stage}",
            config,
            inputs,
            self.costs.stage(stage, self.resources.class_shards),
        )

    def _method(self, stage: int) -> dict[str, Json]:
        """Return what identifies the method of ``stage``; `compile: auto` is decided."""
        identity = self.method(stage).identity()
        if "compile" in identity:
            compiled = stage_is_compiled(self.spec, self.facts, self.resources, stage)
            identity["compile"] = compiled
        return identity

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
            "forgetting": self.spec.forgetting.identity(),
            "model": self._model,
            "seed": self.experiment.seed,
        }
        inputs = {"data": self.data()}
        cost = self.costs.scores()
        return self.step(operations.SCORES, "scores", config, inputs, cost)

    def _features(self) -> Step:
        """Return the features of the real images under the first expert."""
        inputs = {"data": self.data(), "expert": self.expert(1, 0)}
        cost = self.costs.features()
        return self.step(operations.FEATURES, "features", {"model": self._model}, inputs, cost)

    def _start(self, stage: int, chain: int) -> Step:
        """Return the transition of ``chain`` to theta_stage (stage > 1)."""
        inputs = {"stage": self.stage(stage - 1)}
        if stage > 2:
            inputs["start"] = self.start(stage - 1, chain)
        return self.step(
            operations.START,
            f"stage{stage}/start{chain}",
            {
                "transition": self._transition,
                "model": self._model,
                "seed": self.experiment.seed,
                "chain": chain,
            },
            inputs,
            self.costs.start(stage),
            group=self.grouping.start(stage),
        )

    def _expert(self, stage: int, chain: int) -> Step:
        """Return the trajectory of ``chain`` from theta_stage on real data.

        Without transition the experts of later stages are those of the first one.
        """
        method = self.method(stage)
        window = difficulty_window(method, stage)
        transition = has_transition(method, stage)
        if stage > 1 and not transition and not window:
            return self.expert(1, chain)
        epochs = expert_epochs(self.spec.experts.epochs, method, stage)
        expert = {**self._training, "compile": self.expert_is_compiled(epochs)}
        inputs = {"data": self.data()}
        if transition:
            inputs["start"] = self.start(stage, chain)
        config: dict[str, Json] = {
            "expert": expert,
            "epochs": epochs,
            "model": self._model,
            "seed": self.experiment.seed,
            "chain": chain,
            "stage": stage,
        }
        if window:
            config["window"] = window
            inputs["scores"] = self.scores()
        return self.step(
            operations.EXPERT,
            f"stage{stage}/expert{chain}",
            config,
            inputs,
            self.costs.expert(epochs),
            group=self.grouping.expert(expert),
        )

    @cached_property
    def _transition(self) -> dict[str, Json]:
        return self.spec.transition_training().identity()

    @cached_property
    def _training(self) -> dict[str, Json]:
        """What all experts have in common."""
        identity = self.spec.experts.identity()
        return {name: value for name, value in identity.items() if name not in ("count", "epochs")}

    def step(
        self,
        operation: Operation,
        name: str,
        config: Mapping[str, Json],
        inputs: Mapping[str, Step],
        cost: Cost,
        *,
        group: int = 1,
    ) -> Step:
        """Return a step of the experiment.

        ``name`` is its own part of the label; ``group`` says how many are computed at once.
        """
        computes = operation.resources in COMPUTING
        return Step(
            operation=operation,
            config={**config, **self.spec.numerics} if computes else config,
            inputs=inputs,
            label=f"{self._label}{name}",
            resources=self.held(operation, group),
            device=self.resources.device if computes else "cpu",
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


def _resources(resources: ResourcesSpec, operation: Operation, group: int) -> Resources:
    entry: StepResources = getattr(resources, operation.resources)
    memory = None if entry.memory_gb is None else int(entry.memory_gb * GIGABYTE)
    shards = resources.class_shards if operation.sharded else 1
    return Resources(entry.cpus, entry.gpus, memory, shards, group)
