"""Plain loops, as the original repositories have them (specifications of the methods).

One class after the other in Python, eager autograd with everything in one graph and one backward
pass for all classes (with IDC one per class), gradients of all parameters, torch's optimisers, a
``DataLoader`` over images in memory. The networks, the real images and the augmentations of every
step are those that ours draws, so that both compute the same.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from pdd_ray.core.seeding import generator
from pdd_ray.data.multi_formation import decode
from pdd_ray.methods.drawn_networks import drawn_model
from pdd_ray.methods.idc import ShuffledBatches
from pdd_ray.methods.initial import class_members, random_members
from pdd_ray.training.augmentation import dsa
from pdd_ray.training.augmentation.rules import draw_augmentation
from peers.problems import CLASSES, SIDE

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.configuration.methods.distribution_matching import DmSpec
    from pdd_ray.configuration.methods.gradient_matching import DcSpec, IdcSpec
    from pdd_ray.methods.base import StageInputs
    from peers.problems import MatchingProblem, TrainingProblem
    from peers.turns import Turn


def convnet_like(model: nn.Module) -> nn.Sequential:
    """Return the originals' ConvNet of torch's own layers, with the parameters of ``model``."""
    state = model.state_dict()
    layers: list[nn.Module] = []
    for weight in (value for value in state.values() if value.dim() == 4):
        width, channels, *_ = weight.shape
        layers += [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GroupNorm(width, width),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2, 2),
        ]
    classifier = nn.Linear(*reversed(state["classifier.weight"].shape))
    parts = OrderedDict(
        features=nn.Sequential(*layers), flatten=nn.Flatten(), classifier=classifier
    )
    network = nn.Sequential(parts)
    network.load_state_dict(state)
    return network.train()


def dc(inputs: StageInputs, spec: DcSpec, images: Tensor, turn: Turn) -> None:
    """Update ``images`` as DC does: a sum of the distances of all classes, one backward pass."""
    count, data = inputs.images_per_class, inputs.dataset.train_images
    optimiser = torch.optim.SGD([images], spec.image_learning_rate, spec.momentum)
    for draw in range(spec.iterations):
        network = convnet_like(drawn_model(inputs, draw))
        parameters = list(network.parameters())
        loss = torch.zeros(())
        for label, members in enumerate(class_members(inputs.dataset)):
            source = generator(inputs.seed, "stage", 1, "matching", draw, 0, label)
            real = data[random_members(members, spec.real_batch_size, source)]
            own = images[label * count : (label + 1) * count]
            truths = [torch.full((len(batch),), label) for batch in (real, own)]
            loss_real = F.cross_entropy(network(real), truths[0])
            target = [g.detach().clone() for g in torch.autograd.grad(loss_real, parameters)]
            loss_own = F.cross_entropy(network(own), truths[1])
            gradient = torch.autograd.grad(loss_own, parameters, create_graph=True)
            for one, other in zip(gradient, target, strict=True):
                if one.dim() == 1:
                    continue
                rows, others = one.reshape(len(one), -1), other.reshape(len(other), -1)
                norms = torch.norm(rows, dim=1) * torch.norm(others, dim=1)
                loss = loss + torch.sum(1 - torch.sum(rows * others, dim=1) / (norms + 1e-6))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        turn(loss.item() / CLASSES)


def dm(inputs: StageInputs, spec: DmSpec, images: Tensor, turn: Turn) -> None:
    """Update ``images`` as DM does: a sum of the distances of all classes, one backward pass."""
    count, data = inputs.images_per_class, inputs.dataset.train_images
    optimiser = torch.optim.SGD([images], spec.image_learning_rate, spec.momentum)
    for draw in range(spec.iterations):
        network = convnet_like(drawn_model(inputs, draw))
        for parameter in network.parameters():
            parameter.requires_grad = False
        embed = network[:-1]
        loss = torch.zeros(())
        for label, members in enumerate(class_members(inputs.dataset)):
            sources = [
                generator(inputs.seed, "stage", 1, name, draw, label)
                for name in ("real", "augmentation")
            ]
            real = data[random_members(members, spec.real_batch_size, sources[0])]
            own = images[label * count : (label + 1) * count]
            augmentation = draw_augmentation(
                "dsa", spec.augmentation, 1, SIDE, SIDE, sources[1], shared=True
            )
            target = embed(augmentation.apply(real)).detach()
            features = embed(augmentation.apply(own))
            loss = loss + torch.sum((target.mean(dim=0) - features.mean(dim=0)) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        turn(loss.item())


def idc(inputs: StageInputs, spec: IdcSpec, images: Tensor, turn: Turn) -> None:
    """Update ``images`` as IDC does: a backward pass and a step of the optimiser per class."""
    batches = ShuffledBatches(spec, inputs)
    rate = spec.image_rate(inputs.images_per_class, SIDE, 1)
    optimiser = torch.optim.SGD([images], rate, spec.momentum)
    images.grad = torch.zeros_like(images)
    for draw in range(spec.iterations):
        network = convnet_like(drawn_model(inputs, draw))
        images.data.clamp_(0, 1)
        total = 0.0
        for label, positions in enumerate(batches.positions(torch.empty(0), draw, 0)):
            loss = _idc_loss(inputs, spec, network, images, positions, draw, label)
            optimiser.zero_grad(set_to_none=False)  # what has a gradient of zero coasts
            loss.backward()
            optimiser.step()
            total += loss.item()
        turn(total / CLASSES)


def _idc_loss(
    inputs: StageInputs,
    spec: IdcSpec,
    network: nn.Module,
    images: Tensor,
    positions: Tensor,
    draw: int,
    label: int,
) -> Tensor:
    count, parameters = inputs.images_per_class, list(network.parameters())
    own = decode(images[label * count : (label + 1) * count], spec.factor)
    own = inputs.dataset.pixels.forward(own)
    real = inputs.dataset.train_images[positions]
    source = generator(inputs.seed, "stage", 1, "match", draw, 0, label)
    augmentation = draw_augmentation("idc", spec.augmentation, 1, SIDE, SIDE, source, shared=True)
    both = augmentation.apply(torch.cat([real, own]))
    real, own = both[: len(real)], both[len(real) :]
    truths = [torch.full((len(batch),), label) for batch in (real, own)]
    loss_real = F.cross_entropy(network(real), truths[0])
    target = [g.detach() for g in torch.autograd.grad(loss_real, parameters)]
    loss_own = F.cross_entropy(network(own), truths[1])
    gradient = torch.autograd.grad(loss_own, parameters, create_graph=True)
    loss = torch.zeros(())
    for one, other in zip(gradient, target, strict=True):
        if one.dim() == 4:
            loss = loss + torch.sum((one - other) ** 2)
    return loss


def mtt(problem: MatchingProblem, images: Tensor, updates: int, turn: Turn) -> None:
    """Update ``images`` as MTT does: backpropagation through all inner steps at once."""
    network = convnet_like(problem.model)
    names, shapes = zip(*((name, p.shape) for name, p in network.named_parameters()), strict=True)
    sizes = [shape.numel() for shape in shapes]

    def logits(flat: Tensor, batch: Tensor) -> Tensor:
        parts = zip(names, flat.split(sizes), shapes, strict=True)
        parameters = {name: part.view(shape) for name, part, shape in parts}
        answer: Tensor = functional_call(network, parameters, (batch,))
        return answer

    step_size = torch.tensor(problem.step_size, requires_grad=True)
    optimisers = [
        torch.optim.SGD([images], problem.image_rate, problem.momentum),
        torch.optim.SGD([step_size], problem.step_size_rate, problem.momentum),
    ]
    segment = problem.segment
    for iteration in range(updates):
        student = segment.start.clone().requires_grad_()
        for step in problem.steps(iteration):
            batch = dsa.apply(images[step.indices], step.draw)
            loss = F.cross_entropy(logits(student, batch), problem.labels[step.indices])
            (gradient,) = torch.autograd.grad(loss, student, create_graph=True)
            student = student - step_size * gradient
        moved = F.mse_loss(student, segment.target, reduction="sum")
        matching = moved / F.mse_loss(segment.start, segment.target, reduction="sum")
        for optimiser in optimisers:
            optimiser.zero_grad()
        matching.backward()
        for optimiser in optimisers:
            optimiser.step()
        turn(matching.item())


def training(problem: TrainingProblem, updates: int, turn: Turn) -> nn.Module:
    """Return a network trained as experts and evaluations are: some epochs per update."""
    network, sgd = convnet_like(problem.model), problem.sgd
    optimiser = torch.optim.SGD(
        network.parameters(), problem.rate, sgd.momentum, weight_decay=sgd.weight_decay
    )
    images = TensorDataset(problem.images, problem.labels)
    for epoch in range(updates * problem.epochs):
        drawn = list(problem.batches(epoch))
        loader = DataLoader(images, batch_sampler=[batch.indices.tolist() for batch in drawn])
        total = 0.0
        for (inputs, targets), batch in zip(loader, drawn, strict=True):
            loss = F.cross_entropy(network(batch.augmentation.apply(inputs)), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(targets)
        if (epoch + 1) % problem.epochs == 0:
            turn(total / len(images))
    return network
