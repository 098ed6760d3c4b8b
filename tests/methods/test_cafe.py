"""CAFE against its loss written plainly, its loops, and its stages."""

import shutil

import pytest
import torch
import torch.nn.functional as F

from pdd_ray.configuration.methods.distribution_matching import CafeDsaSpec, CafeSpec
from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.seeding import generator
from pdd_ray.methods.base import Partial
from pdd_ray.methods.cafe import (
    Cafe,
    CafeMatcher,
    CafeWeights,
    cafe_gradients,
    cafe_weights,
    image_learning_rate,
    spread,
)
from pdd_ray.methods.class_matching import ClassTask
from pdd_ray.methods.dm import ClassBatches
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.networks.resnet import ResNetSpec
from pdd_ray.testing import tiny
from pdd_ray.training.augmentation.rules import draw_augmentation

SHAPE = (2, 8, 12)
CLASSES = 4
COUNTS = (2, 1, 3, 1)
WEIGHTS = CafeWeights(0.1, 0.9, 1.1, 0.05)
SHORT = {
    "iterations": 3,
    "real_batch_size": 5,
    "query_images": 4,
    "window": 2,
    "max_updates": 3,
    "max_network_epochs": 3,
    "network_batch_size": 4,
}


class Problem:
    """A small problem in float64: 4 unequal classes, images that are not square, frozen images."""

    def __init__(self, norm="instance", depth=2, frozen=2, pooling="average", compile=False):
        source = generator(3, "cafe problem")
        self.spec = ConvNetSpec(width=4, depth=depth, norm=norm, pooling=pooling)
        self.model = create_model(self.spec, SHAPE, CLASSES, source).double()
        self.theta = FlatModel(self.model).flatten(self.model)
        self.real = torch.randn(20, *SHAPE, generator=source, dtype=torch.float64)
        count = CLASSES * frozen
        self.frozen = torch.randn(count, *SHAPE, generator=source, dtype=torch.float64)
        self.frozen_labels = torch.arange(CLASSES).repeat(frozen)
        self.tasks = []
        for label, number in enumerate(COUNTS):
            images = torch.randn(number, *SHAPE, generator=source, dtype=torch.float64)
            augmentation = draw_augmentation("dsa", FULL_DSA, 1, 8, 12, source, shared=True)
            real = torch.randperm(20, generator=source)[: 4 + label]
            self.tasks.append(ClassTask(label, real, images, augmentation))
        batches = ClassBatches(self.real, self.frozen, self.frozen_labels, together=norm == "batch")
        self.matcher = CafeMatcher(self.spec, batches, compile=compile)

    def gradients(self, tasks=None):
        return cafe_gradients(self.matcher, self.theta, tasks or self.tasks, WEIGHTS)

    def maps(self, images):
        """Return f_1 .. f_{D+1} by the definition: each block up to its activation."""
        found = []
        for layer in self.model[0]:
            images = layer(images)
            if isinstance(layer, torch.nn.ReLU):
                found.append(images)
        return [*found, images]

    def slow(self, images):
        """Return the loss from one joint graph of all images."""
        real = [task.augmentation.apply(self.real[task.real]) for task in self.tasks]
        synthetic = []
        for task, new in zip(self.tasks, images, strict=True):
            frozen = self.frozen[self.frozen_labels == task.label]
            synthetic.append(task.augmentation.apply(torch.cat([frozen, new])))

        def means(parts):
            maps = self.maps(torch.cat(parts))
            sizes = [len(part) for part in parts]
            return maps, [torch.stack([p.mean(dim=0) for p in m.split(sizes)]) for m in maps]

        maps, real_means = means(real)
        _, synthetic_means = means(synthetic)
        early = len(maps) - 2
        factors = [WEIGHTS.early] * early + [WEIGHTS.late, WEIGHTS.late + WEIGHTS.center]
        loss = torch.zeros((), dtype=torch.float64)
        for factor, a, b in zip(factors, real_means, synthetic_means, strict=True):
            loss = loss + factor * (a - b).square().sum()
        labels = torch.cat([torch.full((len(p),), c) for c, p in enumerate(real)])
        logits = maps[-1].flatten(1) @ synthetic_means[-1].flatten(1).T
        return loss + WEIGHTS.discrimination * F.cross_entropy(logits, labels, reduction="sum")


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("frozen", [0, 2])
def test_loss_and_gradient_equal_those_of_one_joint_graph(norm, frozen):
    _same_as_the_slow_twin(Problem(norm, frozen=frozen))


@pytest.mark.parametrize("pooling", ["max", "none"])
@pytest.mark.parametrize("depth", [1, 3])
def test_networks_of_any_depth_and_pooling_agree_with_the_joint_graph(depth, pooling):
    _same_as_the_slow_twin(Problem(depth=depth, pooling=pooling))


def _same_as_the_slow_twin(problem):
    loss, gradients = problem.gradients()
    leaves = [task.images.clone().requires_grad_(True) for task in problem.tasks]
    expected = problem.slow(leaves)
    torch.testing.assert_close(loss.total, expected.detach())
    slow = torch.autograd.grad(expected, leaves)
    for gradient, other in zip(gradients, slow, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_gradient_equals_finite_differences(norm):
    problem = Problem(norm)
    source = generator(4, "directions")
    directions = [
        torch.randn(task.images.shape, generator=source, dtype=torch.float64)
        for task in problem.tasks
    ]
    _, gradients = problem.gradients()
    derivative = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    moved = []
    for step in (1e-6, -1e-6):
        tasks = [
            ClassTask(task.label, task.real, task.images + step * direction, task.augmentation)
            for task, direction in zip(problem.tasks, directions, strict=True)
        ]
        moved.append(float(problem.gradients(tasks)[0].total))
    assert derivative == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-5)


def test_features_of_classes_computed_apart_have_the_same_bytes():
    problem = Problem()
    together = problem.matcher.means(problem.theta, problem.tasks)
    for task, part in zip(problem.tasks, together, strict=True):
        (alone,) = problem.matcher.means(problem.theta, [task])
        for name in ("real", "synthetic"):
            pairs = zip(getattr(alone, name), getattr(part, name), strict=True)
            assert all(torch.equal(*pair) for pair in pairs)
        d_means = tuple(torch.ones_like(value) for value in part.synthetic)
        (gradient,) = problem.matcher.gradients(problem.theta, [task], [d_means])
        assert gradient.shape == task.images.shape


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_equals_eager():
    loss, gradients = Problem("batch", depth=1, compile=True).gradients()
    expected, eager = Problem("batch", depth=1).gradients()
    torch.testing.assert_close(loss.total, expected.total)
    for gradient, other in zip(gradients, eager, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-8, atol=1e-11)


def test_learning_rate_is_halved_at_60_80_and_90_per_cent():
    spec = CafeSpec(iterations=2000, image_learning_rate=0.8)
    rates = {draw: image_learning_rate(spec, draw) for draw in (0, 1199, 1200, 1600, 1800, 1999)}
    assert rates == {0: 0.8, 1199: 0.8, 1200: 0.4, 1600: 0.2, 1800: 0.1, 1999: 0.1}


@pytest.mark.parametrize(
    ("shape", "growth"), [((3, 32, 32), 1), ((1, 28, 28), 1), ((3, 64, 64), 4), ((3, 64, 32), 2)]
)
def test_distances_are_divided_by_the_growth_of_the_maps(shape, growth):
    weights = cafe_weights(CafeSpec(), ConvNetSpec(depth=3), shape)
    assert weights == CafeWeights(0.1 / growth, 1 / growth, 1 / growth, 0.01)
    unscaled = cafe_weights(CafeSpec(scale_distances=False), ConvNetSpec(), shape)
    assert unscaled == CafeWeights()


def test_spread_looks_at_a_full_window_only():
    assert spread([0.1, 0.9], 3) is None
    assert spread([9.0, 0.1, 0.5, 0.2], 3) == pytest.approx(0.4)


def distill(folder, spec, observer=None, **changes):
    folder.mkdir(exist_ok=True)
    inputs = tiny.stage_inputs([], **{"images_per_class": 2, **changes})
    return Cafe(spec).distill(
        inputs, Partial(folder, seconds_between_saves=0.0), observer or tiny.Silent()
    )


def test_loops_that_never_settle_end_at_their_bounds(tmp_path):
    spec = CafeSpec(**SHORT, settled_below=0, moved_above=1)
    curves = distill(tmp_path, spec).curves
    assert curves["updates"] == [3, 3, 3]
    assert curves["network_epochs"] == [6, 6, 6]


def test_loops_end_when_the_accuracy_has_settled_or_moved(tmp_path):
    settled = distill(tmp_path / "a", CafeSpec(**SHORT, settled_below=1.1, moved_above=1)).curves
    assert settled["updates"] == [2, 2, 2]
    assert settled["network_epochs"] == [3, 3, 3]


def test_a_stopped_stage_continues_the_same_way(tmp_path):
    class Stops(tiny.Silent):
        def scalars(self, iteration, values):
            if iteration == 3:
                raise tiny.InterruptionError

    spec = CafeDsaSpec(**SHORT)
    expected = distill(tmp_path / "whole", spec)
    with pytest.raises(tiny.InterruptionError):
        distill(tmp_path / "parts", spec, Stops())
    outcome = distill(tmp_path / "parts", spec)
    assert torch.equal(outcome.images, expected.images)
    assert outcome.curves == expected.curves


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_later_stages_depend_on_the_frozen_images_and_the_bank(tmp_path, norm):
    model = ConvNetSpec(width=4, depth=2, norm=norm)
    changes = {"previous": tiny.union_of([1]), "model": model}
    spec = CafeDsaSpec(**SHORT)
    bank = [tiny.start_of(chain, model) for chain in (7, 8)]
    outcome = distill(tmp_path / "a", spec, bank=bank, **changes)
    assert outcome.images.shape == (6, *tiny.SHAPE)
    assert torch.isfinite(outcome.images).all()
    alone = spec.model_copy(update={"conditioning": False})
    for name, other in {
        "b": distill(tmp_path / "b", alone, bank=bank, **changes),
        "c": distill(tmp_path / "c", spec, **changes),
    }.items():
        assert not torch.equal(outcome.images, other.images), name


def test_a_network_without_blocks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="ConvNet"):
        distill(tmp_path, CafeSpec(**SHORT), model=ResNetSpec(depth=10, family="idc"))
