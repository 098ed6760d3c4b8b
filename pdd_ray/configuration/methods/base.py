"""What the configurations of all methods share, and what plans need to know of a method."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pdd_ray.configuration.base import FrozenModel
from pdd_ray.configuration.recipes import RecipeName

PixelDomain = Literal["prepared", "unit"]


class UpdatePreviousSpec(FrozenModel):
    """Updating the images of earlier stages as well (PDD, A3.2)."""

    learning_rate_scale: float = Field(default=0.1, gt=0, le=1)
    """Learning rate of earlier images as a multiple of that of the new ones. The paper says
    "smaller"."""


class DifficultySpec(FrozenModel):
    """From easy to hard (PDD, section 4.2 and Table 6): which real images a stage sees."""

    width: float = Field(default=3.0, gt=0)
    """Stage i sees the train images with a forgetting score in [width * (i - 1), width * i)."""
    minimum: int = Field(default=64, ge=1)
    """Images that every class keeps: one with fewer in the window is filled up with its images
    nearest to the window."""


class MethodTraits(FrozenModel):
    """What plans and stages need to know of every method, with the most common answers."""

    distills: ClassVar[bool] = True
    """Whether its stages are trials; otherwise it selects real images in a single stage."""
    recipe: ClassVar[RecipeName]
    """How networks train on its images unless the experiment says otherwise."""
    pixel_domain: ClassVar[PixelDomain] = "prepared"
    """What it optimises and returns: prepared images, or pixels in [0, 1]."""
    trajectory_epochs: ClassVar[int] = 0
    """Epochs of expert trajectories that it needs; 0 for none."""
    held_out_chains: ClassVar[int] = 0
    """Chains beside the experts' that it needs."""
    bank_chains: ClassVar[int] = 0
    """Transitioned networks theta_i that it draws from in stages after the first."""
    multi_formation: ClassVar[int] = 1
    """Multi-formation: a stored image stands for multi_formation^2 images."""
    needs_features: ClassVar[bool] = False
    """Whether it selects by features of a network trained on the real images."""
    needs_scores: ClassVar[bool] = False
    """Whether it needs forgetting scores."""
    chooses_iterates: ClassVar[bool] = False
    """Whether a stage keeps the iterate with the best accuracy on held-out images."""

    def real_images_per_class(self, images_per_class: int) -> int:
        """Return how many real images of each class a stage of this size starts from."""
        return images_per_class


class DistillationSpec(MethodTraits):
    """What all distillation methods share: the switches of PDD's ablations."""

    conditioning: bool = True
    """Make the images of a stage together with the frozen ones of earlier stages; `false`: as if
    there were none (PDD, Table 4)."""
    transition: bool = True
    """Start stages after the first from networks that were trained on the sets so far (PDD,
    Table 4); `false`: from networks that were not."""
    update_previous: UpdatePreviousSpec | None = None
    """Update the images of earlier stages too (PDD, A3.2)."""
    difficulty: DifficultySpec | None = None
    """Show each stage harder real images (PDD, Table 6)."""
    initialisation: str
    """First images; each method says which there are, `noise` among them."""

    def real_images_per_class(self, images_per_class: int) -> int:
        """Return how many real images of each class a stage of this size starts from."""
        return 0 if self.initialisation == "noise" else images_per_class * self.multi_formation**2


class BankedSpec(DistillationSpec):
    """Methods that draw fresh networks, and in later stages transitioned ones from a bank."""

    bank_size: int = Field(default=20, ge=1)
    """Networks theta_i of every stage after the first, each continued from the stage before.
    PDD + IDC makes a new one for every draw (specification of other methods, section 4.4)."""
    step_size: float = Field(default=0.01, gt=0)
    """Learning rate with which networks train on the images."""
    compile: bool = False
    """Compile the gradients with torch.compile (needs a C++ compiler): faster after up to a
    minute of compilation. The results differ by rounding, so it is part of the identity."""

    @property
    def bank_chains(self) -> int:  # type: ignore[override]
        """Transitioned networks that it draws from."""
        return self.bank_size if self.transition else 0
