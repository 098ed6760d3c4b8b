"""MLP, LeNet, AlexNet and VGG as DC evaluates with them."""

from collections import OrderedDict
from typing import Final

from torch import nn

from pdd_ray.configuration.model import PlainSpec
from pdd_ray.models.layers import convolution_block
from pdd_ray.models.plan import NetworkPlan
from pdd_ray.models.plans.plain import LINKS, norm_of

CLASSIFIERS: Final = {"mlp": "fc_3", "lenet": "fc_3", "alexnet": "fc", "vgg": "classifier"}
"""Names of the last layer."""


def build_plain(spec: PlainSpec, plan: NetworkPlan, num_classes: int) -> nn.Sequential:
    """Return `features`, the hidden layers `fc_1`, `fc_2` with ReLU, and the classifier.

    Names and order of the parameters are those of DC's code; an MLP has no `features`.
    """
    modules = OrderedDict[str, nn.Module]()
    features = [
        layer
        for item, link in zip(plan.convolutions, LINKS[spec.name], strict=True)
        for layer in convolution_block(item, norm_of(spec), "relu", "max" if link.pool else "none")
    ]
    if features:
        modules["features"] = nn.Sequential(*features)
    modules["flatten"] = nn.Flatten()
    for number, sizes in enumerate(plan.hidden, 1):
        modules[f"fc_{number}"] = nn.Linear(*sizes)
        modules[f"relu_{number}"] = nn.ReLU()
    modules[CLASSIFIERS[spec.name]] = nn.Linear(plan.features, num_classes)
    return nn.Sequential(modules)
