"""Features of the real images: the inputs of the classifier of a trained expert."""

import pytest
import torch

from pdd_ray.core.artifact_files import FEATURES
from pdd_ray.core.seeding import generator
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.tiny import MODEL, data_artifact, dataset, experts, new_model, step_context
from pdd_ray.training.expert_features import embedded, load_features, run
from pdd_ray.training.loop import Sgd, TrainingState, random_batches, train
from pdd_ray.training.trajectories import save_trajectory


@pytest.fixture
def made(tmp_path):
    """Return an expert, and a function that makes the features under it."""
    (expert,) = experts(tmp_path / "experts", count=1)

    def make(name="features"):
        inputs = {"data": data_artifact(tmp_path / "data"), "expert": tmp_path / "experts" / "0"}
        context = step_context(tmp_path / name, {"model": MODEL.to_json()}, inputs)
        run(context)
        return context.output

    return expert, make


def expected_under(snapshot):
    model = new_model()
    FlatModel(model).load(model, snapshot)
    with torch.no_grad():
        return model[:-1].eval()(dataset().train_images)


def test_features_are_the_classifier_s_inputs_under_the_last_snapshot(made):
    expert, make = made
    last = expert.length - 1
    got = load_features(make())
    assert got.dtype == torch.float32
    assert torch.equal(got, expected_under(expert.snapshots(last, last)[0]))
    assert not torch.equal(got, expected_under(expert.snapshots(0, 0)[0]))


def test_they_do_not_depend_on_how_many_are_computed_at_once():
    images, embedding = dataset().train_images, new_model()[:-1].eval()
    together = embedded(images, embedding)
    torch.testing.assert_close(embedded(images, embedding, batch_size=7), together)


def test_they_have_the_same_bytes_again(made):
    _, make = made
    one, other = ((make(name) / FEATURES).read_bytes() for name in ("one", "other"))
    assert one == other


def test_a_float16_trajectory_serves_too(tmp_path):
    model = new_model()
    network = FlatModel(model)
    vector = torch.randn(network.numel, generator=generator(0, "vector")).half().float()
    save_trajectory(tmp_path / "expert", [vector], network, "float16")
    inputs = {"data": data_artifact(tmp_path / "data"), "expert": tmp_path / "expert"}
    context = step_context(tmp_path / "features", {"model": MODEL.to_json()}, inputs)
    run(context)
    assert torch.equal(load_features(context.output), expected_under(vector))


def test_batch_norm_has_the_statistics_of_the_train_images(tmp_path):
    spec = ConvNetSpec(width=4, depth=2, norm="batch")
    model, data = new_model(spec), dataset()
    batches = random_batches(data.train_images, 8, "none", 0, "expert")
    train(TrainingState(model), data.train_images, data.train_labels, [0.1] * 9, batches, Sgd())
    network = FlatModel(model)
    save_trajectory(tmp_path / "expert", [network.flatten(model)], network, "float32")
    inputs = {"data": data_artifact(tmp_path / "data"), "expert": tmp_path / "expert"}
    context = step_context(tmp_path / "features", {"model": spec.to_json()}, inputs)
    run(context)
    with torch.no_grad():  # the few images are one batch
        expected = model[:-1].train()(data.train_images)
    # running variances are unbiased, those of a batch are not
    torch.testing.assert_close(load_features(context.output), expected, rtol=0.05, atol=0.05)
