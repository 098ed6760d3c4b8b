"""Running statistics of batch norm, from images."""

from itertools import chain

import pytest
import torch

from pdd_ray.core.seeding import generator
from pdd_ray.models.batch_norm import set_statistics
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.tiny import labelled_images, new_model

BATCH_NORM = ConvNetSpec(width=4, depth=2, norm="batch")
IMAGES, LABELS = labelled_images(10, "batch norm")


def watched(model):
    """Return ``model``, and the images of every batch that it sees from now on."""
    seen = []
    model[0][0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return model, seen


def statistics(model):
    return {name: value.clone() for name, value in model.named_buffers()}


def test_statistics_of_the_first_layer_are_averages_over_batches():
    model, seen = watched(new_model(BATCH_NORM))
    set_statistics(model, IMAGES, batch=8)
    with torch.no_grad():
        maps = [model[0][0](batch) for batch in list(seen)]
    assert [len(batch) for batch in maps] == [8, 8, 7, 7]
    means = torch.stack([each.mean((0, 2, 3)) for each in maps]).mean(0)
    variances = torch.stack([each.var((0, 2, 3)) for each in maps]).mean(0)
    torch.testing.assert_close(model[0][1].running_mean, means)
    torch.testing.assert_close(model[0][1].running_var, variances)


def test_every_image_is_seen_once_and_classes_are_mixed():
    model, seen = watched(new_model(BATCH_NORM))
    order = LABELS.argsort()
    set_statistics(model, IMAGES[order], batch=8)
    rows = [[int((image == IMAGES).flatten(1).all(1).nonzero()) for image in x] for x in seen]
    assert sorted(chain(*rows)) == list(range(30))
    assert all(len(set(LABELS[each].tolist())) > 1 for each in rows)


def test_what_was_there_before_does_not_matter():
    one, other = new_model(BATCH_NORM), new_model(BATCH_NORM)
    other.train()(5 + IMAGES)
    for model in (one, other):
        set_statistics(model, IMAGES)
    for name, value in statistics(one).items():
        assert torch.equal(value, statistics(other)[name])


@pytest.mark.parametrize("training", [True, False])
def test_parameters_mode_and_momentum_stay(training):
    model = new_model(BATCH_NORM).train(training)
    before = FlatModel(model).flatten(model)
    set_statistics(model, IMAGES)
    assert torch.equal(FlatModel(model).flatten(model), before)
    assert all(module.training == training for module in model.modules())
    assert model[0][1].momentum == 0.1


def test_global_random_numbers_stay():
    before = torch.get_rng_state()
    set_statistics(new_model(BATCH_NORM), IMAGES)
    assert torch.equal(torch.get_rng_state(), before)


def test_float64_works():
    model = new_model(BATCH_NORM).double()
    set_statistics(model, IMAGES.double())
    assert model[0][1].running_var.dtype == torch.float64


def test_a_network_without_batch_norm_is_not_even_run():
    model = new_model()
    model.register_forward_pre_hook(lambda *_: pytest.fail("was run"))
    set_statistics(model, torch.randn(3, 2, 8, 8, generator=generator(0, "images")))
