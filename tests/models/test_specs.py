"""Configurations of networks: what a sweep file may name, and what tables call it."""

import pytest
from pydantic import TypeAdapter, ValidationError

from pdd_ray.configuration.training import EvaluationSpec
from pdd_ray.models.registry import ModelSpec

LABELS = {
    "convnet-w128-d3": {},
    "resnet10-mtt-instance": {"name": "resnet", "depth": 10},
    "resnet18-idc-batch": {"name": "resnet", "family": "idc", "norm": "batch"},
    "resnet18-mtt-batch-ap": {"name": "resnet", "norm": "batch", "downsampling": "average"},
    "resnet10-idc_imagenet-instance-ap": {
        "name": "resnet",
        "depth": 10,
        "family": "idc_imagenet",
        "downsampling": "average",
    },
    "mlp": {"name": "mlp"},
    "lenet": {"name": "lenet"},
    "alexnet": {"name": "alexnet"},
    "alexnet-batch": {"name": "alexnet", "norm": "batch"},
    "vgg11-instance": {"name": "vgg"},
    "vgg11-batch": {"name": "vgg", "norm": "batch"},
    "densenet": {"name": "densenet"},
}


def test_evaluations_name_any_network_and_tables_tell_them_apart():
    models = [{"name": "convnet", **document} for document in LABELS.values()]
    evaluation = EvaluationSpec.model_validate({"models": models})
    assert [model.label for model in evaluation.models] == list(LABELS)


@pytest.mark.parametrize(
    "document",
    [
        {"name": "vgg", "depth": 16},
        {"name": "alexnet", "norm": "layer"},
        {"name": "mlp", "width": 64},
        {"name": "resnet", "downsampling": "max"},
    ],
)
def test_networks_that_do_not_exist_are_refused(document: dict[str, object]):
    with pytest.raises(ValidationError):
        TypeAdapter(ModelSpec).validate_python(document)
