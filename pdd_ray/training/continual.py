"""The step of class-incremental learning: a network on the memory after each phase of classes.

The memory holds the distilled sets of all phases so far; no real image of any phase is used
(specification of other methods, section 10). Classes are numbered in the order in which they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F

from pdd_ray.configuration.continual import ContinualSpec
from pdd_ray.configuration.training import SyntheticTrainingSpec
from pdd_ray.core.artifact_files import RESULT, TRAINED_NETWORK
from pdd_ray.core.files import write_json
from pdd_ray.core.seeding import generator
from pdd_ray.core.transfers import moved_network
from pdd_ray.data.dataset import HELD_OUT, load_dataset, only_classes
from pdd_ray.data.synthetic_set import load_synthetic_set
from pdd_ray.models.factory import create_model
from pdd_ray.models.registry import read_network
from pdd_ray.training.evaluation import tested
from pdd_ray.training.loop import (
    TrainingState,
    learning_rates,
    mean_cross_entropy,
    recipe_batches,
    sgd_of,
)
from pdd_ray.training.resumable import Part, Training, train_resumably

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.synthetic_set import SyntheticSet
    from pdd_ray.training.loop import Loss


def run(context: StepContext) -> None:
    """Train one network on the memory after a phase, and test it on all classes seen so far.

    Inputs: ``data`` (all classes), ``memory.K`` (the set of phase K) for all phases so far and,
    where the network is kept (protocol B), ``previous``.
    """
    config = context.config
    spec = ContinualSpec.model_validate(config["continual"])
    phase = config["phase"]
    order = [label for classes in config["classes"] for label in classes]
    seen = order[: phase * len(config["classes"][0])]
    whole = load_dataset(context.inputs["data"], context.device, HELD_OUT)
    dataset = only_classes(whole, seen, HELD_OUT)
    sets = [load_synthetic_set(context.inputs[f"memory.{k}"]) for k in range(1, phase + 1)]
    outputs = len(order) if spec.protocol == "A" else len(seen)
    state = TrainingState(_network(context, dataset.shape, outputs))
    loss_of: Loss = mean_cross_entropy
    if "previous" in context.inputs:
        teacher = _continued(context, state, dataset.shape, outputs - len(sets[-1].classes))
        loss_of = distilling_loss(teacher, spec.temperature, spec.distillation_weight)
    _train_on_memory(context, state, sets, outputs, spec.learning_rate, loss_of)
    result = tested(state.model, dataset, spec.learning_rate)
    write_json(context.output / RESULT, result)
    state.buffers = None
    state.save(context.output / TRAINED_NETWORK)


def _train_on_memory(
    context: StepContext,
    state: TrainingState,
    sets: Sequence[SyntheticSet],
    outputs: int,
    learning_rate: float,
    loss_of: Loss,
) -> None:
    """Train on the memory; if it grows progressively, on one more stage of the last set at once."""
    config = context.config
    spec = SyntheticTrainingSpec.model_validate(config["training"])
    last = sets[-1].stages
    parts = range(1, last + 1) if config["progressive"] else [last]
    rates = learning_rates(spec, learning_rate)
    for number, stages in enumerate(parts):
        images, targets = memory([*sets[:-1], sets[-1].up_to(stages)], outputs)
        images, targets = images.to(context.device), targets.to(context.device)
        names = ("continual", config["network"], "phase", config["phase"], "stage", stages)
        batches = recipe_batches(images, spec, config["seed"], *names)
        training = Training(images, targets, rates, batches, sgd_of(spec), loss_of)
        state.epoch = 0
        if not config["carry_momentum"]:
            state.buffers = None
        train_resumably(context, state, training, part=Part(number, len(parts)))


def memory(sets: Sequence[SyntheticSet], outputs: int) -> tuple[Tensor, Tensor]:
    """Return the images of all phases and their targets, classes numbered over the phases.

    Args:
        sets: The set of each phase; each numbers its own classes from 0.
        outputs: Classes that the network tells apart; only soft labels need it.

    Returns:
        Images [M, C, H, W]; classes int64 [M], or probabilities [M, outputs] if labels are soft.
    """
    images, targets = [], []
    first = 0
    for part in sets:
        count = len(part.classes)
        own = part.targets
        after = outputs - first - count
        targets.append(F.pad(own, (first, after)) if own.is_floating_point() else own + first)
        images.append(part.images)
        first += count
    return torch.cat(images), torch.cat(targets)


def distilling_loss(teacher: nn.Module, temperature: float, weight: float) -> Loss:
    """Return cross-entropy plus the distillation from a network that knows the earlier classes.

    ``T^2 * weight * KL(softmax(teacher / T) || softmax(student / T))`` over the teacher's classes,
    averaged over the batch (specification of other methods, section 10, protocol B).
    """

    def loss_of(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        outputs = model(images)
        with torch.no_grad():
            known = teacher(images)
        distilled = F.kl_div(
            F.log_softmax(outputs[:, : known.shape[1]] / temperature, dim=1),
            F.log_softmax(known / temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        return F.cross_entropy(outputs, targets) + temperature**2 * weight * distilled

    return loss_of


def _network(context: StepContext, shape: tuple[int, int, int], outputs: int) -> nn.Module:
    """Return a fresh network on the device; every phase draws its own weights."""
    config = context.config
    spec = read_network(config["model"])
    names = ("continual", config["network"], "start", config["phase"])
    model = create_model(spec, shape, outputs, generator(config["seed"], *names))
    return moved_network(model, context.device)


def _continued(
    context: StepContext, state: TrainingState, shape: tuple[int, int, int], known: int
) -> nn.Module:
    """Give the network the weights of the phase before, and return that phase's network.

    The rows of its head for the ``known`` classes are copied; those of new classes stay fresh.
    """
    former = TrainingState(_network(context, shape, known))
    former.load(context.inputs["previous"] / TRAINED_NETWORK)
    head = _head(state.model)
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    weight[:known] = _head(former.model).weight.detach()
    bias[:known] = _head(former.model).bias.detach()
    name = next(name for name, module in state.model.named_modules() if module is head)
    values = {**former.model.state_dict(), f"{name}.weight": weight, f"{name}.bias": bias}
    state.model.load_state_dict(values)
    return former.model.eval()


def _head(model: nn.Module) -> nn.Linear:
    return cast("nn.Linear", list(model.children())[-1])
