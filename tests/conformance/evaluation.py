"""Checks of training on synthetic sets: parameters, momentum and logits after every stage."""

import torch
from torch import Tensor

from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.augmentation.dsa import Draw
from pdd_ray.training.augmentation.rules import Augmentation
from pdd_ray.training.loop import (
    Batch,
    Sgd,
    TrainingState,
    accuracy,
    reference_learning_rates,
    train,
)
from tests.conformance.closeness import assert_output, largest
from tests.conformance.networks import formula_model
from tests.conformance.reading import Vector

FLOAT32_GROUPS = {"theta": "theta", "test_logits": "logits"}
KEEPS = "momentum buffers are kept"
RESETS = ("created anew", "momentum is reset")
CARRIES = "starts with the momentum buffers of the end of stage"


def check_evaluation(vector: Vector) -> None:
    values = vector.values
    spec = ConvNetSpec(width=values["width"], depth=values["depth"])
    test_images = vector["x_test"]
    shape = (test_images.shape[1], test_images.shape[2], test_images.shape[3])
    state = TrainingState(formula_model(vector, spec, values, shape))
    rates = []
    for stage, learning_rate in enumerate(values["lr_per_stage"]):
        state.epoch = 0
        if CARRIES not in vector.entry["formula"]:
            state.buffers = None
        rates += _check_stage(vector, state, stage, learning_rate)
        share = accuracy(state.model, test_images, vector["y_test"])
        count = len(test_images)
        assert round(share * count) == round(values["test_accuracy"][stage] * count)
    torch.testing.assert_close(rates, values["lr_of_each_epoch"], rtol=1e-12, atol=0.0)


def _check_stage(
    vector: Vector, state: TrainingState, stage: int, learning_rate: float
) -> list[float]:
    rates = reference_learning_rates(learning_rate, vector.values["epochs_argument"])
    assert len(rates) == vector.values["epochs_run"]
    norms: list[Tensor] = []
    losses: list[float] = []

    def record(_epoch: int, loss: float) -> None:
        norms.append(torch.stack([p.detach().norm() for p in state.model.parameters()]))
        losses.append(loss)

    train(
        state,
        vector[f"stage{stage}.x"],
        vector[f"stage{stage}.y"],
        rates,
        lambda epoch: _batches(vector, stage, epoch),
        _sgd(vector),
        after_epoch=record,
    )
    _check(vector, f"stage{stage}.norms", torch.stack(norms))
    _check(vector, f"stage{stage}.train_loss", torch.tensor(losses, dtype=torch.float64))
    _check(vector, f"stage{stage}.theta", _flat(list(state.model.parameters())))
    if vector.has(f"stage{stage}.momentum"):
        _check(vector, f"stage{stage}.momentum", _flat(state.buffers or []))
    with torch.no_grad():
        logits = state.model.eval()(vector["x_test"])
    _check(vector, f"stage{stage}.test_logits", logits)
    return rates


def _sgd(vector: Vector) -> Sgd:
    """Return the optimiser; only the formula's text says what becomes of the momentum."""
    formula = vector.entry["formula"]
    keeps = KEEPS in formula
    assert keeps != any(text in formula for text in RESETS)
    return Sgd(vector.values["momentum"], vector.values["weight_decay"], reset_at_drop=not keeps)


def _batches(vector: Vector, stage: int, epoch: int) -> list[Batch]:
    order = vector[f"stage{stage}.order"][epoch]
    draws = {item["where"]: item for item in vector.values.get("augmentation", [])}
    batches: list[Batch] = []
    for number, indices in enumerate(order.split(vector.values["batch"])):
        where = f"stage{stage}.epoch{epoch}.batch{number}"
        item = draws.get(where)
        draw = item and Draw(
            item["op"], {name: vector[f"{where}.{name}"] for name in item["draws"]}
        )
        augmentation = Augmentation((draw,) if draw else ())
        batches.append(Batch(indices, augmentation))
    return batches


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([value.detach().reshape(-1) for value in tensors])


def _check(vector: Vector, name: str, got: Tensor) -> None:
    if vector.dtype == torch.float64:
        relative = vector.tolerance["rtol_of_largest"]
    else:
        relative = vector.tolerance.get(FLOAT32_GROUPS.get(name.split(".")[1], ""))
    if relative is not None:
        assert_output(vector, name, got, largest(vector.expected(name), relative))
