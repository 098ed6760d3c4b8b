"""DM against its formula written plainly, and its stages."""

import pickle
import shutil

import pytest
import torch

from pdd_ray.configuration.methods.distribution_matching import DmSpec
from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.seeding import generator
from pdd_ray.methods.base import Partial
from pdd_ray.methods.class_matching import ClassTask
from pdd_ray.methods.dm import ClassBatches, Dm, DmMatcher
from pdd_ray.methods.drawn_networks import drawn_network
from pdd_ray.methods.initial import noise_images
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing import tiny
from pdd_ray.training.augmentation.rules import Augmentation, draw_augmentation

COUNTS = (2, 1, 3)
"""New images of the classes."""
SPEC = DmSpec(iterations=4, real_batch_size=5, image_learning_rate=0.5, augmentation=FULL_DSA)


class Problem:
    """A small problem in float64 with unequal classes, frozen images and augmentation."""

    def __init__(self, norm="instance", frozen=2, strategy=FULL_DSA, counts=COUNTS, compile=False):
        source = generator(3, "dm problem")
        self.spec = ConvNetSpec(width=4, depth=2, norm=norm)
        self.model = create_model(self.spec, tiny.SHAPE, 3, source).double()
        self.theta = FlatModel(self.model).flatten(self.model)
        self.real = torch.randn(20, *tiny.SHAPE, generator=source, dtype=torch.float64)
        self.frozen = torch.randn(3 * frozen, *tiny.SHAPE, generator=source, dtype=torch.float64)
        self.frozen_labels = torch.arange(3).repeat(frozen)
        self.tasks = []
        for label, count in enumerate(counts):
            images = torch.randn(count, *tiny.SHAPE, generator=source, dtype=torch.float64)
            augmentation = draw_augmentation("dsa", strategy, 1, 8, 8, source, shared=True)
            real = torch.randperm(20, generator=source)[: 4 + label]
            self.tasks.append(ClassTask(label, real, images, augmentation))
        batches = ClassBatches(self.real, self.frozen, self.frozen_labels, together=norm == "batch")
        self.matcher = DmMatcher(self.spec, batches, compile=compile)

    def union(self, task, images):
        frozen = self.frozen[self.frozen_labels == task.label]
        return task.augmentation.apply(torch.cat([frozen, images]))

    def slow(self, images):
        """Return the loss of every class, from one joint graph."""
        embed = self.model[:-1]
        real = [task.augmentation.apply(self.real[task.real]) for task in self.tasks]
        unions = [self.union(*pair) for pair in zip(self.tasks, images, strict=True)]
        if self.spec.norm == "batch":
            real_features = embed(torch.cat(real)).split([len(part) for part in real])
            features = embed(torch.cat(unions)).split([len(part) for part in unions])
        else:
            real_features = [embed(part) for part in real]
            features = [embed(part) for part in unions]
        return torch.stack(
            [
                (a.mean(dim=0) - b.mean(dim=0)).square().sum()
                for a, b in zip(real_features, features, strict=True)
            ]
        )


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("frozen", [0, 2])
def test_loss_and_gradient_equal_those_of_one_joint_graph(norm, frozen):
    problem = Problem(norm, frozen)
    matches = problem.matcher.match(problem.theta, problem.tasks)
    leaves = [task.images.clone().requires_grad_(True) for task in problem.tasks]
    losses = problem.slow(leaves)
    gradients = torch.autograd.grad(losses.sum(), leaves)
    torch.testing.assert_close(torch.stack([match.loss for match in matches]), losses.detach())
    for match, gradient in zip(matches, gradients, strict=True):
        torch.testing.assert_close(match.gradient, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_gradient_equals_finite_differences(norm):
    problem = Problem(norm)
    source = generator(4, "directions")
    directions = [
        torch.randn(task.images.shape, generator=source, dtype=torch.float64)
        for task in problem.tasks
    ]
    matches = problem.matcher.match(problem.theta, problem.tasks)
    derivative = sum(
        float((match.gradient * direction).sum())
        for match, direction in zip(matches, directions, strict=True)
    )
    moved = []
    for step in (1e-6, -1e-6):
        tasks = [
            ClassTask(task.label, task.real, task.images + step * direction, task.augmentation)
            for task, direction in zip(problem.tasks, directions, strict=True)
        ]
        moved.append(sum(float(m.loss) for m in problem.matcher.match(problem.theta, tasks)))
    assert derivative == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-5)


def test_classes_computed_apart_in_a_copy_give_the_same_bytes():
    problem = Problem()
    together = problem.matcher.match(problem.theta, problem.tasks)
    copy = pickle.loads(pickle.dumps(problem.matcher))  # noqa: S301 - made here
    for task, match in reversed(list(zip(problem.tasks, together, strict=True))):
        (alone,) = copy.match(problem.theta, [task])
        assert torch.equal(alone.loss, match.loss)
        assert torch.equal(alone.gradient, match.gradient)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_equals_eager():
    eager, fast = Problem(frozen=0), Problem(frozen=0, compile=True)
    (expected,) = eager.matcher.match(eager.theta, eager.tasks[:1])
    (match,) = fast.matcher.match(fast.theta, fast.tasks[:1])
    torch.testing.assert_close(match.loss, expected.loss)
    torch.testing.assert_close(match.gradient, expected.gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("operation", FULL_DSA.split("_"))
def test_one_image_per_class_works_with_every_operation(operation):
    problem = Problem(frozen=0, strategy=operation, counts=(1, 1, 1))
    for match in problem.matcher.match(problem.theta, problem.tasks):
        assert match.gradient.shape == (1, *tiny.SHAPE)
        assert torch.isfinite(match.gradient).all()


def distill(folder, spec=SPEC, observer=None, **changes):
    folder.mkdir(exist_ok=True)
    inputs = tiny.stage_inputs([], **{"images_per_class": 2, **changes})
    return Dm(spec).distill(
        inputs, Partial(folder, seconds_between_saves=0.0), observer or tiny.Silent()
    )


def test_the_first_stage_is_the_plain_loop(tmp_path):
    spec = DmSpec(
        iterations=3,
        real_batch_size=100,
        image_learning_rate=0.5,
        initialisation="noise",
        augmentation="none",
    )
    outcome = distill(tmp_path, spec)
    inputs = tiny.stage_inputs([], images_per_class=2)
    data = inputs.dataset
    images = noise_images(data, 2, 0, "stage", 1, "initialisation").requires_grad_(True)
    optimiser = torch.optim.SGD([images], lr=0.5, momentum=0.5)
    for draw in range(3):
        model = tiny.new_model()
        FlatModel(model).load(model, drawn_network(inputs, draw))
        loss = torch.zeros(())
        for label in range(3):
            real = model[:-1](data.train_images[data.train_labels == label]).detach()
            features = model[:-1](images[2 * label : 2 * label + 2])
            loss = loss + (real.mean(dim=0) - features.mean(dim=0)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(outcome.images, images.detach(), rtol=1e-4, atol=1e-5)
    assert outcome.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert outcome.step_size == spec.step_size
    assert outcome.curves["loss"][-1] == pytest.approx(float(loss.detach()), rel=1e-4)


def test_a_stopped_stage_continues_the_same_way(tmp_path):
    class Stops(tiny.Silent):
        def scalars(self, iteration, values):
            if iteration == 3:
                raise tiny.InterruptionError

    expected = distill(tmp_path / "whole")
    with pytest.raises(tiny.InterruptionError):
        distill(tmp_path / "parts", observer=Stops())
    outcome = distill(tmp_path / "parts")
    assert torch.equal(outcome.images, expected.images)
    assert outcome.curves == expected.curves


def test_later_stages_match_the_union_under_networks_of_the_bank(tmp_path):
    bank = [tiny.start_of(chain) for chain in (7, 8)]
    previous = tiny.union_of([1])
    changes = {"previous": previous, "bank": bank}
    outcome = distill(tmp_path / "a", **changes)
    assert outcome.previous is None
    assert outcome.images.shape == (6, *tiny.SHAPE)
    alone = distill(tmp_path / "b", SPEC.model_copy(update={"conditioning": False}), **changes)
    assert not torch.equal(outcome.images, alone.images)


def test_a_class_without_images_is_named():
    empty = tiny.dataset()
    keep = empty.train_labels != 1
    data = type(empty)(
        **{
            **vars(empty),
            "train_images": empty.train_images[keep],
            "train_labels": empty.train_labels[keep],
        }
    )
    spec = SPEC.model_copy(update={"initialisation": "noise"})
    with pytest.raises(ConfigError, match="'bee' has no train images"):
        Dm(spec).distill(tiny.stage_inputs([], dataset=data), Partial(None), tiny.Silent())


def test_no_augmentation_leaves_the_images_of_a_task_alone():
    problem = Problem(frozen=0, strategy="none")
    task = problem.tasks[0]
    assert task.augmentation.draws == Augmentation(()).draws
    batches = ClassBatches(problem.real, problem.frozen, problem.frozen_labels, together=False).of(
        [task]
    )
    assert torch.equal(batches.variable.images, task.images)
    assert torch.equal(batches.real.images, problem.real[task.real])
