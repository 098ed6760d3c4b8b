"""IDC's ConvNet: the same parameters in another order."""

import pytest
import torch

from pdd_ray.core.errors import FormatError
from pdd_ray.interop.idc_convnet import convnet_from_idc, idc_convnet_names
from pdd_ray.models import create_model, parameter_shapes
from pdd_ray.models.networks.convnet import ConvNetSpec

SPECS = [
    ConvNetSpec(width=4, depth=3),
    ConvNetSpec(width=4, depth=1, norm="batch", pooling="none"),
    ConvNetSpec(width=4, depth=2, norm="none"),
]


@pytest.mark.parametrize("spec", SPECS)
def test_every_parameter_has_one_name_of_idc(spec: ConvNetSpec):
    ours = parameter_shapes(spec, (3, 8, 8), 5)
    assert sorted(idc_convnet_names(spec).values()) == sorted(ours)


def test_all_convolutions_come_before_all_normalisations():
    assert list(idc_convnet_names(ConvNetSpec(depth=2)).items()) == [
        ("layers.conv.0.weight", "features.0.weight"),
        ("layers.conv.0.bias", "features.0.bias"),
        ("layers.conv.1.weight", "features.4.weight"),
        ("layers.conv.1.bias", "features.4.bias"),
        ("layers.norm.0.weight", "features.1.weight"),
        ("layers.norm.0.bias", "features.1.bias"),
        ("layers.norm.1.weight", "features.5.weight"),
        ("layers.norm.1.bias", "features.5.bias"),
        ("classifier.weight", "classifier.weight"),
        ("classifier.bias", "classifier.bias"),
    ]


@pytest.mark.parametrize("spec", SPECS)
def test_parameters_come_in_the_order_of_the_network(spec: ConvNetSpec):
    model = create_model(spec, (3, 8, 8), 5, torch.Generator())
    ours = dict(model.named_parameters())
    theirs = {name: ours[here] for name, here in idc_convnet_names(spec).items()}
    back = convnet_from_idc(spec, theirs)
    assert list(back) == list(ours)
    assert all(back[name] is ours[name] for name in ours)


def test_parameters_of_another_network_are_refused():
    names = idc_convnet_names(ConvNetSpec(depth=3))
    parameters = {name: torch.zeros(1) for name in names}
    with pytest.raises(FormatError, match=r"layers\.conv\.3\.bias is missing"):
        convnet_from_idc(ConvNetSpec(depth=4), parameters)
    with pytest.raises(FormatError, match=r"layers\.conv\.2\.bias is unknown"):
        convnet_from_idc(ConvNetSpec(depth=2), parameters)
