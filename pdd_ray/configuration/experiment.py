"""The configuration of one experiment and of a sweep's resources."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pdd_ray.configuration.continual import ContinualSpec
from pdd_ray.configuration.method import DistillationSpec
from pdd_ray.configuration.method_registry import MethodSpec
from pdd_ray.configuration.methods.trajectory_matching import TrajectoryMatchingSpec
from pdd_ray.configuration.recipes import RECIPES, RecipeName
from pdd_ray.configuration.training import (
    EvaluationSpec,
    ExpertSpec,
    ForgettingSpec,
    SyntheticTrainingSpec,
    TransitionSpec,
)
from pdd_ray.core.frozen_model import LEFT_OUT_AT_DEFAULT, FrozenModel
from pdd_ray.core.identities import Json
from pdd_ray.core.misplaced import MisplacedError, problem_at
from pdd_ray.data.spec import DataSpec
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.registry import ModelSpec


class StageSpec(FrozenModel):
    """One stage: its size and what differs from the experiment's method."""

    images_per_class: int = Field(ge=1)
    """Synthetic images per class made in this stage."""
    method: dict[str, Any] = Field(default_factory=dict)
    """Fields of the method that this stage changes, e.g. {max_start_epoch: 4}."""


class EqualStagesSpec(FrozenModel):
    """`count` stages of the same size."""

    count: int = Field(ge=1)
    """P, the number of stages."""
    images_per_class: int = Field(ge=1)
    """n, synthetic images per class and stage."""


class PrecisionSpec(FrozenModel):
    """How exactly steps compute."""

    tf32: Annotated[bool, LEFT_OUT_AT_DEFAULT] = False
    """Let GPUs since Ampere round the factors of products (matrices, convolutions) to TF32, with 10
    bits of mantissa: faster, with errors of about 1e-3. `false`: float32 throughout; torch's own
    default is TF32 in convolutions. Nothing changes on a CPU."""


class ExperimentSpec(FrozenModel):
    """Everything that one seed of one setting needs."""

    data: DataSpec = DataSpec()
    """The real images."""
    model: ModelSpec = ConvNetSpec()
    """The network of experts, students and transitions."""
    experts: ExpertSpec = ExpertSpec()
    """Training of the experts on real data."""
    forgetting: ForgettingSpec = ForgettingSpec()
    """Training that counts how often each real image is forgotten."""
    transition: TransitionSpec = TransitionSpec()
    """The transition: training on U_i that leads from theta_i to theta_{i+1}."""
    method: MethodSpec = TrajectoryMatchingSpec()
    """What makes a stage's images."""
    stages: tuple[StageSpec, ...] = Field(default=(StageSpec(images_per_class=1),), min_length=1)
    """The stages, as a list or as {count, images_per_class}."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """How the result is evaluated."""
    continual: ContinualSpec | None = None
    """Class-incremental continual learning; `stages` are then those of every phase."""
    protocol: Literal["held_out", "reference"] = "held_out"
    """held_out: everything is chosen on the validation slice, the test split is read once, after
    the last epoch. reference: what the original codes do: iterates are chosen on the test split,
    and where they report the best of several tests, so does this. Tables say so."""
    precision: Annotated[PrecisionSpec, LEFT_OUT_AT_DEFAULT] = PrecisionSpec()
    """How exactly steps compute. What differs from the default is part of the identity of all steps
    but those of data."""
    deterministic: Annotated[bool, LEFT_OUT_AT_DEFAULT] = False
    """Use only operators that give the same bytes in every run on the same device, on a GPU too,
    where some sum in any order otherwise; slower there. Part of the identity if it is `true`."""

    @field_validator("stages", mode="before")
    @classmethod
    def _expand_equal_stages(cls, value: Any) -> Any:  # noqa: ANN401 - raw input of any type
        if isinstance(value, dict):
            equal = EqualStagesSpec.model_validate(value)
            return [{"images_per_class": equal.images_per_class}] * equal.count
        return value

    @field_validator("method", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:  # noqa: ANN401 - raw input of any type
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _parts_fit(self) -> "ExperimentSpec":
        for index in range(1, len(self.stages) + 1):
            self.stage_method(index)
        with problem_at("transition"):
            self.transition.training(self.method.recipe)
        with problem_at("evaluation"):
            self.evaluation_training(1)
        self._check_method()
        self._check_continual()
        return self

    def _check_method(self) -> None:
        """Refuse what the method can't do."""
        method, name = self.method, self.method.name
        if not method.distills and len(self.stages) > 1:
            raise MisplacedError(
                f"method {name!r} selects real images in a single stage; there are "
                f"{len(self.stages)}",
                "stages",
            )
        if problem := method.problem_with(self.model):
            raise MisplacedError(problem, "model")
        if not isinstance(method, DistillationSpec):
            return
        if method.update_previous and not method.conditioning:
            msg = "earlier images are updated together with the new ones: not without conditioning"
            raise MisplacedError(msg, "method", "update_previous")

    def _check_continual(self) -> None:
        """Refuse modes of evaluation that continual learning does not have."""
        if self.continual is None:
            return
        others = [mode for mode in self.evaluation.modes if mode in ("sequential", "full")]
        if others:
            msg = f"continual learning has modes progressive and union, not {others[0]!r}"
            raise MisplacedError(msg, "evaluation", "modes")
        if self.evaluation.prefixes == "all":
            msg = "continual learning is evaluated after the last stage of each phase: not `all`"
            raise MisplacedError(msg, "evaluation", "prefixes")

    @property
    def numerics(self) -> dict[str, Json]:
        """What of precision and determinism differs from the default, as identities have it."""
        identity: dict[str, Json] = {
            "precision": self.precision.identity(),
            "deterministic": self.deterministic,
        }
        return {name: value for name, value in identity.items() if value}

    @property
    def evaluation_recipe(self) -> RecipeName:
        """How networks train on the images unless the evaluation says otherwise."""
        return self.method.recipe if self.continual is None else self.continual.recipe

    def evaluation_training(self, epochs: int) -> SyntheticTrainingSpec:
        """Return how networks are trained for ``epochs`` epochs to evaluate the images."""
        return self.evaluation.resolved(self.evaluation_recipe, epochs)

    def filled_in(self) -> dict[str, Json]:
        """Return all settings, with those that follow from recipes in the place of `null`."""
        values = self.to_json()
        single_stage = self.evaluation.epochs_per_stage(1, self.evaluation_recipe)
        values["transition"] = self.transition_training().to_json()
        values["evaluation"] = {
            **self.evaluation.to_json(),
            **self.evaluation_training(single_stage).to_json(),
            "recipe": None,
            "single_stage_epochs": single_stage,
            "epochs": self.evaluation.epochs,
        }
        return values

    @property
    def reference_tests(self) -> int:
        """Tests of which the original code of the method's family reports the best."""
        recipe = RECIPES[self.evaluation_recipe]
        return recipe.tests if len(self.stages) == 1 else recipe.tests_of_stages

    def transition_training(self) -> SyntheticTrainingSpec:
        """Return the training of a transition."""
        return self.transition.training(self.method.recipe)

    def stage_method(self, stage: int) -> MethodSpec:
        """Return the method of stage ``stage`` (1-based) with the stage's changes applied."""
        changes = self.stages[stage - 1].method
        return type(self.method).model_validate(_changed(self.method.model_dump(), changes))


class StepResources(FrozenModel):
    """What one step of a kind holds while it runs."""

    cpus: float = Field(default=1.0, ge=0)
    """CPUs; torch uses max(1, floor(cpus)) threads, the same serially and on Ray."""
    gpus: float = Field(default=0.0, ge=0, le=1)
    """GPUs; fractions share one GPU, and limit what a step takes of its memory. A step computes on
    one at most."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Memory that Ray reserves, in GB; not reserved if not given."""
    group: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Networks that are trained at once in one process that holds these resources: experts,
    transitions and evaluations that differ in nothing but their number and seed. `auto`: on a GPU
    as many as it computes while the CPU launches the steps of one, up to 8; one on a CPU, for
    experts in another number format or layout or with `compile`, and with `deterministic`. Not part
    of the identity: on a GPU results agree to rounding."""


class ResourcesSpec(FrozenModel):
    """Resources of each kind of step; of an identity only by what `compile: auto` becomes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA for steps that hold a GPU, the CPU otherwise; an error if torch sees no GPU.
    `cuda` (ROCm too): steps that hold no GPU are refused. Data are prepared on the CPU."""
    data: StepResources = StepResources()
    """Reading and preparing a data set."""
    start: StepResources = StepResources()
    """One transition of one chain."""
    expert: StepResources = StepResources()
    """One expert trajectory."""
    scores: StepResources = StepResources()
    """Counting how often each real image is forgotten."""
    features: StepResources = StepResources()
    """Features of the real images."""
    stage: StepResources = StepResources()
    """One PDD stage (a Ray Tune trial)."""
    evaluation: StepResources = StepResources()
    """Training and testing one network."""
    class_shards: int = Field(default=1, ge=1)
    """Processes over which a stage spreads the classes of DC, DSA, DM, IDC and DREAM; each gets
    cpus / class_shards CPUs of the stage. The results stay the same to the bit."""
    max_concurrent_stages: int = Field(default=64, ge=1)
    """Most stage trials at the same time."""

    def entries(self) -> Iterator[tuple[str, StepResources]]:
        """Yield what each kind of step holds."""
        for name in type(self).model_fields:
            entry = getattr(self, name)
            if isinstance(entry, StepResources):
                yield name, entry


def _changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``values`` changed by ``changes``, mapping by mapping."""
    merged = dict(values)
    for name, change in changes.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(change, dict):
            merged[name] = _changed(old, change)
        else:
            merged[name] = change
    return merged
