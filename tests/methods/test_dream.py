"""DREAM's choice of real images: clusters under the current network."""

import pytest
import torch

from pdd_ray.configuration.methods.gradient_matching import DreamSpec, IdcSpec
from pdd_ray.core.errors import ConfigError
from pdd_ray.methods.base import Partial
from pdd_ray.methods.drawn_networks import drawn_network
from pdd_ray.methods.dream import Dream, RepresentativeBatches
from pdd_ray.methods.idc import Idc, mixed
from pdd_ray.methods.initial import class_members
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.tiny import (
    CLASSES,
    PER_CLASS,
    SHAPE,
    Silent,
    dataset,
    new_model,
    stage_inputs,
    start_of,
)

SMALL = {
    "iterations": 2,
    "inner_loop": 3,
    "real_batch_size": 4,
    "image_learning_rate": 5.0,
    "network_batch_size": 8,
    "network_images": 12,
    "interval": 2,
}


def batches_of(**changes):
    return RepresentativeBatches(DreamSpec(**{**SMALL, **changes}), stage_inputs([]))


def features(theta, images):
    model = new_model()
    FlatModel(model).load(model, theta)
    with torch.no_grad():
        return model[:-1](images)


def test_the_batch_of_a_class_are_its_images_nearest_to_the_centres_of_its_clusters():
    data, theta = dataset(), start_of(5)
    chosen = batches_of().positions(theta, 0, 0)
    for label, members in enumerate(class_members(data)):
        assert len(chosen[label]) == 4
        assert set(chosen[label].tolist()) <= set(members.tolist())
        points = features(theta, data.train_images[members])
        centres = features(theta, data.train_images[chosen[label]])
        clusters = torch.cdist(points, centres).argmin(dim=1)
        spread = torch.stack([points[clusters == k].var(0, correction=0) for k in range(4)])
        within = (spread.sum(1) * clusters.bincount(minlength=4)).sum() / len(points)
        assert float(within) < 0.8 * float(points.var(0, correction=0).sum())


def test_clusters_are_made_anew_at_the_interval_and_follow_the_network():
    batches = batches_of(real_batch_size=2)
    first = batches.positions(start_of(5), 0, 0)
    assert batches.positions(start_of(6), 0, 1) is first
    second = batches.positions(start_of(6), 0, 2)
    assert second is not first
    again = batches_of(real_batch_size=2).positions(start_of(6), 0, 2)
    assert all(torch.equal(one, other) for one, other in zip(second, again, strict=True))


def test_a_cluster_can_give_several_images():
    chosen = batches_of(real_batch_size=6, per_cluster=3).positions(start_of(5), 0, 0)
    for positions in chosen:
        for cluster in positions.split(3):
            assert len(cluster.unique()) == 3


def test_a_class_with_fewer_images_gives_all():
    chosen = batches_of(real_batch_size=PER_CLASS + 2).positions(start_of(5), 0, 0)
    for positions, members in zip(chosen, class_members(dataset()), strict=True):
        assert torch.equal(positions, members)


def test_the_embedding_can_be_that_of_plain_pixels():
    theta, data = start_of(5), dataset()
    embedded = batches_of(unnormalised_embedding=True).features(theta, torch.arange(6))
    expected = features(theta, data.pixels.inverse(data.train_images[:6]))
    torch.testing.assert_close(embedded, expected)


def test_a_stage_starts_from_representative_images_under_an_untrained_network(tmp_path):
    spec = DreamSpec(**{**SMALL, "image_learning_rate": 1e-12})
    data = dataset()
    in_stage = stage_inputs([], bank=[start_of(9)])
    outcome = Dream(spec).distill(in_stage, Partial(tmp_path), Silent())
    first = RepresentativeBatches(spec, in_stage).first()
    torch.testing.assert_close(outcome.images, mixed(first, spec, in_stage))
    assert len(first) == len(CLASSES) * spec.factor**2
    theta = drawn_network(stage_inputs([]), 0)
    points = features(theta, data.train_images[class_members(data)[0]])
    chosen = features(theta, first[: spec.factor**2])
    assert float(torch.cdist(chosen, points).amin(1).max()) < 1e-3


def test_without_a_choice_it_is_idc(tmp_path):
    same = {**SMALL, "real_batch_size": PER_CLASS, "initialisation": "noise"}
    (tmp_path / "idc").mkdir()
    dream = Dream(DreamSpec(**same)).distill(stage_inputs([]), Partial(tmp_path), Silent())
    same.pop("interval")
    idc = Idc(IdcSpec(**same)).distill(stage_inputs([]), Partial(tmp_path / "idc"), Silent())
    assert torch.equal(dream.images, idc.images)


@pytest.mark.parametrize("match", ["gradient", "features"])
def test_a_stage_changes_its_images(match, tmp_path):
    spec = DreamSpec(**{**SMALL, "match": match, "coasting": True})
    outcome = Dream(spec).distill(stage_inputs([]), Partial(tmp_path), Silent())
    first = mixed(RepresentativeBatches(spec, stage_inputs([])).first(), spec, stage_inputs([]))
    assert outcome.images.shape == (len(CLASSES), *SHAPE)
    assert float((outcome.images - first).abs().max()) > 1e-3


def test_batch_norm_embeds_without_changing_what_the_network_is():
    inputs = stage_inputs([], model=ConvNetSpec(width=4, depth=2, norm="batch"))
    batches = RepresentativeBatches(DreamSpec(**SMALL), inputs)
    theta = drawn_network(inputs, 0)
    first = batches.features(theta, torch.arange(8))
    assert torch.equal(batches.features(theta, torch.arange(8)), first)


def test_a_class_too_small_to_start_from_is_an_error(tmp_path):
    inputs = stage_inputs([], images_per_class=PER_CLASS)
    with pytest.raises(ConfigError, match="are needed"):
        Dream(DreamSpec(**SMALL)).distill(inputs, Partial(tmp_path), Silent())
