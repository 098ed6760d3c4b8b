"""Entry points that can't be used are one clear error, which names the package."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from pdd_ray.configuration.load import load_sweep
from pdd_ray.core import extensions as module
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.extensions import configured_name, extensions
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.registry import NETWORKS
from pdd_ray.models.spec import NetworkSpec

GROUP = "pdd_ray.models"


class Renamed(ConvNetSpec):
    """A ConvNet that takes the name of another network."""


class NotANetwork:
    """Something else."""


@pytest.fixture
def networks_with(monkeypatch):
    def networks(name: str, value: str):
        point = EntryPoint(name, value, GROUP)
        monkeypatch.setattr(module, "_installed", lambda _group: (point,))
        return extensions(GROUP, NetworkSpec, "pdd_ray.models.networks", configured_name)

    return networks


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("wide", "no_such_package:Wide", "can't be imported (ModuleNotFoundError: "),
        ("wide", f"{__name__}:Missing", "can't be imported (AttributeError: "),
        ("wide", f"{__name__}:NotANetwork", "should be a class derived from NetworkSpec, got "),
        ("wide", f"{__name__}:Renamed", "is called 'convnet'; give the entry point the same name"),
        (
            "convnet",
            f"{__name__}:Renamed",
            "there is 'convnet' already, in pdd_ray.models.networks",
        ),
    ],
)
def test_what_can_not_be_used_is_named(networks_with, name, value, problem):
    with pytest.raises(ConfigError) as caught:
        networks_with(name, value)
    assert str(caught.value).startswith(f"the entry point {name!r} in '{GROUP}' ({value}")
    assert problem in str(caught.value)


def test_built_in_networks_are_the_classes_of_the_modules_of_a_package():
    assert {"convnet", "resnet", "densenet", "mlp", "lenet", "alexnet", "vgg"} <= set(NETWORKS)
    assert NETWORKS["convnet"] is ConvNetSpec


def test_options_that_a_source_does_not_have_are_refused_where_they_are_written():
    with pytest.raises(ConfigError, match=r"^override data\.options\.speed: unknown key$"):
        load_sweep("demo", ["data.options={speed: 3}"])
