"""The protocol of a distillation method: its inputs, its outcome, its observer, its progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pdd_ray.core.steps import SECONDS_BETWEEN_SAVES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.data.dataset import Dataset
    from pdd_ray.data.synthetic_set import SyntheticSet
    from pdd_ray.models.registry import ModelSpec
    from pdd_ray.training.trajectories import Trajectory


@dataclass(frozen=True, eq=False)
class StageInputs:
    """What one stage is made from.

    Attributes:
        dataset: The real data; a method sees the train slice, and the validation slice to choose
            an iterate. The test split is not for it. With a difficulty window, the train slice
            holds the images of the window only.
        previous: U_{i-1}; a union of no stages in the first stage.
        images_per_class: Size of the new set.
        model: The network.
        experts: Trajectories of this stage, by expert.
        held_out: theta_i of chains that no expert uses, [P] each; the iterate is chosen on these.
        bank: theta_i of transitioned networks, [P] each, from which a method draws; it draws fresh
            networks if there are none.
        features: Features of the train images, float32 [N, D], where the method needs them.
        scores: Forgetting scores of the train images, float32 [N], where the method needs them.
        shards: Processes over which a method may spread the classes.
        seed: Seed of the experiment.
        device: Where to compute.
    """

    dataset: Dataset
    previous: SyntheticSet
    images_per_class: int
    model: ModelSpec
    experts: Sequence[Trajectory] = ()
    held_out: Sequence[Tensor] = ()
    bank: Sequence[Tensor] = ()
    features: Tensor | None = None
    scores: Tensor | None = None
    shards: int = 1
    seed: int = 0
    device: str = "cpu"

    @property
    def stage(self) -> int:
        """Number of the stage being made, 1-based."""
        return self.previous.stages + 1


@dataclass(frozen=True, eq=False)
class Candidate:
    """An iterate that may be handed on.

    Attributes:
        images: Prepared images [N, C, H, W].
        step_size: alpha.
        soft_labels: Logits [N, classes] where labels are learned.
    """

    images: Tensor
    step_size: float
    soft_labels: Tensor | None = None


@dataclass(frozen=True, eq=False)
class StageOutcome:
    """What one stage makes.

    Attributes:
        images: The new images only, float32 [N, C, H, W] on the CPU: prepared ones, or pixels if
            that is the method's ``pixel_domain``.
        labels: Their classes, int64 [N], class by class.
        step_size: alpha_i.
        soft_labels: Learned logits [N, classes], where the method has them.
        previous: The images of all earlier stages as this stage has changed them, in the same
            domain, if the method was asked to update them; None leaves them as they are.
        previous_soft_labels: Their learned logits, likewise.
        facts: What is worth knowing about the outcome: chosen iteration, validation accuracy, ...
        curves: Named sequences over iterations.
    """

    images: Tensor
    labels: Tensor
    step_size: float
    soft_labels: Tensor | None = None
    previous: Tensor | None = None
    previous_soft_labels: Tensor | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Observer(Protocol):
    """Watches a stage while it is made."""

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Receive scalars after ``iteration`` updates."""

    def images(self, iteration: int, images: Tensor) -> None:
        """Receive the new images, in the method's pixel domain, [N, C, H, W]."""

    def progress(self, fraction: float, values: Mapping[str, float]) -> None:
        """Receive the share of the stage that is done, and what is worth showing."""


@dataclass(frozen=True)
class Partial:
    """Where a method saves its progress, how often, and finds it when it is run again."""

    folder: Path
    seconds_between_saves: float = SECONDS_BETWEEN_SAVES


class DistillationMethod(Protocol):
    """A frozen configuration value that makes the images of a stage.

    ``distill`` is deterministic: the same inputs give the same outcome, also when it was stopped
    and continues from ``partial``. It raises NonFiniteLossError, naming the iteration, when the
    distillation diverges.
    """

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the new images of stage ``inputs.stage``."""
