"""Checks of IDC and of PDD around it: matching losses, sweeps over the classes, training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdd_ray.data.pixels import Standardise
from pdd_ray.interop.idc_convnet import idc_convnet_names
from pdd_ray.methods.class_matching import ClassMatch, ClassTask
from pdd_ray.methods.coasting import after_sweep, at_own_step
from pdd_ray.methods.feature_matching_idc import FeatureMatcher, squared_distance
from pdd_ray.methods.gradient_distance import idc_distance
from pdd_ray.methods.gradient_matching import GradientMatcher, as_they_are
from pdd_ray.methods.idc import DecodeAndPrepare
from pdd_ray.models.factory import create_model, parameter_shapes
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.augmentation.cutmix import CutMix, box_of, label_ratio
from pdd_ray.training.augmentation.dsa import Draw
from pdd_ray.training.augmentation.rules import Augmentation
from pdd_ray.training.loop import (
    Batch,
    Sgd,
    TrainingState,
    accuracy,
    milestone_learning_rates,
    train,
)
from tests.conformance.closeness import (
    ROUNDING,
    Bound,
    assert_close,
    assert_digest,
    assert_output,
    largest,
)
from tests.conformance.reading import Vector, formula_weight

SGD = Sgd(momentum=0.9, weight_decay=5e-4)
OPERATIONS = {
    "flip": ("u_flip",),
    "color": ("u_brightness", "u_saturation", "u_contrast"),
    "crop": ("shift_rows", "shift_cols"),
    "scale": ("u_sx", "u_sy"),
    "rotate": ("u_angle",),
    "cutout": ("offset_rows", "offset_cols"),
}
"""Draws of each operation, in the order in which IDC's rule applies them."""


def check_match(vector: Vector) -> None:
    model = _model(vector, tuple(vector["real"].shape[1:]))
    for case in vector.values["cases"]:
        name = case["name"]
        match = _features(vector, model, case) if case["features"] else _gradients(vector, case)
        for output, got in (("loss", match.loss), ("grad_syn", match.gradient)):
            _check(vector, f"{name}.{output}", got)


def _gradients(vector: Vector, case: dict[str, object]) -> ClassMatch:
    distance = idc_distance(case["metric"], bias=case["bias"], fc=case["fc"])
    nothing = torch.zeros(0, dtype=torch.int64)
    real, classes = vector["real"], vector.values["classes"]
    matcher = GradientMatcher(_spec(vector), classes, real, real[:0], nothing, distance)
    return matcher.match(_theta(_model(vector, tuple(real.shape[1:]))), [_given(vector)])[0]


def _features(vector: Vector, model: nn.Sequential, case: dict[str, object]) -> ClassMatch:
    """Match the blocks of the case; ours is the last one only, others are summed up here."""
    first, last = case["features"]
    real, depth = vector["real"], vector.values["depth"]
    assert last == depth - 1
    if first == last:
        nothing = torch.zeros(0, dtype=torch.int64)
        matcher = FeatureMatcher(_spec(vector), real, real[:0], nothing, as_they_are)
        return matcher.match(_theta(model), [_given(vector)])[0]
    images = vector["syn"].requires_grad_()
    layers = len(model.features) // depth
    blocks = [model.features[: layers * (block + 1)] for block in range(first, last + 1)]
    loss = torch.stack(
        [squared_distance(block(images).mean(0), block(real).mean(0).detach()) for block in blocks]
    ).sum()
    return ClassMatch(loss, torch.autograd.grad(loss, images)[0])


def _given(vector: Vector) -> ClassTask:
    real = torch.arange(len(vector["real"]))
    return ClassTask(int(vector["class_index"]), real, vector["syn"], Augmentation(()))


def check_cycle(vector: Vector) -> None:
    _check_cycles(vector, _model(vector, tuple(vector["data_start"].shape[1:])))


def check_union(vector: Vector) -> None:
    """Check transition, conditioning on frozen images, and two sweeps over the new ones.

    The original interleaves the stages within a class; ours come one after the other.
    """
    start, stage = vector["data_start"], vector["union_stage"]
    model = _model(vector, tuple(start.shape[1:]))
    _check_transition(vector, model)
    assert torch.equal(start[stage == stage.max()], vector["new_rows_init"])
    assert int(vector["old_unchanged"]) == 1
    _check_cycles(vector, model)


def _check_transition(vector: Vector, model: nn.Sequential) -> None:
    values, labels = vector.values["transition"], vector["prev_labels"]
    prepare = _prepare(vector)
    by_class = [vector["prev_data"][labels == label] for label in labels.unique()]
    images = torch.cat([prepare(each) for each in by_class])
    order = vector["transition_order"]
    train(
        TrainingState(model),
        images,
        labels.repeat_interleave(vector.values["factor"] ** 2),
        milestone_learning_rates(values["lr"], values["epochs"]),
        lambda epoch: [Batch(indices) for indices in order[epoch].split(values["batch"])],
        Sgd(values["momentum"], values["weight_decay"]),
    )
    if vector.dtype == torch.float64:
        _check(vector, "theta_transition", _in_their_order(vector, list(model.parameters())))


class _Union:
    """The stored images of a vector: some may be frozen ones of an earlier stage."""

    def __init__(self, vector: Vector) -> None:
        self.values = vector.values
        self.images = vector["data_start"]
        count = len(self.images)
        self.stage = torch.zeros(count, dtype=torch.int64)
        if vector.has("union_stage"):
            self.stage = vector["union_stage"]
        self.labels = torch.arange(self.values["classes"]).repeat_interleave(
            self.values["stored_per_class"]
        )
        self.is_new = self.stage == self.stage.max()

    def with_new(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return all rows: ``rows`` where they are new, ``others`` elsewhere."""
        union = others.clone()
        union[self.is_new] = rows
        return union


def _check_cycles(vector: Vector, model: nn.Sequential) -> None:
    union, values = _Union(vector), vector.values
    labels, old = union.labels[union.is_new], ~union.is_new
    classes, rate, momentum = values["classes"], values["lr_img"], values["momentum"]
    images, buffer = union.images[union.is_new], None
    theta = _theta(model)
    frozen, frozen_labels = union.images[old], union.labels[old]
    matcher = _matcher(vector, frozen, frozen_labels)
    zeros = torch.zeros_like(union.images)
    losses = []
    for cycle in range(len(vector["real_idx"])):
        moved = at_own_step(images, buffer, labels, rate, momentum)
        matches = matcher.match(theta, _tasks(vector, cycle, moved, labels))
        gradient = torch.cat([match.gradient for match in matches])
        losses.append(torch.stack([match.loss for match in matches]))
        if bool(old.any()):
            _check_unmasked(vector, cycle, theta, union.with_new(moved, union.images), union)
        images, buffer = after_sweep(images, gradient, buffer, labels, classes, rate, momentum)
        _check_cycle(
            vector,
            f"cycle{cycle}",
            union.with_new(gradient, zeros),
            union.with_new(images, union.images),
            union.with_new(buffer, zeros),
        )
    if vector.dtype == torch.float64:
        _check(vector, "class_loss", torch.stack(losses))


def _check_cycle(
    vector: Vector, name: str, gradient: Tensor, images: Tensor, buffer: Tensor
) -> None:
    if vector.dtype == torch.float32:
        absolute, relative = (vector.tolerance[x] for x in ("data_after", "grad_rel_of_largest"))
        after = vector.expected(f"{name}.data_after")
        assert_close(f"{name}.data_after", images, after, Bound(absolute=absolute))
        if vector.has(f"{name}.class_grad"):
            expected = vector.expected(f"{name}.class_grad")
            assert_close(f"{name}.class_grad", gradient, expected, largest(expected, relative))
        return
    _check(vector, f"{name}.data_after", images)
    if vector.has(f"{name}.class_grad"):
        _check(vector, f"{name}.class_grad", gradient)
    relative = vector.tolerance["rtol_of_largest"]
    for output, got in (("class_grad", gradient), ("momentum", buffer)):
        assert_digest(output, got, vector.expected(f"{name}.{output}_digest"), relative)


def _check_unmasked(
    vector: Vector, cycle: int, theta: Tensor, images: Tensor, union: _Union
) -> None:
    """Check what the gradient of all images would be if none were frozen."""
    if vector.dtype == torch.float64:
        matcher = _matcher(vector, images[:0], union.labels[:0])
        matches = matcher.match(theta, _tasks(vector, cycle, images, union.labels))
        gradient = torch.cat([match.gradient for match in matches])
        name = f"cycle{cycle}.unmasked_digest"
        assert_digest(name, gradient, vector.expected(name), vector.tolerance["rtol_of_largest"])


def _matcher(vector: Vector, frozen: Tensor, frozen_labels: Tensor) -> GradientMatcher:
    prepare, values = _prepare(vector), vector.values
    pixels = (vector["real_u8"].double() / 255).float().to(vector.dtype)
    ready = [prepare(frozen[frozen_labels == label]) for label in range(values["classes"])]
    counts = torch.tensor([len(each) for each in ready])
    return GradientMatcher(
        _spec(vector),
        values["classes"],
        prepare.pixels.forward(pixels),
        torch.cat(ready),
        torch.arange(values["classes"]).repeat_interleave(counts),
        idc_distance(values["metric"]),
        prepare,
    )


def _tasks(vector: Vector, cycle: int, images: Tensor, labels: Tensor) -> list[ClassTask]:
    tasks = []
    for label in range(vector.values["classes"]):
        kept = f"cycle{cycle}.class{label}.subsample"
        values = {
            name.removeprefix("draw."): vector[name][cycle, label][None]
            for name in vector.tensors
            if name.startswith("draw.")
        }
        task = ClassTask(
            label,
            vector["real_idx"][cycle, label],
            images[labels == label],
            _augmentation(values),
            vector[kept] if vector.has(kept) else None,
        )
        tasks.append(task)
    return tasks


def check_training(vector: Vector) -> None:
    if vector.has("order"):
        _check_batches(vector)
    else:
        _check_stages(vector)


def _check_batches(vector: Vector) -> None:
    """Check training batch by batch: augmentation, CutMix, loss and update."""
    images = vector["x"]
    model = _model(vector, tuple(images.shape[1:]))
    batches = [_batch(vector, number) for number in range(len(vector["order"]))]
    for number, batch in enumerate(batches):
        inputs = batch.augmentation.apply(images[batch.indices])
        inputs = batch.cutmix.apply(inputs) if batch.cutmix else inputs
        name, relative = f"batch{number}.network_input", vector.tolerance["rtol_of_largest"]
        expected = vector.expected(name)
        assert_close(name, inputs, expected, largest(expected, max(relative, ROUNDING)))
        if vector.dtype == torch.float64:
            assert_digest(name, inputs, vector.expected(f"{name}_digest"), relative)
    losses: list[float] = []

    def check(done: int, loss: float) -> None:
        losses.append(loss)
        theta = _in_their_order(vector, list(model.parameters()))
        _check(vector, f"batch{done - 1}.theta", theta)

    rates = [0.01] * len(batches)
    state = TrainingState(model)
    train(state, images, vector["y"], rates, lambda i: [batches[i]], SGD, after_epoch=check)
    _check(vector, "loss", torch.tensor(losses, dtype=torch.float64))


def _batch(vector: Vector, number: int) -> Batch:
    item, stem = vector.values["batches"][number], f"batch{number}"
    augmentation = _augmentation({name: vector[f"{stem}.{name}"] for name in item["draws"]})
    assert augmentation.draws[-1].operation == item["chosen"]
    indices = vector["order"][number]
    given = vector.tensors  # CutMix computes in double precision always
    assert item["cutmix"] == (float(given[f"{stem}.r"]) < vector.values["mix_p"])
    if not item["cutmix"]:
        return Batch(indices, augmentation)
    height, width = vector["x"].shape[2:]
    box = box_of(float(given[f"{stem}.lam"]), *given[f"{stem}.centre"].tolist(), height, width)
    mix = CutMix(given[f"{stem}.perm"], box, label_ratio(box, height, width))
    assert mix.ratio == item["ratio"]
    return Batch(indices, augmentation, mix)


def _check_stages(vector: Vector) -> None:
    values = vector.values
    model = _model(vector, tuple(vector["x_test"].shape[1:]))
    state = TrainingState(model)
    rates: list[float] = []
    for stage, (_best, last) in enumerate(values["best_and_last_test_top1_percent"]):
        of_stage = milestone_learning_rates(values["lr"], values["epochs"])
        rates += of_stage
        _check_stage(vector, state, stage, of_stage)
        share = accuracy(model, vector["x_test"], vector["y_test"])
        assert round(100 * share, 6) == last
    torch.testing.assert_close(rates, values["lr_of_each_epoch"], rtol=1e-12, atol=0.0)


def _check_stage(vector: Vector, state: TrainingState, stage: int, rates: list[float]) -> None:
    order, size = vector[f"stage{stage}.order"], vector.values["batch"]
    norms = []

    def record(_epoch: int, _loss: float) -> None:
        parameters = _by_their_names(vector, list(state.model.parameters()))
        norms.append(torch.stack([value.detach().norm() for value in parameters]))

    state.epoch = 0
    train(
        state,
        vector[f"stage{stage}.x"],
        vector[f"stage{stage}.y"],
        rates,
        lambda epoch: [Batch(indices) for indices in order[epoch].split(size)],
        SGD,
        after_epoch=record,
    )
    theta = _in_their_order(vector, list(state.model.parameters()))
    if vector.dtype == torch.float32:
        name = f"stage{stage}.theta"
        expected = vector.expected(name)
        assert_close(name, theta, expected, largest(expected, vector.tolerance["theta"]))
        return
    with torch.no_grad():
        logits = state.model.eval()(vector["x_test"])
    outputs = {"norms": torch.stack(norms), "theta": theta, "test_logits": logits}
    if vector.has(f"stage{stage}.momentum"):
        outputs["momentum"] = _in_their_order(vector, state.buffers or [])
    for name, got in outputs.items():
        _check(vector, f"stage{stage}.{name}", got)


def _augmentation(values: dict[str, Tensor]) -> Augmentation:
    """Return the augmentation by IDC's rule with these draws."""
    draws = []
    for operation, names in OPERATIONS.items():
        if all(name in values for name in names):
            chosen = {name: values[name] for name in names}
            whole = {name: v if name.startswith("u_") else v.long() for name, v in chosen.items()}
            draws.append(Draw(operation, whole))
    assert sum(len(draw.values) for draw in draws) == len(values)
    return Augmentation(tuple(draws), align_corners=False)


def _prepare(vector: Vector) -> DecodeAndPrepare:
    values = vector.values
    mean, std = (torch.tensor(values[name], dtype=torch.float64) for name in ("mean", "std"))
    return DecodeAndPrepare(values["factor"], Standardise(mean, std))


def _spec(vector: Vector) -> ConvNetSpec:
    return ConvNetSpec(width=vector.values["width"], depth=vector.values["depth"])


def _model(vector: Vector, shape: tuple[int, int, int]) -> nn.Sequential:
    spec = _spec(vector)
    model = create_model(spec, shape, vector.values["classes"], torch.Generator())
    model = model.to(vector.dtype)
    parameters = dict(model.named_parameters())
    names = idc_convnet_names(spec)
    assert list(names) == vector.values["param_names"]
    assert sorted(names.values()) == sorted(parameters)
    with torch.no_grad():
        for number, (name, ours) in enumerate(names.items()):
            target, stored = parameters[ours], f"param.{name}"
            if vector.has(stored):
                target.copy_(vector[stored])
            else:
                seed = vector.values["formula_seed"]
                target.copy_(formula_weight(name, tuple(target.shape), seed, number))
    return model


def _theta(model: nn.Sequential) -> Tensor:
    return FlatModel(model).flatten(model)


def _by_their_names(vector: Vector, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return one tensor per parameter of our network in the order of the vector's names."""
    spec = _spec(vector)
    ours = parameter_shapes(spec, (3, 32, 32), vector.values["classes"])
    by_name = dict(zip(ours, tensors, strict=True))
    return [by_name[name] for name in idc_convnet_names(spec).values()]


def _in_their_order(vector: Vector, tensors: Sequence[Tensor]) -> Tensor:
    ordered = _by_their_names(vector, tensors)
    return torch.cat([value.detach().reshape(-1) for value in ordered])


def _check(vector: Vector, name: str, got: Tensor) -> None:
    relative, absolute = vector.tolerance["rtol_of_largest"], vector.tolerance.get("atol", 0.0)
    expected = vector.expected(name)
    assert_output(vector, name, got, Bound(relative, absolute, expected.abs().max()))
