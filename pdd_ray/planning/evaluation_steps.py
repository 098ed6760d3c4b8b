"""The steps that evaluate what an experiment distils, and what each evaluation is of.

Progressive evaluation trains one network on U_1, then U_2, ..., then U_P (PDD, sections 4.1 and
5.1); each stage is a step that continues the network of the step before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from pdd_ray.core import operations
from pdd_ray.planning.phases import class_phases, phase_facts, phase_step_config
from pdd_ray.planning.stage_steps import StagePlanner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdd_ray.configuration.continual import ContinualSpec
    from pdd_ray.configuration.expand import Experiment
    from pdd_ray.configuration.experiment import ResourcesSpec
    from pdd_ray.core.identities import Json
    from pdd_ray.core.steps import Step
    from pdd_ray.data.facts import DataFacts
    from pdd_ray.models.registry import ModelSpec


@dataclass(frozen=True)
class PlannedEvaluation:
    """One evaluation that a sweep reports: a step, and what it is an evaluation of.

    Attributes:
        step: The step.
        experiment: The experiment.
        facts: The experiment's whole data set.
        mode: Mode of evaluation.
        stages: Stages evaluated; 0 for all real images.
        model: Label of the architecture.
        network: Index of the network.
        epochs: Epochs per stage.
        stage_step: The last stage evaluated; None for all real images.
        phase: Phases of classes seen; 0 without continual learning.
    """

    step: Step
    experiment: Experiment
    facts: DataFacts
    mode: str
    stages: int
    model: str
    network: int
    epochs: int
    stage_step: Step | None
    phase: int = 0


def planned_evaluations(
    experiment: Experiment, facts: DataFacts, resources: ResourcesSpec
) -> Iterator[PlannedEvaluation]:
    """Yield the evaluations that ``experiment`` reports; their steps lead to all others."""
    spec = experiment.spec
    models = spec.evaluation.models or (spec.model,)
    if spec.continual is None:
        planner = _EvaluationPlanner(experiment, facts, resources)
        for mode, model in product(spec.evaluation.modes, models):
            yield from planner.full(model) if mode == "full" else planner.stages(mode, model)
    else:
        continual = _ContinualPlanner(experiment, facts, resources, spec.continual)
        for mode, model in product(spec.evaluation.modes, models):
            yield from continual.phases(mode, model)


class _EvaluationPlanner:
    """Evaluations of one experiment after each stage, and of all real images."""

    def __init__(self, experiment: Experiment, facts: DataFacts, resources: ResourcesSpec) -> None:
        self.experiment = experiment
        self.spec = experiment.spec
        self.facts = facts
        self.planner = StagePlanner(experiment, facts, resources)
        # Made once each: otherwise planning would take time exponential in the stages.
        self.evaluation = cache(self._evaluation)
        # What networks have in common is made once, and lies in memory once.
        self.training = cache(self._training)
        self.model = cache(self._model)

    def stages(self, mode: str, model: ModelSpec) -> Iterator[PlannedEvaluation]:
        """Yield the evaluations after the last stage, or after every one."""
        spec = self.spec.evaluation
        last = len(self.spec.stages)
        count = spec.epochs_of_union if mode == "union" else spec.epochs_per_stage
        prefixes = range(1, last + 1) if spec.prefixes == "all" else [last]
        for stages, network in product(prefixes, range(spec.networks)):
            epochs = count(stages, self.spec.evaluation_recipe)
            yield PlannedEvaluation(
                step=self.evaluation(mode, model, network, stages, epochs),
                experiment=self.experiment,
                facts=self.facts,
                mode=mode,
                stages=stages,
                model=model.label,
                network=network,
                epochs=epochs,
                stage_step=self.planner.stage(stages),
            )

    def full(self, model: ModelSpec) -> Iterator[PlannedEvaluation]:
        """Yield the evaluations of networks that are trained on all real images."""
        training = self.spec.evaluation.full_data
        for network in range(self.spec.evaluation.networks):
            config: dict[str, Json] = {
                "training": training.identity(),
                "model": model.identity(),
                "network": network,
                "seed": self.experiment.seed,
            }
            yield PlannedEvaluation(
                step=self.planner.step(
                    operations.FULL_EVALUATION,
                    f"full-e{training.epochs}/{model.label}/network{network}",
                    config,
                    {"data": self.planner.data()},
                    self.planner.costs.full_evaluation(model),
                    group=self.planner.grouping.full_evaluation(model),
                ),
                experiment=self.experiment,
                facts=self.facts,
                mode="full",
                stages=0,
                model=model.label,
                network=network,
                epochs=training.epochs,
                stage_step=None,
            )

    def _evaluation(
        self, mode: str, model: ModelSpec, network: int, stages: int, epochs: int
    ) -> Step:
        """Return the evaluation of one network after ``stages`` stages in ``mode``.

        Progressive and sequential evaluations continue the network of the stage before.
        """
        spec = self.spec.evaluation
        inputs = {"data": self.planner.data(), "stage": self.planner.stage(stages)}
        if mode != "union" and stages > 1:
            inputs["previous"] = self.evaluation(mode, model, network, stages - 1, epochs)
        config: dict[str, Json] = {
            "training": self.training(epochs),
            "model": self.model(model),
            "network": network,
            "seed": self.experiment.seed,
            # the first stage is the same in all modes, and is shared by them
            "subset": "stage" if mode == "sequential" and stages > 1 else "union",
            "carry_momentum": spec.carry_momentum if "previous" in inputs else True,
        }
        if spec.curve_points:
            config["curve_points"] = spec.curve_points
        if self.spec.protocol == "reference":
            config["tests"] = self.spec.reference_tests
        return self.planner.step(
            operations.EVALUATION,
            f"{mode}{stages}-e{epochs}/{model.label}/network{network}",
            config,
            inputs,
            self.planner.costs.evaluation(model, mode, stages, epochs),
            group=self.planner.grouping.evaluation(model, mode, stages, epochs),
        )

    def _training(self, epochs: int) -> dict[str, Json]:
        return self.spec.evaluation_training(epochs).identity()

    def _model(self, model: ModelSpec) -> dict[str, Json]:
        return model.identity()


class _ContinualPlanner:
    """Evaluations of one experiment after each phase of classes."""

    def __init__(
        self,
        experiment: Experiment,
        facts: DataFacts,
        resources: ResourcesSpec,
        spec: ContinualSpec,
    ) -> None:
        self.experiment = experiment
        self.facts = facts
        self.spec = spec
        self.whole = StagePlanner(experiment, facts, resources)
        self.classes = class_phases(len(facts.classes), spec, experiment.seed)
        self.parts = [
            StagePlanner(
                experiment,
                phase_facts(facts, classes),
                resources,
                name=f"phase{phase}/",
                data=self._data(phase, classes),
            )
            for phase, classes in enumerate(self.classes, start=1)
        ]
        self.evaluation = cache(self._evaluation)

    def phases(self, mode: str, model: ModelSpec) -> Iterator[PlannedEvaluation]:
        """Yield the evaluations after each phase."""
        spec = self.experiment.spec
        stages = len(spec.stages)
        for phase, network in product(
            range(1, self.spec.phases + 1), range(spec.evaluation.networks)
        ):
            yield PlannedEvaluation(
                step=self.evaluation(mode, model, network, phase),
                experiment=self.experiment,
                facts=self.facts,
                mode=mode,
                stages=stages,
                model=model.label,
                network=network,
                epochs=self._epochs(mode),
                stage_step=self.parts[phase - 1].stage(stages),
                phase=phase,
            )

    def _data(self, phase: int, classes: list[int]) -> Step:
        """Return the step that gives the classes of ``phase``, numbered from 0."""
        return self.whole.step(
            operations.CLASSES,
            f"phase{phase}/data",
            phase_step_config(classes),
            {"data": self.whole.data()},
            self.whole.costs.selected_data(),
        )

    def _epochs(self, mode: str) -> int:
        spec = self.experiment.spec
        stages = len(spec.stages)
        union = mode == "union"
        count = spec.evaluation.epochs_of_union if union else spec.evaluation.epochs_per_stage
        return count(stages, spec.evaluation_recipe)

    def _evaluation(self, mode: str, model: ModelSpec, network: int, phase: int) -> Step:
        """Return the training of one network on the memory after ``phase``, and its test."""
        spec = self.experiment.spec
        stages, epochs = len(spec.stages), self._epochs(mode)
        memory = {
            f"memory.{number}": part.stage(stages)
            for number, part in enumerate(self.parts[:phase], start=1)
        }
        inputs = {"data": self.whole.data(), **memory}
        if self.spec.protocol == "B" and phase > 1:
            inputs["previous"] = self.evaluation(mode, model, network, phase - 1)
        config: dict[str, Json] = {
            "training": spec.evaluation_training(epochs).identity(),
            "model": model.identity(),
            "network": network,
            "seed": self.experiment.seed,
            "classes": [list(classes) for classes in self.classes],
            "phase": phase,
            "progressive": mode == "progressive",
            "carry_momentum": spec.evaluation.carry_momentum,
            "continual": self.spec.identity(),
        }
        return self.whole.step(
            operations.CONTINUAL_EVALUATION,
            f"phase{phase}/{mode}-e{epochs}/{model.label}/network{network}",
            config,
            inputs,
            self.whole.costs.continual_evaluation(model, phase, epochs),
        )
