"""The configuration of matching training trajectories: MTT, with TESLA and DATM as settings."""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from pydantic import Field, model_validator

from pdd_ray.configuration.method import TEST_BATCH, Compile, DistillationSpec, StageSize
from pdd_ray.configuration.passes import Pass, Unit, forward_passes, mean_batch, training_passes
from pdd_ray.configuration.recipes import RecipeName
from pdd_ray.configuration.training import FULL_DSA, SyntheticTrainingSpec, check_strategy_field

STEPS: Final[Mapping[str, Unit]] = {
    "exact": "matching_step",
    "tesla": "matching_step",
    "unrolled": "unrolled_step",
}
"""What an inner step and its part of the gradient cost, by the kind of the gradient."""


class IterateSelectionSpec(SyntheticTrainingSpec):
    """How the iterate that a stage hands on is chosen, on the validation slice."""

    every: int = Field(default=100, ge=1)
    """Iterations between candidates; the last iteration is one too."""
    networks: int = Field(default=2, ge=1)
    """Networks trained per candidate, from held-out starts: chains that no expert uses."""


class TrajectoryMatchingSpec(DistillationSpec):
    """MTT (Cazenavette et al. 2022) as one stage of PDD (specification, section 5)."""

    name: Literal["mtt"] = "mtt"
    """The method."""
    iterations: int = Field(default=5000, ge=1)
    """Updates of the images."""
    inner_steps: int = Field(default=20, ge=1)
    """T: steps of the student per iteration (`syn_steps`)."""
    expert_epochs: int = Field(default=2, ge=1)
    """M: epochs of the expert that the student's steps should reproduce."""
    max_start_epoch: int = Field(default=20, ge=1)
    """T+: a segment starts at an expert epoch drawn from min_start_epoch .. T+ - 1."""
    min_start_epoch: int = Field(default=0, ge=0)
    """T-: DATM's lower end of the start epochs: higher is harder."""
    first_max_start_epoch: int | None = Field(default=None, ge=1)
    """Upper end of the start epochs in the first iteration; it grows linearly to max_start_epoch
    (DATM's sequential generation). The same all the time if not given."""
    expansion_iterations: int = Field(default=1000, ge=1)
    """Iterations over which the upper end grows from first_max_start_epoch."""
    image_learning_rate: float = Field(default=1000.0, gt=0)
    """SGD learning rate of the pixels (`lr_img`)."""
    step_size_learning_rate: float = Field(default=1e-5, ge=0)
    """SGD learning rate of the student's step size (`lr_lr`)."""
    initial_step_size: float = Field(default=0.01, gt=0)
    """Start value of the student's step size in every stage (`lr_teacher`)."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """Momentum of the optimisers of images and step size."""
    batch_size: int | None = Field(default=None, ge=1)
    """Images per inner step; classes * images_per_class of the stage if not given."""
    initialisation: Literal["real", "noise"] = "real"
    """First images: random training images of each class, or standard normal noise."""
    labels: Literal["hard", "soft"] = "hard"
    """`soft`: learned logits per image that start as those of the experts' last snapshots (DATM);
    networks then train on their softmax."""
    label_learning_rate: float = Field(default=2.0, gt=0)
    """SGD learning rate of soft labels (`lr_y`)."""
    label_momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of the optimiser of soft labels."""
    skip_above: float | None = Field(default=None, gt=0)
    """Iterations with a matching loss above this change nothing (DATM's `threshold`, 1.0)."""
    augmentation: str = FULL_DSA
    """DSA operations joined by `_`, of which one is drawn per inner step; or `none`."""
    gradient: Literal["exact", "tesla", "unrolled"] = "exact"
    """`exact`: adjoint sweep in constant memory; `tesla`: TESLA's approximation of it;
    `unrolled`: the same value as exact by backpropagation through all steps."""
    compile: Compile = "auto"
    """Compile the gradients with torch.compile (needs a C++ compiler): faster after a minute or
    two of compilation per batch size. The results differ by rounding, so it is part of the
    identity. Not for gradient `unrolled`. `auto`: where it saves twice what it costs, by the size
    of the stage and whether it holds a GPU (docs/sweeps.md); `plan` shows it."""
    without_transition: Literal["continue", "restart"] = "continue"
    """What `transition: false` means: segments of stage i `continue` the first stage's experts at
    epoch (i - 1) * T+, or `restart` at their random start (specification, section 6.4)."""
    selection: IterateSelectionSpec = IterateSelectionSpec()
    """How the iterate handed on is chosen."""

    code: ClassVar[str] = "pdd_ray.methods.trajectory_matching:TrajectoryMatching"
    recipe: ClassVar[RecipeName] = "mtt"
    chooses_iterates: ClassVar[bool] = True

    _strategy = check_strategy_field("dsa")

    @model_validator(mode="after")
    def _start_epochs_are_ordered(self) -> "TrajectoryMatchingSpec":
        first = self.first_max_start_epoch or self.max_start_epoch
        if not self.min_start_epoch < first <= self.max_start_epoch:
            msg = (
                f"min_start_epoch {self.min_start_epoch} < first_max_start_epoch {first} <= "
                f"max_start_epoch {self.max_start_epoch} is not so"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _soft_labels_have_real_images(self) -> "TrajectoryMatchingSpec":
        if self.labels == "soft" and self.initialisation != "real":
            msg = "soft labels start as an expert's logits of real images: initialisation is real"
            raise ValueError(msg)
        return self

    @property
    def trajectory_epochs(self) -> int:  # type: ignore[override]
        """Epochs of the trajectories that its segments reach."""
        return self.max_start_epoch - 1 + self.expert_epochs

    @property
    def held_out_chains(self) -> int:  # type: ignore[override]
        """Chains beside the experts' on which the iterate is chosen."""
        return self.selection.networks

    def first_stage_epochs(self, stage: int) -> int:
        """Return the epochs that segments of ``stage`` reach of the first stage's experts.

        With transition, later stages have experts of their own, which are as long as they need.
        """
        if stage > 1 and self.transition:
            return 0
        return self.start_offset(stage) + self.trajectory_epochs

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return the passes of the inner steps and of choosing the iterate."""
        steps = self.iterations * self.inner_steps
        union = size.union if self.conditioning else size.classes * size.images_per_class
        images = mean_batch(union, self.images_at_once(size))
        found = [Pass("matching_iteration", 0.0, self.iterations)]
        found.append(Pass(STEPS[self.gradient], images, steps))
        if self.augmentation != "none":
            found.append(Pass("dsa_matching", images, steps))
        chosen = self.selection
        networks = (-(-self.iterations // chosen.every) + 1) * chosen.networks
        epochs = chosen.epochs + (1 if chosen.schedule == "drop" else 0)
        training = training_passes(
            union,
            chosen.batch_size,
            epochs * networks,
            chosen.augmentation,
            chosen.augmentation_rule,
            chosen.cutmix,
        )
        return (*found, *training, *forward_passes(size.validation, TEST_BATCH, networks))

    def derivatives(self, size: StageSize) -> float:
        """Return the gradients and adjoints of all inner steps; those of `unrolled` don't count."""
        del size
        return 0.0 if self.gradient == "unrolled" else 2.0 * self.iterations * self.inner_steps

    def images_at_once(self, size: StageSize) -> float:
        """Return the images of an inner step."""
        return min(self.batch_size or size.classes * size.images_per_class, size.union)

    @property
    def kept_networks(self) -> int:
        """The student after each inner step."""
        return self.inner_steps

    def start_epochs(self, iteration: int) -> tuple[int, int]:
        """Return the range [low, high) from which ``iteration`` (0-based) draws a start epoch."""
        first = self.first_max_start_epoch or self.max_start_epoch
        grown = min(1.0, iteration / self.expansion_iterations) * (self.max_start_epoch - first)
        return self.min_start_epoch, first + int(grown)

    def start_offset(self, stage: int) -> int:
        """Return the epoch of its experts at which the segments of ``stage`` begin."""
        continues = not self.transition and self.without_transition == "continue"
        return (stage - 1) * self.max_start_epoch if continues else 0
