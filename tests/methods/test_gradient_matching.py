"""Gradient matching of classes against slow twins that backpropagate through everything."""

import pickle
import shutil
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from pdd_ray.configuration.strategies import RULES
from pdd_ray.core.seeding import generator
from pdd_ray.data.multi_formation import decode
from pdd_ray.methods.class_matching import ClassTask
from pdd_ray.methods.gradient_distance import dc_distance, idc_distance
from pdd_ray.methods.gradient_matching import GradientMatcher, as_they_are
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.augmentation.rules import Augmentation, draw_augmentation

CLASSES = 3
SHAPE = (2, 8, 8)
FORMATION = partial(decode, factor=2)
LAYERWISE = dc_distance("layerwise")
SUBSAMPLE = torch.tensor([6, 0, 3, 1])

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"
)


class Problem:
    """Two frozen and four or sixteen network-ready new images of each class, in float64."""

    def __init__(
        self,
        norm="instance",
        distance=LAYERWISE,
        prepare=as_they_are,
        frozen=2,
        strategy="none",
        rule="dsa",
        subsample=None,
        new=4,
        depth=2,
    ):
        source = generator(5, "gradient matching")

        def images(count):
            return torch.randn(count, *SHAPE, generator=source, dtype=torch.float64)

        self.spec = ConvNetSpec(width=4, depth=depth, norm=norm, activation="swish")
        self.model = create_model(self.spec, SHAPE, CLASSES, source).double()
        self.theta = FlatModel(self.model).flatten(self.model)
        self.distance, self.prepare = distance, prepare
        self.real = images(30)
        self.frozen = images(frozen * CLASSES)
        self.frozen_labels = torch.arange(CLASSES).repeat(frozen)
        self.statistics = {
            name: value.double() + 0.1 * torch.rand(value.shape, generator=source)
            for name, value in self.model.named_buffers()
            if value.is_floating_point()
        }
        self.tasks = [
            ClassTask(
                label,
                torch.randperm(30, generator=source)[:5],
                images(new),
                draw_augmentation(rule, strategy, 5, *SHAPE[1:], source, shared=True),
                subsample,
            )
            for label in range(CLASSES)
        ]

    def matcher(self, **changes):
        return GradientMatcher(
            self.spec,
            CLASSES,
            self.real,
            self.frozen,
            self.frozen_labels,
            self.distance,
            self.prepare,
            **changes,
        )

    def twin(self, task, images=None, statistics=None):
        """Return the distance and its gradient with everything in one graph and one batch."""
        images = (task.images if images is None else images).detach().requires_grad_(True)
        frozen = self.frozen[self.frozen_labels == task.label]
        union = torch.cat([frozen, self.prepare(images)])
        if task.subsample is not None:
            union = union[task.subsample]
        real = self.parameter_gradient(
            task.augmentation.apply(self.real[task.real]), task.label, statistics
        )
        synthetic = self.parameter_gradient(task.augmentation.apply(union), task.label, statistics)
        loss = self.distance(synthetic, [value.detach() for value in real])
        (gradient,) = torch.autograd.grad(loss, images)
        return loss.detach(), gradient

    def parameter_gradient(self, images, label, statistics):
        parameters = dict(self.model.named_parameters())
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        self.model.train(statistics is None)
        logits = functional_call(
            self.model, {**parameters, **buffers, **(statistics or {})}, (images,)
        )
        loss = F.cross_entropy(logits, torch.full((len(images),), label))
        return torch.autograd.grad(loss, list(parameters.values()), create_graph=True)


def assert_same(match, expected, relative=1e-10):
    loss, gradient = expected
    assert float((match.loss - loss).abs()) <= relative * float(loss.abs())
    assert match.gradient.shape == gradient.shape
    assert float((match.gradient - gradient).abs().max()) <= relative * float(gradient.abs().max())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"frozen": 0}, id="first stage"),
        pytest.param({}, id="frozen images"),
        pytest.param({"distance": dc_distance("mse")}, id="mse"),
        pytest.param({"distance": dc_distance("cosine")}, id="cosine"),
        pytest.param({"distance": idc_distance("mse"), "prepare": FORMATION}, id="IDC"),
        pytest.param(
            {"distance": idc_distance("l1"), "strategy": "color_crop_cutout", "rule": "idc"},
            id="augmented IDC",
        ),
        pytest.param({"subsample": SUBSAMPLE, "prepare": FORMATION}, id="subsample"),
        pytest.param({"norm": "batch"}, id="batch norm"),
        pytest.param(
            {"norm": "batch", "subsample": SUBSAMPLE, "prepare": FORMATION},
            id="batch norm with subsample",
        ),
        pytest.param(
            {"norm": "layer", "distance": idc_distance("cos", bias=True, fc=True)}, id="layer norm"
        ),
        pytest.param({"norm": "none"}, id="no norm"),
    ],
)
def test_gradient_equals_that_of_one_graph_over_the_union(changes):
    problem = Problem(**changes)
    matches = problem.matcher().match(problem.theta, problem.tasks)
    for task, match in zip(problem.tasks, matches, strict=True):
        assert_same(match, problem.twin(task))


@pytest.mark.parametrize("new", [1, 4])
@pytest.mark.parametrize("strategy", RULES["dsa"])
def test_real_frozen_and_new_images_share_the_numbers_of_an_augmentation(strategy, new):
    problem = Problem(strategy=strategy, new=new)
    matches = problem.matcher().match(problem.theta, problem.tasks)
    for task, match in zip(problem.tasks, matches, strict=True):
        assert_same(match, problem.twin(task))


def test_given_statistics_are_used_for_all_images():
    problem = Problem(norm="batch")
    matches = problem.matcher().match(problem.theta, problem.tasks, problem.statistics)
    for task, match in zip(problem.tasks, matches, strict=True):
        assert_same(match, problem.twin(task, statistics=problem.statistics))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_image_gradient_equals_finite_differences(norm):
    problem = Problem(norm=norm, strategy="color_scale", prepare=FORMATION, subsample=SUBSAMPLE)
    task = problem.tasks[1]
    (match,) = problem.matcher().match(problem.theta, [task])
    source = generator(7, "direction")
    direction = torch.randn(task.images.shape, generator=source, dtype=torch.float64)
    step = 1e-5
    ends = []
    for sign in (1, -1):
        moved = ClassTask(
            task.label,
            task.real,
            task.images + sign * step * direction,
            task.augmentation,
            task.subsample,
        )
        ends.append(float(problem.matcher().match(problem.theta, [moved])[0].loss))
    expected = (ends[0] - ends[1]) / (2 * step)
    assert float((match.gradient * direction).sum()) == pytest.approx(expected, rel=1e-6)


def test_a_subsample_without_new_images_moves_nothing():
    problem = Problem(subsample=torch.tensor([1, 0]))
    (match,) = problem.matcher().match(problem.theta, problem.tasks[:1])
    loss, gradient = problem.twin(problem.tasks[0])
    assert float(match.loss) == pytest.approx(float(loss), rel=1e-12)
    assert not match.gradient.any()
    assert not gradient.any()


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_any_split_of_the_classes_gives_the_same_bytes(norm):
    problem = Problem(norm=norm, strategy="crop_rotate")
    together = problem.matcher().match(problem.theta, problem.tasks)
    other = pickle.loads(pickle.dumps(problem.matcher()))  # noqa: S301 - our own bytes
    apart = [other.match(problem.theta, [task])[0] for task in reversed(problem.tasks)]
    for match, same in zip(together, reversed(apart), strict=True):
        assert torch.equal(match.loss, same.loss)
        assert torch.equal(match.gradient, same.gradient)


def test_nothing_that_is_given_is_changed():
    problem = Problem(norm="batch")
    before = [problem.theta.clone(), *(task.images.clone() for task in problem.tasks)]
    first = problem.matcher().match(problem.theta, problem.tasks)
    second = problem.matcher().match(problem.theta, problem.tasks)
    assert all(torch.equal(a.gradient, b.gradient) for a, b in zip(first, second, strict=True))
    after = [problem.theta, *(task.images for task in problem.tasks)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_one_network_serves_different_dtypes():
    problem = Problem()
    task = problem.tasks[0]
    single = ClassTask(0, task.real, task.images.float(), Augmentation(()))
    (match,) = problem.matcher().match(problem.theta.float(), [single])
    (exact,) = problem.matcher().match(problem.theta, problem.tasks[:1])
    assert match.gradient.dtype == torch.float32
    assert_same(exact, (match.loss.double(), match.gradient.double()), relative=1e-4)


@pytest.mark.slow
@needs_compiler
def test_compiled_gradients_are_those_computed_eagerly():
    problem = Problem(depth=1, prepare=FORMATION, subsample=SUBSAMPLE, strategy="crop")
    eager = problem.matcher().match(problem.theta, problem.tasks)
    fast = problem.matcher(compile=True).match(problem.theta, problem.tasks)
    for match, expected in zip(fast, eager, strict=True):
        assert_same(match, (expected.loss, expected.gradient))


@pytest.mark.slow
@needs_compiler
def test_compiled_gradients_use_given_statistics():
    problem = Problem("batch", depth=1, frozen=0)
    arguments = (problem.theta, problem.tasks, problem.statistics)
    eager = problem.matcher().match(*arguments)
    fast = problem.matcher(compile=True).match(*arguments)
    for match, expected in zip(fast, eager, strict=True):
        assert_same(match, (expected.loss, expected.gradient))
