"""The configuration of supervised training: experts, transitions, evaluations."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pdd_ray.configuration.recipes import RECIPES, RecipeName
from pdd_ray.configuration.strategies import RULES, Rule, check_rule_strategy
from pdd_ray.core.frozen_model import LEFT_OUT_AT_DEFAULT, FrozenModel
from pdd_ray.models.registry import ModelSpec

Mode = Literal["progressive", "union", "sequential", "full"]
Schedule = Literal["drop", "milestones", "late_milestones"]

DSA_OPERATIONS = RULES["dsa"]
FULL_DSA = "_".join(DSA_OPERATIONS)


def check_strategy_field(rule: str, *names: str) -> Any:  # noqa: ANN401 - a pydantic decorator
    """Return a validator of fields (``augmentation``) that hold operations of ``rule``."""

    def check(value: str) -> str:
        check_rule_strategy(rule, value)
        return value

    return field_validator(*(names or ("augmentation",)))(check)


class ExpertSpec(FrozenModel):
    """Training on real data whose trajectory is recorded (specification, section 1.1)."""

    augmentation: str = FULL_DSA
    """DSA operations joined by `_`, of which one is drawn per batch; or `none`."""

    count: int = Field(default=100, ge=1)
    """Number of experts, each a chain of starts through all stages."""
    epochs: int = Field(default=50, ge=1)
    """Epochs of the first stage's experts; later stages use max_start_epoch - 1 + expert_epochs."""
    batch_size: int = Field(default=256, ge=1)
    """Images per step."""
    learning_rate: float = Field(default=0.01, gt=0)
    """SGD learning rate, constant."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """SGD momentum."""
    weight_decay: float = Field(default=0.0, ge=0)
    """SGD weight decay."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the training step with torch.compile (needs a C++ compiler): faster after half a
    minute of compilation. The results differ by rounding, so it is part of the identity. `auto`:
    where it saves twice what it costs, by the length of the training and whether it holds a GPU
    (docs/sweeps.md); `plan` shows it."""
    precision: Annotated[Literal["float32", "bfloat16"], LEFT_OUT_AT_DEFAULT] = "float32"
    """Number format of convolutions and matrix products; `bfloat16` under torch.autocast, with
    parameters and optimiser in float32. Faster where the hardware has it; accuracy and time of
    this and of `channels_last` on a CPU are in benchmarks/README.md."""
    channels_last: Annotated[bool, LEFT_OUT_AT_DEFAULT] = False
    """Keep images and kernels with the channels last in memory, as tensor cores want them; the
    results differ by rounding."""
    storage: Literal["float32", "float16"] = "float32"
    """Number format of stored snapshots; float16 halves the disk space."""

    _strategy = check_strategy_field("dsa")


class ForgettingSpec(FrozenModel):
    """Training that counts forgetting events (Toneva et al. 2019; PDD, section 4.2).

    The network is the experiment's. The paper does not say how its scores were made.
    """

    epochs: int = Field(default=200, ge=1)
    """Epochs; the score of an image that is never learned."""
    runs: int = Field(default=1, ge=1)
    """Trainings over which scores are summed."""
    batch_size: int = Field(default=128, ge=1)
    """Images per step."""
    learning_rate: float = Field(default=0.01, gt=0)
    """SGD learning rate; a fifth after 30, 60 and 80 per cent of the epochs."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """SGD momentum."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """SGD weight decay."""
    augmentation: str = "crop_flip"
    """DSA operations joined by `_`, of which one is drawn per batch; or `none`."""

    _strategy = check_strategy_field("dsa")


class SyntheticTrainingSpec(FrozenModel):
    """Training on synthetic images (specification, section 7; of other methods, section 3.6)."""

    augmentation: str = FULL_DSA
    """Operations joined by `_`, applied by `augmentation_rule`; or `none`."""
    augmentation_rule: Rule = "dsa"
    """`dsa`: one operation per batch, its numbers per image; `idc`: flip, color and cutout always,
    and one of the others; `dc`: one of DC's crop, scale, rotate, noise per image."""
    cutmix: float = Field(default=0.0, ge=0, le=1)
    """Probability of CutMix per batch."""
    epochs: int = Field(default=1000, ge=1)
    """Epochs per stage. Under the schedule `drop`, epochs + 1 passes are made, as in the
    reference."""
    batch_size: int = Field(default=256, ge=1)
    """Images per step."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """SGD momentum."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """SGD weight decay, on all parameters."""
    schedule: Schedule = "drop"
    """Learning rate: `drop`: a tenth after pass epochs // 2 + 2; `milestones`: a fifth after two
    thirds and after five sixths of the epochs; `late_milestones`: a fifth after 60 and after 80 per
    cent."""
    reset_momentum_at_decay: bool = False
    """Empty the momentum buffers at the drop, as DC, MTT, TESLA and DATM do and PDD does not."""

    @model_validator(mode="after")
    def _rule_knows_the_operations(self) -> Self:
        check_rule_strategy(self.augmentation_rule, self.augmentation)
        return self


class FullDataSpec(SyntheticTrainingSpec):
    """Training on all real images, the upper bound that papers print without its settings."""

    epochs: int = Field(default=200, ge=1)
    """Epochs. Under the schedule `drop`, epochs + 1 passes are made."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Learning rate at the start."""


class RecipeChoices(FrozenModel):
    """How networks train on synthetic images: what differs from the recipe; `null` keeps it."""

    recipe: RecipeName | None = None
    """Recipe of a family of methods (docs/methods); that of the experiment's method if not given.
    `pdd-ray config show` prints what follows from it."""
    augmentation: str | None = None
    """Operations joined by `_`, or `none`."""
    augmentation_rule: Rule | None = None
    """How operations are combined: `dsa`, `idc` or `dc`."""
    cutmix: float | None = Field(default=None, ge=0, le=1)
    """Probability of CutMix per batch."""
    batch_size: int | None = Field(default=None, ge=1)
    """Images per step."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """SGD momentum."""
    weight_decay: float | None = Field(default=None, ge=0)
    """SGD weight decay, on all parameters."""
    schedule: Schedule | None = None
    """Learning rate: `drop` to a tenth half-way, `milestones` or `late_milestones`."""
    reset_momentum_at_decay: bool | None = None
    """Empty the momentum buffers at the drop."""

    def resolved(self, recipe: str, epochs: int) -> SyntheticTrainingSpec:
        """Return the training of ``epochs`` epochs by these choices over those of ``recipe``.

        Raises:
            ValueError: if the augmentation is none of its rule.
        """
        own = self.model_dump(exclude_none=True, include=set(RecipeChoices.model_fields))
        values = {**RECIPES[own.pop("recipe", recipe)].training, **own, "epochs": epochs}
        return SyntheticTrainingSpec.model_validate(values)


class TransitionSpec(RecipeChoices):
    """Training on U_i that leads from theta_i to theta_{i+1}."""

    epochs: int | None = Field(default=None, ge=1)
    """Epochs on each union; those of the recipe if not given (1000; IDC 200)."""

    def training(self, recipe: str) -> SyntheticTrainingSpec:
        """Return the training, for a method with ``recipe``."""
        usual = RECIPES[self.recipe or recipe].transition_epochs
        return self.resolved(recipe, self.epochs or usual)


class EvaluationSpec(RecipeChoices):
    """How distilled sets are evaluated (Table 3's modes; specification, sections 6.2 and 6.3)."""

    modes: tuple[Mode, ...] = Field(default=("progressive",), min_length=1)
    """progressive: one network on U_1, then U_2, ...; union: a fresh network on U_P at once;
    sequential: one network on S_1, then S_2, ...; full: a fresh network on all real training images
    (without the validation slice), as `full_data` says."""
    networks: int = Field(default=5, ge=1)
    """Freshly initialised networks per seed, mode and architecture."""
    epochs: int | Literal["paper"] = "paper"
    """Epochs per stage; `paper` is 2 * single_stage_epochs / (P + 1), with which P stages see as
    many images as a single one (specification, section 6.2: 2000 / (P + 1) on CIFAR-10)."""
    single_stage_epochs: int | None = Field(default=None, ge=1)
    """Epochs of one stage under the rule `paper`; mode union takes as many. Those of the recipe if
    not given (1000; DC 300, CAFE 600)."""
    union_epochs: int | None = Field(default=None, ge=1)
    """Epochs of mode union; epochs * (P + 1) / 2 if not given: as many images seen as the other
    modes would on the growing unions."""
    carry_momentum: bool = True
    """Start a stage with the momentum buffers of the stage before, as the reference does."""
    prefixes: Literal["all", "last"] = "last"
    """Evaluate after every stage (U_1 .. U_P), or after the last one only."""
    models: tuple[ModelSpec, ...] | None = None
    """Architectures; the one used for distillation if not given."""
    curve_points: int = Field(default=0, ge=0)
    """Points per stage at which accuracy on the validation slice is recorded while networks train
    (Figure 1); 0 for none."""
    full_data: FullDataSpec = FullDataSpec()
    """Training of mode full."""

    @field_validator("epochs")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            msg = f"epochs must be at least 1, got {value}"
            raise ValueError(msg)
        return value

    def epochs_per_stage(self, stages: int, recipe: str) -> int:
        """Return the epochs of each of ``stages`` stages in modes progressive and sequential."""
        if self.epochs == "paper":
            return max(1, 2 * self._single_stage(recipe) // (stages + 1))
        return self.epochs

    def epochs_of_union(self, stages: int, recipe: str) -> int:
        """Return the epochs of mode union after ``stages`` stages."""
        if self.union_epochs is not None:
            return self.union_epochs
        if self.epochs == "paper":
            return self._single_stage(recipe)
        return self.epochs * (stages + 1) // 2

    def _single_stage(self, recipe: str) -> int:
        return self.single_stage_epochs or RECIPES[self.recipe or recipe].epochs
