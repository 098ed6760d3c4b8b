"""The configuration of supervised training: experts, transitions, evaluations."""

from typing import Literal

from pydantic import Field, field_validator

from pdd_ray.specs.base import FrozenModel
from pdd_ray.specs.model import ModelSpec

DSA_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
FULL_DSA = "_".join(DSA_OPERATIONS)


def check_strategy(strategy: str) -> str:
    """Return ``strategy`` if it is ``none`` or names of DSA operations joined by ``_``."""
    if strategy != "none":
        unknown = [name for name in strategy.split("_") if name not in DSA_OPERATIONS]
        if unknown:
            msg = (
                f"unknown augmentation {unknown[0]!r} in {strategy!r}; allowed: 'none' or any of "
                f"{', '.join(DSA_OPERATIONS)} joined by '_'"
            )
            raise ValueError(msg)
    return strategy


class AugmentedTraining(FrozenModel):
    """What all trainings share."""

    augmentation: str = FULL_DSA
    """DSA operations joined by `_`, of which one is drawn per batch; or `none`."""

    @field_validator("augmentation")
    @classmethod
    def _known_operations(cls, value: str) -> str:
        return check_strategy(value)


class ExpertSpec(AugmentedTraining):
    """Training on real data whose trajectory is recorded (specification, section 1.1)."""

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
    compile: bool = False
    """Compile the training step with torch.compile (needs a C++ compiler): about twice as fast
    after some seconds of compilation. The results differ by rounding, so it is part of the
    identity."""
    storage: Literal["float32", "float16"] = "float32"
    """Number format of stored snapshots; float16 halves the disk space."""


class SyntheticTrainingSpec(AugmentedTraining):
    """Training on synthetic images (specification, section 7)."""

    epochs: int = Field(default=1000, ge=1)
    """Epochs per stage. As in the reference, epochs + 1 passes are made; the learning rate drops
    to a tenth after pass epochs // 2 + 2."""
    batch_size: int = Field(default=256, ge=1)
    """Images per step."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """SGD momentum."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """SGD weight decay, on all parameters."""
    reset_momentum_at_decay: bool = False
    """Empty the momentum buffers at the drop, as MTT, TESLA and DATM do and PDD does not."""


class EvaluationSpec(SyntheticTrainingSpec):
    """How distilled sets are evaluated (Table 3's modes; specification, sections 6.2 and 6.3)."""

    modes: tuple[Literal["progressive", "union", "sequential"], ...] = ("progressive",)
    """progressive: one network on U_1, then U_2, ...; union: a fresh network on U_P at once;
    sequential: one network on S_1, then S_2, ..."""
    networks: int = Field(default=5, ge=1)
    """Freshly initialised networks per seed, mode and architecture."""
    epochs: int | Literal["paper"] = "paper"  # type: ignore[assignment]
    """Epochs per stage; `paper` is 2 * single_stage_epochs / (P + 1), with which P stages see as
    many images as a single one (specification, section 6.2: 2000 / (P + 1) on CIFAR-10)."""
    single_stage_epochs: int = Field(default=1000, ge=1)
    """Epochs of one stage under the rule `paper`; mode union takes as many."""
    union_epochs: int | None = Field(default=None, ge=1)
    """Epochs of mode union; epochs * (P + 1) / 2 if not given: as many images seen as the other
    modes would on the growing unions."""
    carry_momentum: bool = True
    """Start a stage with the momentum buffers of the stage before, as the reference does."""
    prefixes: Literal["all", "last"] = "last"
    """Evaluate after every stage (U_1 .. U_P), or after the last one only."""
    models: tuple[ModelSpec, ...] | None = None
    """Architectures; the one used for distillation if not given."""

    @field_validator("epochs")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            msg = f"epochs must be at least 1, got {value}"
            raise ValueError(msg)
        return value

    def epochs_per_stage(self, stages: int) -> int:
        """Return the epochs of each of ``stages`` stages in modes progressive and sequential."""
        if self.epochs == "paper":
            return max(1, 2 * self.single_stage_epochs // (stages + 1))
        return self.epochs

    def epochs_of_union(self, stages: int) -> int:
        """Return the epochs of mode union after ``stages`` stages."""
        if self.union_epochs is not None:
            return self.union_epochs
        if self.epochs == "paper":
            return self.single_stage_epochs
        return self.epochs * (stages + 1) // 2
