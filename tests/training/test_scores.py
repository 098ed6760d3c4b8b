"""Forgetting scores of the real images as a step, and the window of images that they leave."""

import json
import logging

import pytest
import torch
import torch.nn.functional as F

from pdd_ray.configuration.training import ForgettingSpec
from pdd_ray.core.seeding import generator
from pdd_ray.core.tensors import save_tensors
from pdd_ray.models.factory import create_model
from pdd_ray.testing.tiny import (
    CLASSES,
    MODEL,
    SHAPE,
    InterruptionError,
    data_artifact,
    dataset,
    interrupting,
    step_context,
)
from pdd_ray.training.loop import random_batches
from pdd_ray.training.scores import SCORE_SHARES, SCORES, images_in_window, load_scores, run

EPOCHS = 10
SPEC = {"epochs": EPOCHS, "batch_size": 7, "learning_rate": 0.1}


def context_of(folder, progress=None, seed=0, **changes):
    spec = ForgettingSpec.model_validate({**SPEC, **changes})
    config = {"forgetting": spec.to_json(), "model": MODEL.to_json(), "seed": seed}
    options = {"progress": progress, "seconds_between_saves": 0.0} if progress else {}
    inputs = {"data": data_artifact(folder / "data")}
    return step_context(folder, config, inputs, **options)


def scores_of(folder, **changes):
    context = context_of(folder, **changes)
    run(context)
    return load_scores(context.output)


def presentations(number=0, seed=0, **changes):
    """Train plainly, and return for each train image which of its presentations were correct."""
    spec = ForgettingSpec.model_validate({**SPEC, **changes})
    data = dataset()
    images, labels = data.train_images, data.train_labels
    names = ("forgetting", number)
    model = create_model(MODEL, SHAPE, len(CLASSES), generator(seed, *names, "start"))
    optimiser = torch.optim.SGD(
        model.parameters(), 0.1, momentum=spec.momentum, weight_decay=spec.weight_decay
    )
    batches = random_batches(images, spec.batch_size, spec.augmentation, seed, *names)
    rates = [0.1] * 3 + [0.02] * 3 + [0.004] * 2 + [0.0008] * 2
    seen = [[] for _ in labels]
    for epoch, rate in enumerate(rates):
        optimiser.param_groups[0]["lr"] = rate
        for batch in batches(epoch):
            truth = labels[batch.indices]
            logits = model(batch.augmentation.apply(images[batch.indices]))
            for index, correct in zip(batch.indices, logits.argmax(1) == truth, strict=True):
                seen[index].append(bool(correct))
            optimiser.zero_grad()
            F.cross_entropy(logits, truth).backward()
            optimiser.step()
    return seen


def counted(seen):
    """Return the scores as their definition says."""
    scores = []
    for correct in seen:
        assert len(correct) == EPOCHS
        forgotten = sum(correct[k - 1] and not correct[k] for k in range(1, EPOCHS))
        scores.append(float(forgotten if any(correct) else EPOCHS))
    return scores


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return scores_of(tmp_path_factory.mktemp("scores"))


def test_scores_count_correct_presentations_that_are_followed_by_wrong_ones(made):
    expected = counted(presentations())
    assert made.dtype == torch.float32
    assert made.tolist() == expected
    assert len(set(expected)) > 2


def test_an_image_that_is_never_learned_has_the_number_of_epochs_as_its_score(tmp_path):
    slow = {"weight_decay": 0.0, "momentum": 0.0, "learning_rate": 1e-9}
    got = scores_of(tmp_path, augmentation="none", **slow)
    # an untrained network stays with its answers: right always, or never
    assert set(got.tolist()) == {0.0, float(EPOCHS)}


def test_scores_of_several_trainings_are_summed(tmp_path, made):
    got = scores_of(tmp_path, runs=2)
    second = torch.tensor(counted(presentations(number=1)))
    assert torch.equal(got, made + second)
    assert second.tolist() != made.tolist()


def test_the_report_gives_the_shares_below_the_paper_s_bounds(tmp_path):
    context = context_of(tmp_path)
    run(context)
    scores = load_scores(context.output).tolist()
    assert json.loads((context.output / SCORE_SHARES).read_text()) == {
        f"below_{bound}": pytest.approx(sum(s < bound for s in scores) / len(scores))
        for bound in (3, 9, 15)
    }


def test_the_same_inputs_give_the_same_bytes_and_another_seed_others(tmp_path, made):
    one, other = (context_of(tmp_path / name) for name in ("one", "other"))
    for context in (one, other):
        run(context)
    assert (one.output / SCORES).read_bytes() == (other.output / SCORES).read_bytes()
    assert torch.equal(load_scores(one.output), made)
    assert not torch.equal(scores_of(tmp_path / "seed", seed=1), made)


def test_progress_is_told_from_0_to_1_over_all_trainings(tmp_path):
    told = []
    run(context_of(tmp_path, progress=lambda values: told.append(values["fraction"]), runs=2))
    assert told == pytest.approx([k / (2 * EPOCHS) for k in range(1, 2 * EPOCHS + 1)])


@pytest.mark.parametrize("killed", [1, 4, EPOCHS, EPOCHS + 1, EPOCHS + 3])
def test_killed_trainings_continue_to_the_same_bytes(tmp_path, killed):
    whole = context_of(tmp_path / "whole", runs=2)
    run(whole)
    with pytest.raises(InterruptionError):
        run(context_of(tmp_path / "killed", interrupting(killed), runs=2))
    told = []
    again = context_of(tmp_path / "killed", lambda values: told.append(values["fraction"]), runs=2)
    run(again)
    assert told == pytest.approx([k / (2 * EPOCHS) for k in range(killed, 2 * EPOCHS + 1)])
    for name in (SCORES, SCORE_SHARES):
        assert (whole.output / name).read_bytes() == (again.output / name).read_bytes()


# --- the window ----------------------------------------------------------------------------------

BY_CLASS = {
    "ant": [0, 0, 1, 1, 2, 2, 3, 4, 5, 6],
    "bee": [0, 0, 0, 0, 0, 0, 0, 1, 2, 7],
    "cat": [3, 3, 4, 4, 5, 5, 5, 5, 6, 9],
}


def narrowed(folder, low, high, minimum):
    """Return the data set of a window, its facts, and the scores of its images by class."""
    data = dataset()
    scores = torch.zeros(len(data.train_labels))
    for label, name in enumerate(CLASSES):
        scores[data.train_labels == label] = torch.tensor(BY_CLASS[name], dtype=torch.float32)
    save_tensors(folder / SCORES, {"scores": scores}, {})
    window = {"low": low, "high": high, "minimum": minimum}
    small, facts = images_in_window(data, folder, window)
    by_class = {}
    for image, label in zip(small.train_images, small.train_labels.tolist(), strict=True):
        (row,) = (data.train_images == image).flatten(1).all(1).nonzero().flatten()
        assert data.train_labels[row] == label
        by_class.setdefault(CLASSES[label], []).append(int(scores[row]))
    return small, facts, by_class


def test_a_window_leaves_the_images_with_scores_in_it(tmp_path, caplog):
    small, facts, by_class = narrowed(tmp_path, 0, 10, 1)
    assert by_class == BY_CLASS
    small, facts, by_class = narrowed(tmp_path, 0, 6, 2)
    assert {name: sorted(values) for name, values in by_class.items()} == {
        name: [score for score in values if score < 6] for name, values in BY_CLASS.items()
    }
    assert facts == {"train_images": 26.0, "share_in_window": 1.0, "classes_filled": 0.0}
    data = dataset()
    assert torch.equal(small.validation_images, data.validation_images)
    assert torch.equal(small.test_labels, data.test_labels)
    assert not caplog.records


def test_a_class_with_too_few_is_filled_with_the_nearest_and_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        _, facts, by_class = narrowed(tmp_path, 3, 6, 4)
    assert {name: sorted(values) for name, values in by_class.items()} == {
        "ant": [3, 4, 5, 6],  # 6 is 0 away from the window, 2 is 1 away
        "bee": [0, 1, 2, 7],
        "cat": [3, 3, 4, 4, 5, 5, 5, 5],
    }
    assert facts == {"train_images": 16.0, "share_in_window": 11 / 16, "classes_filled": 2.0}
    assert [record.getMessage() for record in caplog.records] == [
        "class 'ant' has too few images with a score in [3, 6): 1 of the nearest were added",
        "class 'bee' has too few images with a score in [3, 6): 4 of the nearest were added",
    ]
