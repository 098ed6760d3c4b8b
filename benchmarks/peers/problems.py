"""What is computed: a unit of work on random images, the same for every kind of loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from pdd_ray.configuration.methods.distribution_matching import DmSpec
    from pdd_ray.configuration.methods.gradient_matching import DcSpec, IdcSpec
    from pdd_ray.methods.base import StageInputs
    from pdd_ray.methods.trajectory_loss import InnerStep, Segment
    from pdd_ray.training.loop import Batches, Sgd

# torch is imported in the measuring processes only: a process inherits the high-water mark of the
# one that starts it.

CLASSES = 10
SIDE = 32
IMAGES_PER_CLASS = 10
PER_STAGE = 2
BATCH = 128
"""Of experts."""
EXPERT_IMAGES = 1024
EVALUATION_EPOCHS = 10
INNER_STEPS = 10
REAL = {"dc": 256, "dm": 256, "idc": 64}
"""Real images per class and update, as in the papers."""
UNITS = {
    "mtt": f"an iteration of {INNER_STEPS} inner steps, 100 images in the inner batch",
    "dc": "a step over the classes, 256 real images each",
    "dm": "an iteration, 256 real images per class",
    "idc": "a sweep over the classes, 64 real images each, factor 2",
    "expert": f"an epoch of {EXPERT_IMAGES} images, batch {BATCH}",
    "evaluation": f"{EVALUATION_EPOCHS} epochs on 100 distilled images",
}
PLAIN, PLAIN_REUSED = "plain loop", "plain loop, memory reused"
EAGER, EAGER_GIVEN_BACK, COMPILED = (
    "ours, eager",
    "ours, eager, memory given back",
    "ours, compiled",
)
KINDS = (PLAIN, PLAIN_REUSED, EAGER, EAGER_GIVEN_BACK, COMPILED)


@dataclass(frozen=True)
class Run:
    """What one process does.

    Attributes:
        unit: One of UNITS.
        kind: One of KINDS.
        width: Of the network.
        updates: How many units, the first of which warms up and compiles.
        stage: 1-based; earlier stages have PER_STAGE images per class.
        images_per_class: New images of each class.
    """

    unit: str
    kind: str
    width: int
    updates: int
    stage: int = 1
    images_per_class: int = IMAGES_PER_CLASS


@dataclass(frozen=True, eq=False)
class MatchingProblem:
    """Iterations of MTT on one segment.

    Attributes:
        model: Any network of the structure.
        segment: What the student should follow.
        first: Images to start from, [N, C, H, W].
        labels: Their classes, int64 [N].
        width: Of the network.
        step_size, image_rate, step_size_rate, momentum: alpha and the optimisers of MTT.
    """

    model: nn.Module
    segment: Segment
    first: Tensor
    labels: Tensor
    width: int
    step_size: float = 0.02
    image_rate: float = 1000.0
    step_size_rate: float = 1e-5
    momentum: float = 0.5

    def steps(self, iteration: int) -> Sequence[InnerStep]:
        """Return the inner steps of ``iteration``, on all images at once."""
        from pdd_ray.configuration.training import FULL_DSA
        from pdd_ray.core.seeding import generator
        from pdd_ray.methods.trajectory_loss import inner_steps

        source, count = generator(0, "iteration", iteration), len(self.first)
        return inner_steps(count, count, INNER_STEPS, FULL_DSA, (SIDE, SIDE), source)


@dataclass(frozen=True, eq=False)
class TrainingProblem:
    """Epochs of an expert, or of the training on a distilled set: ``epochs`` of them per unit."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    batches: Batches
    batch_size: int
    rate: float
    sgd: Sgd
    epochs: int
    width: int


def matching_problem(run: Run) -> MatchingProblem:
    """Return iterations of MTT on random images."""
    import torch

    from pdd_ray.core.seeding import generator
    from pdd_ray.methods.trajectory_loss import Segment
    from pdd_ray.models.factory import create_model
    from pdd_ray.models.flat import FlatModel
    from pdd_ray.models.networks.convnet import ConvNetSpec

    shape, source = (3, SIDE, SIDE), generator(0, "problem")
    model = create_model(ConvNetSpec(width=run.width), shape, CLASSES, source)
    start = FlatModel(model).flatten(model)
    target = start + 0.01 * torch.randn(len(start), generator=source)
    first = torch.randn(CLASSES * run.images_per_class, *shape, generator=source)
    labels = torch.arange(CLASSES).repeat_interleave(run.images_per_class)
    return MatchingProblem(model, Segment(start, target), first, labels, run.width)


def training_problem(run: Run) -> TrainingProblem:
    """Return epochs of an expert on random images, or of an evaluation on a few of them."""
    import torch

    from pdd_ray.configuration.training import FULL_DSA
    from pdd_ray.core.seeding import generator
    from pdd_ray.models.factory import create_model
    from pdd_ray.models.networks.convnet import ConvNetSpec
    from pdd_ray.training.loop import Sgd, random_batches

    expert = run.unit == "expert"
    shape, source = (3, SIDE, SIDE), generator(0, "images")
    count = EXPERT_IMAGES if expert else CLASSES * run.images_per_class
    images = torch.randn(count, *shape, generator=source)
    labels = torch.randint(CLASSES, (count,), generator=source)
    model = create_model(ConvNetSpec(width=run.width), shape, CLASSES, generator(0, "start"))
    size = BATCH if expert else count
    return TrainingProblem(
        model,
        images,
        labels,
        random_batches(images, size, FULL_DSA, 0, "batches"),
        size,
        rate=0.01,
        sgd=Sgd() if expert else Sgd(momentum=0.9, weight_decay=5e-4),
        epochs=1 if expert else EVALUATION_EPOCHS,
        width=run.width,
    )


def spec_of(run: Run) -> DcSpec | DmSpec | IdcSpec:
    """Return the paper's settings of DC, DM or IDC, with one update of the images per network."""
    from pdd_ray.configuration.methods.distribution_matching import DmSpec
    from pdd_ray.configuration.methods.gradient_matching import DcSpec, IdcSpec

    common: dict[str, Any] = {
        "iterations": run.updates,
        "real_batch_size": REAL[run.unit],
        "compile": run.kind == COMPILED,
    }
    if run.unit == "dc":
        return DcSpec(**common, outer_loop=1, inner_loop=0)
    if run.unit == "dm":
        return DmSpec(**common)
    # IDC's own optimiser moves all images at the step of every class, as the plain loop does
    return IdcSpec(**common, inner_loop=1, network_images=0, coasting=True)


def stage_inputs(run: Run) -> StageInputs:
    """Return the inputs of a stage on random images, with as many as a batch takes per class."""
    import torch

    from pdd_ray.core.seeding import generator
    from pdd_ray.data.dataset import Dataset
    from pdd_ray.data.multi_formation import decode, decode_labels
    from pdd_ray.data.pixels import Standardise
    from pdd_ray.data.synthetic_set import empty_set
    from pdd_ray.methods.base import StageInputs
    from pdd_ray.models.factory import create_model
    from pdd_ray.models.flat import FlatModel
    from pdd_ray.models.networks.convnet import ConvNetSpec

    shape, source = (3, SIDE, SIDE), generator(0, "images")
    labels = torch.arange(CLASSES).repeat_interleave(REAL[run.unit] + 44)
    images = torch.randn(len(labels), *shape, generator=source)
    rest = {f"{name}_images": images[:1] for name in ("validation", "test")}
    rest |= {f"{name}_labels": labels[:1] for name in ("validation", "test")}
    classes = tuple(f"class {label}" for label in range(CLASSES))
    pixels = Standardise(torch.full((3,), 0.5), torch.full((3,), 0.25))
    dataset = Dataset(images, labels, **rest, classes=classes, pixels=pixels, fingerprint="random",
                      source="npz")  # fmt: skip
    spec, model = spec_of(run), ConvNetSpec(width=run.width)
    domain, factor = spec.pixel_domain, spec.multi_formation
    union = empty_set(shape, classes, "normalise", "random", domain=domain, factor=factor)
    owners = torch.arange(CLASSES).repeat_interleave(PER_STAGE)
    for _ in range(run.stage - 1):
        stored = torch.rand(len(owners), *shape, generator=source)
        ready = pixels.forward(decode(stored, factor))
        union = union.extend(ready, decode_labels(owners, factor), stored, 0.01)
    bank = [create_model(model, shape, CLASSES, generator(0, "bank", n)) for n in range(2)]
    return StageInputs(
        dataset,
        union,
        run.images_per_class,
        model,
        bank=[FlatModel(network).flatten(network) for network in bank],
    )
