"""Steps that train one network each, alone or several at once.

Such a step is written as a generator that prepares, yields what is to be trained, and goes on with
the trained network. So nothing but the training itself knows whether there are others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsFloat

from pdd_ray.core.errors import PddError
from pdd_ray.core.transfers import FetchTimes
from pdd_ray.training.grouped import train_grouped
from pdd_ray.training.loop import PeriodicSave, mean_cross_entropy
from pdd_ray.training.resumable import (
    RecordsNothing,
    progress_path,
    restored,
    train_resumably,
)

if TYPE_CHECKING:
    from pdd_ray.core.steps import StepContext
    from pdd_ray.training.loop import TrainingState
    from pdd_ray.training.resumable import Recorder, Training


class NotTogetherError(PddError):
    """Several trainings can't be done at once."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a step asks for: that ``state`` is trained, resumably.

    Attributes:
        context: Of the step.
        state: Where training starts if it was not begun before.
        training: What to train on, and how.
        recorder: Records something on the way.
    """

    context: StepContext
    state: TrainingState
    training: Training
    recorder: Recorder = RecordsNothing()  # noqa: RUF009 - it has no state


TrainingStep = Callable[["StepContext"], Generator[Request]]
"""Prepares, yields its request, and makes its artifact of the trained network."""


def run_alone(step: TrainingStep, context: StepContext) -> None:
    """Do ``step``."""
    for asked in step(context):
        train_resumably(asked.context, asked.state, asked.training, recorder=asked.recorder)


def run_together(step: TrainingStep, contexts: Sequence[StepContext]) -> None:
    """Do ``step`` in each of ``contexts``, the trainings at once.

    Those whose saved progress is of the same epoch go on together.

    Raises:
        NotTogetherError: if they are not alike.
        UngroupableError: if networks of this structure can't be grouped.
        NonFiniteLossError: if the loss of any of them is not finite.
    """
    running = [step(context) for context in contexts]
    asked = [next(each) for each in running]
    _check_alike(asked)
    for alike in _by_progress(asked):
        _train(alike)
    for each in running:
        for _ in each:
            msg = "a step that asks for several trainings is not done together with others"
            raise NotTogetherError(msg)


def _check_alike(asked: Sequence[Request]) -> None:
    first, *others = (request.training for request in asked)
    for other in others:
        same = (
            first.sgd == other.sgd
            and list(first.learning_rates) == list(other.learning_rates)
            and first.images.shape == other.images.shape
        )
        if not same:
            msg = "trainings of different images, learning rates or optimisers"
            raise NotTogetherError(msg)
    if any(request.training.loss_of is not mean_cross_entropy for request in asked):
        msg = "only plain mean cross-entropy is computed for several networks at once"
        raise NotTogetherError(msg)


def _by_progress(asked: Sequence[Request]) -> list[list[Request]]:
    """Take over what was saved; return the requests that are at the same point together."""
    found: dict[tuple[int, bool], list[Request]] = defaultdict(list)
    for request in asked:
        restored(request.context, request.state, request.recorder)
        found[request.state.epoch, request.state.buffers is None].append(request)
    return list(found.values())


def _train(asked: Sequence[Request]) -> None:
    """Train the networks of requests that are at the same point, saving the progress of each."""
    training, context = asked[0].training, asked[0].context
    epochs = len(training.learning_rates)

    def write() -> None:
        for request in asked:
            request.state.save(progress_path(request.context), request.recorder.tensors())

    save = PeriodicSave(write, context.seconds_between_saves)
    told = FetchTimes(training.images.device)

    def after_epoch(epoch: int, loss: SupportsFloat, each: Callable[[], list[float]]) -> None:
        for request in asked:
            request.recorder.after_epoch(epoch)
        if not (epoch == epochs or save.due or told.due(waiting=1)):
            return
        told.fetched()
        float(loss)  # one that is not finite ends the training here, before it is saved
        for request, own in zip(asked, each(), strict=True):
            request.context.progress({"fraction": epoch / epochs, "loss": own})
        save()

    train_grouped(
        [request.state for request in asked],
        training.images,
        training.targets,
        training.learning_rates,
        [request.training.batches for request in asked],
        training.sgd,
        after_epoch=after_epoch,
    )
