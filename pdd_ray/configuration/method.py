"""What the configurations of all methods share, and what plans need to know of a method.

The traits of a method answer what planning, estimates and checks ask; none of them knows methods by
name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field

from pdd_ray.configuration.passes import Pass
from pdd_ray.configuration.recipes import RecipeName
from pdd_ray.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    from pdd_ray.models.spec import NetworkSpec

PixelDomain = Literal["prepared", "unit"]
Compile = bool | Literal["auto"]
"""Whether code is compiled; ``auto``: planning decides (pdd_ray/planning/compiling.py)."""

TEST_BATCH: Final = 256
"""Images that are tested at once."""


@dataclass(frozen=True)
class StageSize:
    """How large a stage is, for estimates.

    Attributes:
        images_per_class: Images per class that the stage stores.
        classes: Number of classes.
        union: Images of U_i that networks train on, of all classes: decoded ones, if a stored image
            stands for several.
        train: Real images that the stage sees, without the validation slice.
        validation: Images of the validation slice.
        batch_norm: Whether the network normalises over batches.
    """

    images_per_class: int
    classes: int
    union: int
    train: float = 0.0
    validation: float = 0.0
    batch_norm: bool = False

    @property
    def union_per_class(self) -> float:
        """Images of each class that networks train on."""
        return self.union / self.classes


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

    if TYPE_CHECKING:
        name: str

    code: ClassVar[str]
    """The class that makes the images, ``module:class``; it is imported when a stage runs."""
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
    clusters: ClassVar[int] = 0
    """Clusters of real images that it makes of every class."""
    class_sharded: ClassVar[bool] = False
    """Whether it can spread the classes over several processes."""
    chooses_iterates: ClassVar[bool] = False
    """Whether a stage keeps the iterate with the best accuracy on held-out images."""

    def real_images_per_class(self, images_per_class: int) -> int:
        """Return how many real images of each class a stage of this size starts from."""
        return images_per_class

    def first_stage_epochs(self, stage: int) -> int:
        """Return the epochs of the first stage's experts that ``stage`` needs; 0 for none."""
        del stage
        return 0

    def problem_with(self, model: NetworkSpec) -> str | None:
        """Return why the method can't distil for the network ``model``; None if it can."""
        del model
        return None

    def forward_passes(self, size: StageSize) -> float:
        """Return the passes of one image through the network that a stage takes, forward only.

        For methods that don't say more in :meth:`passes`: a training step of an image is about
        three, a gradient of a gradient nine.
        """
        del size
        return 0.0

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return what a stage computes, unit by unit; estimates of time and memory follow from it.

        Unless a method says otherwise, :meth:`forward_passes` in batches of
        :meth:`images_at_once`.
        """
        total = self.forward_passes(size)
        at_once = max(1.0, self.images_at_once(size))
        return (Pass("test_batch", at_once, total / at_once),) if total else ()

    def images_at_once(self, size: StageSize) -> float:
        """Return of how many images a stage holds the activations at the same time."""
        del size
        return float(getattr(self, "real_batch_size", 0))

    def derivatives(self, size: StageSize) -> float:
        """Return how often a stage differentiates a network, of what `compile` compiles."""
        del size
        return 0.0

    @property
    def compiled(self) -> bool:
        """Whether code is compiled; `auto` is not, unless a plan has made it true."""
        return getattr(self, "compile", False) is True

    @property
    def kept_networks(self) -> int:
        """Networks whose parameters a stage keeps in memory."""
        return 0


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

    def new_and_frozen(self, size: StageSize) -> tuple[float, float]:
        """Return how many images of a class are differentiated, and how many are only there.

        With batch norm all are: each changes what the network says of the others.
        """
        new = float(size.images_per_class * self.multi_formation**2)
        if not self.conditioning:
            return new, 0.0
        if self.update_previous is not None or size.batch_norm:
            return size.union_per_class, 0.0
        return new, max(0.0, size.union_per_class - new)


class BankedSpec(DistillationSpec):
    """Methods that draw fresh networks, and in later stages transitioned ones from a bank."""

    bank_size: int = Field(default=20, ge=1)
    """Networks theta_i of every stage after the first, each continued from the stage before.
    PDD + IDC makes a new one for every draw (specification of other methods, section 4.4)."""
    step_size: float = Field(default=0.01, gt=0)
    """Learning rate with which networks train on the images."""
    compile: Compile = "auto"
    """Compile the gradients with torch.compile (needs a C++ compiler): faster after a minute or
    two of compilation. The results differ by rounding, so it is part of the identity. `auto`: where
    it saves twice what it costs, by the size of the stage and whether it holds a GPU
    (docs/sweeps.md); `plan` shows it."""

    @property
    def bank_chains(self) -> int:  # type: ignore[override]
        """Transitioned networks that it draws from."""
        return self.bank_size if self.transition else 0


def problem_without_blocks(method: str, model: NetworkSpec) -> str | None:
    """Return what is wrong with ``model`` for a method that matches outputs of blocks."""
    if model.name == "convnet":
        return None
    return f"method {method!r} matches outputs of the blocks of a ConvNet; this is another"
