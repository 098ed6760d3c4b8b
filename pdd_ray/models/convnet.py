"""The ConvNet of the distillation literature (Gidaris and Komodakis 2018)."""

from collections import OrderedDict

from torch import nn

from pdd_ray.configuration.model import ConvNetSpec
from pdd_ray.models.layers import convolution_block
from pdd_ray.models.plan import NetworkPlan


def build_convnet(spec: ConvNetSpec, plan: NetworkPlan, num_classes: int) -> nn.Sequential:
    """Return `features` (blocks of convolution, norm, activation, pooling), then `classifier`.

    Names and order of the parameters are those of MTT, DC and PDD, so that their files can be
    read (specification, section 2.1); a part that is `none` takes no place in `features`.
    """
    features = [
        layer
        for item in plan.convolutions
        for layer in convolution_block(item, spec.norm, spec.activation, spec.pooling)
    ]
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*features),
            flatten=nn.Flatten(),
            classifier=nn.Linear(plan.features, num_classes),
        )
    )
