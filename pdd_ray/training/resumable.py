"""Training inside a step: it reports, saves its progress, and goes on after an interruption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, SupportsFloat

from pdd_ray.core.transfers import FetchTimes
from pdd_ray.training.loop import PeriodicSave, mean_cross_entropy, train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.core.steps import StepContext
    from pdd_ray.training.loop import Batches, Loss, Sgd, TrainingState


@dataclass(frozen=True, eq=False)
class Training:
    """What a network is trained on, and how; see :func:`pdd_ray.training.loop.train`.

    Attributes:
        images: [N, C, H, W], on the network's device.
        targets: Classes, int64 [N], or probabilities, [N, classes].
        learning_rates: One per epoch.
        batches: Gives the batches of an epoch.
        sgd: The optimiser.
        loss_of: Gives the loss of a batch.
    """

    images: Tensor
    targets: Tensor
    learning_rates: Sequence[float]
    batches: Batches
    sgd: Sgd
    loss_of: Loss = mean_cross_entropy


@dataclass(frozen=True)
class Part:
    """Which of the ``count`` trainings of a step one is; ``number`` counts from 0."""

    number: int = 0
    count: int = 1


WHOLE = Part()


class Recorder(Protocol):
    """Records something during a training; it is saved and restored with the network."""

    def after_epoch(self, epoch: int) -> None:
        """Record what is to be known after ``epoch`` epochs."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return all that was recorded so far, by name."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what was recorded when :meth:`tensors` gave these."""


class RecordsNothing:
    """Records nothing."""

    def after_epoch(self, epoch: int) -> None:
        """Do nothing."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return nothing."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Do nothing."""


def train_resumably(
    context: StepContext,
    state: TrainingState,
    training: Training,
    *,
    recorder: Recorder | None = None,
    part: Part = WHOLE,
) -> None:
    """Train ``state`` in place, from the progress that an interrupted run of the step has saved.

    The result does not depend on interruptions: state and records are saved in one file, after
    whole epochs. Where a step has several trainings, the end of each is saved too, so that none is
    done twice.

    Args:
        context: Of the step; its progress is told after each epoch, on a device once a second.
        state: Where training starts if it was not begun before.
        training: What to train on, and how.
        recorder: Records something on the way.
        part: Which of the step's trainings this is.

    Raises:
        NonFiniteLossError: if the loss of an epoch is not finite.
    """
    recorder = recorder or RecordsNothing()
    restored(context, state, recorder, part)
    path = progress_path(context, part)
    begun = state.epoch

    def write() -> None:
        state.save(path, recorder.tensors())

    save = PeriodicSave(write, context.seconds_between_saves)

    told = FetchTimes(training.images.device)

    def after_epoch(epoch: int, loss: SupportsFloat) -> None:
        recorder.after_epoch(epoch)
        last = epoch == len(training.learning_rates)
        if not (last or save.due or told.due(waiting=1)):
            return
        told.fetched()
        done = epoch / len(training.learning_rates)
        # a loss that is not finite ends the training here, before it is saved
        context.progress({"fraction": (part.number + done) / part.count, "loss": float(loss)})
        save()

    train(
        state,
        training.images,
        training.targets,
        training.learning_rates,
        training.batches,
        training.sgd,
        loss_of=training.loss_of,
        after_epoch=after_epoch,
    )
    if part.count > 1 and state.epoch > begun:
        write()


def restored(
    context: StepContext, state: TrainingState, recorder: Recorder, part: Part = WHOLE
) -> None:
    """Take over what an interrupted run of the step has saved, if there was one."""
    path = progress_path(context, part)
    if path.exists():
        recorder.restore(state.load(path))


def progress_path(context: StepContext, part: Part = WHOLE) -> Path:
    """Return the file in which the progress of ``part`` is saved."""
    return context.partial / f"training{part.number}.safetensors"
