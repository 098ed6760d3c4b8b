"""Experts and transitions as steps: chains through the stages, continued where they stopped."""

import pytest
import torch

from pdd_ray.configuration.training import ExpertSpec
from pdd_ray.models.flat import FlatModel
from pdd_ray.testing.tiny import (
    MODEL,
    InterruptionError,
    data_artifact,
    dataset,
    interrupting,
    new_model,
    start_of,
    step_context,
    training_config,
    union_of,
)
from pdd_ray.training.experts import run_expert, run_start
from pdd_ray.training.loop import (
    Sgd,
    TrainingState,
    random_batches,
    reference_learning_rates,
    train,
)
from pdd_ray.training.trajectories import (
    PARAMETERS,
    TRAJECTORY,
    load_parameters,
    open_trajectory,
    save_parameters,
)

NETWORK = FlatModel(new_model())


def expert_config(stage=1, chain=0, epochs=3, **changes):
    spec = ExpertSpec.model_validate({"batch_size": 8, "learning_rate": 0.05, **changes}).to_json()
    identity = {name: value for name, value in spec.items() if name not in ("count", "epochs")}
    return {
        "expert": identity,
        "epochs": epochs,
        "model": MODEL.to_json(),
        "seed": 0,
        "chain": chain,
        "stage": stage,
    }


def start_config(chain=0, **changes):
    transition = training_config(**changes)
    return {"transition": transition, "model": MODEL.to_json(), "seed": 0, "chain": chain}


@pytest.fixture
def data(tmp_path):
    return data_artifact(tmp_path / "data")


def union_artifact(folder, sizes):
    folder.mkdir()
    union_of(sizes).save(folder)
    return folder


def make_start(folder, stage, start=None, **config):
    inputs = {"stage": stage} | ({"start": start} if start else {})
    context = step_context(folder, start_config(**config), inputs)
    run_start(context)
    return context.output


def make_expert(folder, data, start=None, progress=None, **config):
    inputs = {"data": data} | ({"start": start} if start else {})
    options = {"progress": progress, "seconds_between_saves": 0.0} if progress else {}
    run_expert(step_context(folder, expert_config(**config), inputs, **options))
    return open_trajectory(folder / "output")


def test_the_first_snapshot_is_the_chain_s_random_start(data, tmp_path):
    trajectory = make_expert(tmp_path / "expert", data, chain=2)
    assert trajectory.length == 4
    first, last = trajectory.snapshots(0, 3)
    assert torch.equal(first, start_of(2))
    assert not torch.equal(first, last)


def test_snapshots_are_the_parameters_after_each_epoch(data, tmp_path):
    trajectory = make_expert(tmp_path / "expert", data)
    model = new_model()
    NETWORK.load(model, start_of(0))
    images, labels = dataset().train_images, dataset().train_labels
    state = TrainingState(model)
    strategy = ExpertSpec().augmentation
    batches = random_batches(images, 8, strategy, 0, "chain", 0, "expert", 1)
    for epoch in (1, 2, 3):
        train(state, images, labels, [0.05] * epoch, batches, Sgd())
        assert torch.equal(trajectory.snapshots(epoch)[0], NETWORK.flatten(model))


def test_a_later_trajectory_sets_out_from_its_chain_s_start(data, tmp_path):
    start = make_start(tmp_path / "start", union_artifact(tmp_path / "union", [1]))
    trajectory = make_expert(tmp_path / "expert", data, start, stage=2)
    assert torch.equal(trajectory.snapshots(0)[0], load_parameters(start))


def test_a_start_is_trained_from_the_same_chain_s_start_before(tmp_path):
    stages = [union_artifact(tmp_path / f"union{i}", [1, 2][:i]) for i in (1, 2)]
    second = make_start(tmp_path / "second", stages[0], chain=5)
    third = make_start(tmp_path / "third", stages[1], second, chain=5)
    model = new_model()
    NETWORK.load(model, start_of(5))
    for number, got in ((1, second), (2, third)):
        union = union_of([1, 2][:number])
        strategy = training_config()["augmentation"]
        names = ("chain", 5, "transition", number)
        batches = random_batches(union.images, 4, strategy, 0, *names)
        rates = reference_learning_rates(number / 100, 3)
        state = TrainingState(model)  # the optimiser is fresh in every stage
        train(state, union.images, union.labels, rates, batches, Sgd(0.9, 5e-4))
        assert torch.equal(load_parameters(got), NETWORK.flatten(model))


def test_chains_differ(data, tmp_path):
    one, two = (make_expert(tmp_path / f"{chain}", data, chain=chain) for chain in (0, 1))
    for epoch in (0, 3):
        assert not torch.equal(*one.snapshots(epoch), *two.snapshots(epoch))


@pytest.mark.parametrize("killed", [1, 2, 4])
def test_a_killed_expert_continues_to_the_same_bytes(data, tmp_path, killed):
    make_expert(tmp_path / "whole", data, epochs=4)
    with pytest.raises(InterruptionError):
        make_expert(tmp_path / "killed", data, epochs=4, progress=interrupting(killed))
    epochs = []
    make_expert(
        tmp_path / "killed",
        data,
        epochs=4,
        progress=lambda progress: epochs.append(round(4 * progress["fraction"])),
    )
    assert epochs == list(range(killed, 5))
    one, other = (tmp_path / name / "output" / TRAJECTORY for name in ("whole", "killed"))
    assert one.read_bytes() == other.read_bytes()


def test_progress_is_one_file_whose_state_and_snapshots_belong_together(data, tmp_path):
    make_expert(tmp_path / "whole", data)
    with pytest.raises(InterruptionError):
        make_expert(tmp_path / "killed", data, progress=interrupting(2))
    (path,) = (tmp_path / "killed" / "partial").iterdir()
    old = path.read_bytes()
    with pytest.raises(InterruptionError):
        make_expert(tmp_path / "killed", data, progress=interrupting(2))
    assert path.read_bytes() != old
    path.write_bytes(old)  # as if the machine had lost what was written last
    make_expert(tmp_path / "killed", data)
    one, other = (tmp_path / name / "output" / TRAJECTORY for name in ("whole", "killed"))
    assert one.read_bytes() == other.read_bytes()


def test_a_killed_start_continues_to_the_same_bytes(tmp_path):
    stage = union_artifact(tmp_path / "union", [2])
    whole = make_start(tmp_path / "whole", stage, epochs=4)
    inputs = {"stage": stage}
    killed = step_context(tmp_path / "killed", start_config(epochs=4), inputs, interrupting(4), 0.0)
    with pytest.raises(InterruptionError):
        run_start(killed)
    resumed = make_start(tmp_path / "killed", stage, epochs=4)
    assert (whole / PARAMETERS).read_bytes() == (resumed / PARAMETERS).read_bytes()


def test_snapshots_can_be_stored_in_half_the_space(data, tmp_path):
    full = make_expert(tmp_path / "full", data)
    half = make_expert(tmp_path / "half", data, storage="float16")
    for epoch in range(4):
        (one,), (other,) = full.snapshots(epoch), half.snapshots(epoch)
        assert torch.equal(one.half().float(), other)


def test_a_network_with_running_statistics_has_a_chain_too(data, tmp_path):
    model = MODEL.model_copy(update={"norm": "batch"})
    stage = union_artifact(tmp_path / "union", [2])
    config = {**start_config(), "model": model.to_json()}
    context = step_context(tmp_path / "start", config, {"stage": stage})
    run_start(context)
    assert load_parameters(context.output).isfinite().all()


def test_the_global_generator_is_not_touched(data, tmp_path):
    before = torch.get_rng_state()
    make_expert(tmp_path / "expert", data)
    make_start(tmp_path / "start", union_artifact(tmp_path / "union", [1]))
    assert torch.equal(before, torch.get_rng_state())


def test_stored_parameters_name_their_layout(tmp_path):
    save_parameters(tmp_path, start_of(0), NETWORK)
    assert torch.equal(load_parameters(tmp_path), start_of(0))


@pytest.mark.parametrize(
    ("options", "difference"),
    [({"channels_last": True}, 1e-5), ({"precision": "bfloat16"}, 0.05)],
    ids=["channels_last", "bfloat16"],
)
def test_other_formats_give_the_same_trajectory_up_to_their_rounding(
    tmp_path, data, options, difference
):
    """In norm of what training moved the parameters by; they are stored in float32 all the same."""
    plain = make_expert(tmp_path / "plain", data).snapshots(0, 3)
    other = make_expert(tmp_path / "other", data, **options).snapshots(0, 3)
    assert torch.equal(plain[0], other[0])
    assert other[1].dtype == torch.float32
    assert not torch.equal(plain[1], other[1])
    assert (other[1] - plain[1]).norm() < difference * (plain[1] - plain[0]).norm()


@pytest.mark.parametrize("options", [{"channels_last": True}, {"precision": "bfloat16"}])
def test_other_formats_continue_to_the_same_bytes(tmp_path, data, options):
    whole = make_expert(tmp_path / "whole", data, momentum=0.9, **options).snapshots(0, 3)
    with pytest.raises(InterruptionError):
        make_expert(tmp_path / "parts", data, progress=interrupting(2), momentum=0.9, **options)
    parts = make_expert(tmp_path / "parts", data, momentum=0.9, **options).snapshots(0, 3)
    assert all(map(torch.equal, whole, parts))


def test_formats_left_at_their_defaults_are_not_part_of_the_identity():
    assert not {"precision", "channels_last"} & set(ExpertSpec().identity())
    assert ExpertSpec(channels_last=True).identity()["channels_last"] is True
