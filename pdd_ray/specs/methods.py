"""The configuration of the methods that make a stage's images."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pdd_ray.specs.base import FrozenModel
from pdd_ray.specs.training import AugmentedTraining, SyntheticTrainingSpec


class IterateSelectionSpec(SyntheticTrainingSpec):
    """How the iterate that a stage hands on is chosen, on the validation slice."""

    every: int = Field(default=100, ge=1)
    """Iterations between candidates; the last iteration is one too."""
    networks: int = Field(default=2, ge=1)
    """Networks trained per candidate, from held-out starts: chains that no expert uses."""


class TrajectoryMatchingSpec(AugmentedTraining):
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
    """T+: a segment starts at an expert epoch drawn from 0 .. T+ - 1."""
    image_learning_rate: float = Field(default=1000.0, gt=0)
    """SGD learning rate of the pixels (`lr_img`)."""
    step_size_learning_rate: float = Field(default=1e-5, ge=0)
    """SGD learning rate of the student's step size (`lr_lr`)."""
    initial_step_size: float = Field(default=0.01, gt=0)
    """Start value of the student's step size in every stage (`lr_teacher`)."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """Momentum of both optimisers."""
    batch_size: int | None = Field(default=None, ge=1)
    """Images per inner step; classes * images_per_class of the stage if not given."""
    initialisation: Literal["real", "noise"] = "real"
    """First images: random training images of each class, or standard normal noise."""
    gradient: Literal["exact", "tesla", "unrolled"] = "exact"
    """`exact`: adjoint sweep in constant memory; `tesla`: TESLA's approximation of it;
    `unrolled`: the same value as exact by backpropagation through all steps."""
    compile: bool = False
    """Compile the gradients with torch.compile (needs a C++ compiler): about twice as fast after
    up to a minute of compilation per batch size. The results differ by rounding, so it is part
    of the identity. Not for gradient `unrolled`."""
    selection: IterateSelectionSpec = IterateSelectionSpec()
    """How the iterate handed on is chosen."""

    distills: ClassVar[bool] = True

    @property
    def trajectory_epochs(self) -> int:
        """Epochs of the trajectories that its segments reach."""
        return self.max_start_epoch - 1 + self.expert_epochs

    @property
    def held_out_chains(self) -> int:
        """Chains beside the experts' on which the iterate is chosen."""
        return self.selection.networks

    @property
    def takes_real_images(self) -> bool:
        """Whether a stage starts from real images of each class."""
        return self.initialisation == "real"


class RandomSelectionSpec(FrozenModel):
    """Random training images of each class: the baseline."""

    name: Literal["random"] = "random"
    """The method."""
    step_size: float = Field(default=0.01, gt=0)
    """Learning rate with which networks train on the images."""

    distills: ClassVar[bool] = False
    trajectory_epochs: ClassVar[int] = 0
    held_out_chains: ClassVar[int] = 0
    takes_real_images: ClassVar[bool] = True


# What plans need to know of every method: `distills` (its stages are trials; otherwise they select
# real images, of which no stage takes those of another), `trajectory_epochs` (0: no experts),
# `held_out_chains` and `takes_real_images`.
MethodSpec = Annotated[TrajectoryMatchingSpec | RandomSelectionSpec, Field(discriminator="name")]
