"""Evaluation as steps: progressive, union and sequential, stage by stage."""

import json
from dataclasses import replace

import pytest
import torch

from pdd_ray.configuration.training import FullDataSpec
from pdd_ray.core.seeding import generator
from pdd_ray.core.tensors import load_tensors
from pdd_ray.data.dataset import load_dataset
from pdd_ray.models.factory import create_model
from pdd_ray.models.networks.resnet import ResNetSpec
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import (
    CLASSES,
    MODEL,
    SHAPE,
    InterruptionError,
    data_artifact,
    dataset,
    interrupting,
    step_context,
    training_config,
    union_of,
)
from pdd_ray.training.evaluation import (
    RESULT,
    TRAINED_NETWORK,
    TRAINING_CURVE,
    evenly_spaced,
    run,
    run_full,
)
from pdd_ray.training.loop import (
    Sgd,
    TrainingState,
    accuracy,
    random_batches,
    reference_learning_rates,
    train,
)

SIZES = [1, 2]


@pytest.fixture
def artifacts(tmp_path):
    folders = {"data": data_artifact(tmp_path / "data")}
    for stage in (1, 2):
        folders[f"stage{stage}"] = tmp_path / f"stage{stage}"
        folders[f"stage{stage}"].mkdir()
        union_of(SIZES[:stage]).save(folders[f"stage{stage}"])
    return folders


def config_of(subset="union", carry=True, model=MODEL, network=0, **changes):
    return {
        "training": training_config(**changes),
        "model": model.to_json(),
        "network": network,
        "seed": 0,
        "subset": subset,
        "carry_momentum": carry,
    }


def evaluate(folder, artifacts, stage, previous=None, progress=None, **config):
    inputs = {"data": artifacts["data"], "stage": artifacts[f"stage{stage}"]}
    inputs |= {"previous": previous} if previous else {}
    options = {"progress": progress, "seconds_between_saves": 0.0} if progress else {}
    run(step_context(folder, config_of(**config), inputs, **options))
    return folder / "output"


def by_hand(stages, network=0, subset="union", carry=True, model=MODEL, **changes):
    """Train one network on ``stages`` in a plain loop."""
    config = training_config(**changes)
    source = generator(0, "evaluation", network, "start")
    state = TrainingState(create_model(model, SHAPE, len(CLASSES), source))
    for stage in stages:
        union = union_of(SIZES[:stage])
        chosen = union.only(stage) if subset == "stage" else union
        names = ("evaluation", network, "stage", stage)
        batches = random_batches(
            chosen.images, config["batch_size"], config["augmentation"], 0, *names
        )
        rates = reference_learning_rates(stage / 100, config["epochs"])
        sgd = Sgd(0.9, 5e-4, config["reset_momentum_at_decay"])
        state.epoch = 0
        if not carry:
            state.buffers = None
        train(state, chosen.images, chosen.labels, rates, batches, sgd)
    return state


def assert_is(folder, state):
    tensors, _ = load_tensors(folder / TRAINED_NETWORK)
    for name, value in state.model.state_dict().items():
        assert torch.equal(tensors[f"model.{name}"], value), name
    result = json.loads((folder / RESULT).read_text())
    data = dataset()
    assert result["test_accuracy"] == accuracy(state.model, data.test_images, data.test_labels)
    assert result["validation_accuracy"] == accuracy(
        state.model, data.validation_images, data.validation_labels
    )


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize("reset", [True, False])
def test_progressive_is_one_network_on_the_growing_unions(artifacts, tmp_path, carry, reset):
    options = {"carry": carry, "reset_momentum_at_decay": reset}
    first = evaluate(tmp_path / "first", artifacts, 1, **options)
    second = evaluate(tmp_path / "second", artifacts, 2, first, **options)
    assert_is(first, by_hand([1], **options))
    assert_is(second, by_hand([1, 2], **options))


def test_momentum_makes_a_difference(artifacts, tmp_path):
    first = evaluate(tmp_path / "first", artifacts, 1)
    kept = evaluate(tmp_path / "kept", artifacts, 2, first)
    emptied = evaluate(tmp_path / "emptied", artifacts, 2, first, carry=False)
    assert (kept / TRAINED_NETWORK).read_bytes() != (emptied / TRAINED_NETWORK).read_bytes()


def test_sequential_sees_the_newest_set_only(artifacts, tmp_path):
    first = evaluate(tmp_path / "first", artifacts, 1)
    second = evaluate(tmp_path / "second", artifacts, 2, first, subset="stage")
    assert_is(second, by_hand([1, 2], subset="stage"))


def test_union_is_a_fresh_network_on_everything(artifacts, tmp_path):
    assert_is(evaluate(tmp_path / "union", artifacts, 2), by_hand([2]))


def test_networks_differ(artifacts, tmp_path):
    one, two = (evaluate(tmp_path / f"{i}", artifacts, 1, network=i) for i in (0, 1))
    assert_is(two, by_hand([1], network=1))
    assert (one / TRAINED_NETWORK).read_bytes() != (two / TRAINED_NETWORK).read_bytes()


@pytest.mark.parametrize(
    "model",
    [MODEL.model_copy(update={"norm": "batch"}), ResNetSpec(depth=10, family="idc", norm="batch")],
)
def test_running_statistics_are_carried_from_stage_to_stage(artifacts, tmp_path, model):
    first = evaluate(tmp_path / "first", artifacts, 1, model=model, epochs=1, batch_size=3)
    second = evaluate(tmp_path / "second", artifacts, 2, first, model=model, epochs=1, batch_size=3)
    state = by_hand([1, 2], model=model, epochs=1, batch_size=3)
    assert_is(second, state)
    counts = [v for name, v in state.model.state_dict().items() if "num_batches" in name]
    assert {int(count) for count in counts} == {2 * 1 + 2 * 3}  # passes times batches


def test_a_killed_evaluation_continues_to_the_same_bytes(artifacts, tmp_path):
    first = evaluate(tmp_path / "first", artifacts, 1)
    whole = evaluate(tmp_path / "whole", artifacts, 2, first)
    with pytest.raises(InterruptionError):
        evaluate(tmp_path / "killed", artifacts, 2, first, interrupting(3))
    killed = evaluate(tmp_path / "killed", artifacts, 2, first)
    for name in (TRAINED_NETWORK, RESULT):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()


def test_a_result_says_what_was_measured_and_no_times(artifacts, tmp_path):
    folder = evaluate(tmp_path / "union", artifacts, 2)
    result = json.loads((folder / RESULT).read_text())
    assert set(result) == {"test_accuracy", "validation_accuracy", "test_images", "step_size"}
    assert result["test_images"] == 15
    assert result["step_size"] == 0.02
    assert sorted(path.name for path in folder.iterdir()) == [RESULT, TRAINED_NETWORK]


def test_two_evaluations_have_the_same_bytes(artifacts, tmp_path):
    one, two = (evaluate(tmp_path / name, artifacts, 2) for name in ("one", "two"))
    for name in (TRAINED_NETWORK, RESULT):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_the_global_generator_is_not_touched(artifacts, tmp_path):
    before = torch.get_rng_state()
    evaluate(tmp_path / "union", artifacts, 2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("epochs", "points", "expected"),
    [(4, 0, set()), (4, 1, {4}), (4, 2, {2, 4}), (10, 4, {2, 5, 8, 10}), (2, 5, {1, 2})],
)
def test_points_are_evenly_spaced_and_end_with_the_last_epoch(epochs, points, expected):
    assert evenly_spaced(epochs, points) == expected


def with_changes(folder, artifacts, progress=None, **changes):
    inputs = {"data": artifacts["data"], "stage": artifacts["stage1"]}
    options = {"progress": progress, "seconds_between_saves": 0.0} if progress else {}
    context = step_context(folder, {**config_of(epochs=5), **changes}, inputs, **options)
    run(context)
    return folder / "output"


def test_a_curve_is_of_validation_and_ends_with_the_result(tmp_path, artifacts):
    output = with_changes(tmp_path / "a", artifacts, curve_points=3)
    plain = with_changes(tmp_path / "b", artifacts)
    curve = json.loads((output / TRAINING_CURVE).read_text())
    result = json.loads((output / RESULT).read_text())
    assert curve["epochs"] == [2, 4, 6]  # epochs + 1 passes
    assert curve["validation_accuracy"][-1] == result["validation_accuracy"]
    assert result == json.loads((plain / RESULT).read_text())
    assert not (plain / TRAINING_CURVE).exists()


def test_the_original_protocol_reports_the_best_of_its_tests(tmp_path, artifacts, monkeypatch):
    found = iter([0.1, 0.7, 0.3, 0.2, 0.9])  # three tests, then test and validation at the end

    def fake(_model, _images, _labels):
        return next(found)

    monkeypatch.setattr("pdd_ray.training.evaluation.accuracy", fake)
    output = with_changes(tmp_path / "a", artifacts, tests=3)
    result = json.loads((output / RESULT).read_text())
    assert result["test_accuracy"] == 0.7
    assert result["last_test_accuracy"] == 0.2
    assert result["validation_accuracy"] == 0.9


def test_a_curve_survives_an_interruption(tmp_path, artifacts):
    whole = with_changes(tmp_path / "whole", artifacts, curve_points=6)
    with pytest.raises(InterruptionError):
        with_changes(tmp_path / "cut", artifacts, interrupting(4), curve_points=6)
    cut = with_changes(tmp_path / "cut", artifacts, curve_points=6)
    assert (cut / TRAINING_CURVE).read_text() == (whole / TRAINING_CURVE).read_text()


def test_all_real_images_are_trained_on_as_by_hand(tmp_path, artifacts):
    spec = FullDataSpec(epochs=2, batch_size=8, learning_rate=0.05)
    config = {
        "training": spec.to_json(),
        "model": MODEL.to_json(),
        "network": 1,
        "seed": 0,
    }
    context = step_context(tmp_path / "full", config, {"data": artifacts["data"]})
    run_full(context)
    data = dataset()
    source = generator(0, "evaluation", 1, "start")
    state = TrainingState(create_model(MODEL, SHAPE, len(CLASSES), source))
    batches = random_batches(data.train_images, 8, spec.augmentation, 0, "evaluation", 1, "full")
    rates = reference_learning_rates(0.05, 2)
    train(state, data.train_images, data.train_labels, rates, batches, Sgd(0.9, 5e-4))
    result = json.loads((context.output / RESULT).read_text())
    assert result["test_accuracy"] == accuracy(state.model, data.test_images, data.test_labels)


def test_evaluations_on_a_device_leave_the_train_images_on_the_cpu(artifacts, tmp_path):
    on_cpu = evaluate(tmp_path / "cpu", artifacts, 1, epochs=1)
    inputs = {"data": artifacts["data"], "stage": artifacts["stage1"]}
    with fake_device() as seen:
        for name in ("first", "second"):
            before = seen.total_syncs
            run(replace(step_context(tmp_path / name, config_of(epochs=1), inputs), device=DEVICE))
            copies = seen.total_syncs - before
        data = load_dataset(artifacts["data"], DEVICE, ["test"])
    assert data.train_images.device.type == "cpu"
    assert data.test_images.device.type == data.validation_images.device.type == DEVICE
    # the second one finds the data there: two for the set, one for the network and one for all
    # draws, three answers, and what is saved
    saved, _ = load_tensors(on_cpu / TRAINED_NETWORK)
    assert copies <= 7 + len(saved)
    for file in (RESULT, TRAINED_NETWORK):
        assert (tmp_path / "second" / "output" / file).read_bytes() == (on_cpu / file).read_bytes()
