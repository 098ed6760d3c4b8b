"""The contract of methods, on every one that is built in."""

from __future__ import annotations

import itertools
from types import MappingProxyType
from typing import Any

import pytest

from pdd_ray.configuration.method_registry import METHODS
from pdd_ray.methods.stage import create_method
from pdd_ray.testing.contract import DistillationContract, MethodContract
from pdd_ray.testing.tiny import PER_CLASS

SMALL: dict[str, dict[str, Any]] = {
    "mtt": {
        "iterations": 4,
        "inner_steps": 2,
        "expert_epochs": 1,
        "max_start_epoch": 2,
        "image_learning_rate": 10.0,
        "selection": {"every": 2, "networks": 1, "epochs": 2},
    },
    "dc": {"iterations": 3, "outer_loop": 2, "inner_loop": 1, "real_batch_size": 6},
    "dsa": {"iterations": 3, "outer_loop": 2, "inner_loop": 1, "real_batch_size": 6},
    "dm": {"iterations": 4, "real_batch_size": 6},
    "cafe": {"iterations": 3, "real_batch_size": 6, "max_updates": 2, "max_network_epochs": 1},
    "cafe_dsa": {"iterations": 3, "real_batch_size": 6, "max_updates": 2, "max_network_epochs": 1},
    "idc": {"iterations": 3, "inner_loop": 2, "real_batch_size": 6, "network_images": 6},
    "dream": {"iterations": 3, "inner_loop": 2, "real_batch_size": 6, "network_images": 6},
}
FALLING: dict[str, dict[str, Any]] = {
    "mtt": {"image_learning_rate": 30.0, "max_start_epoch": 1},
    "dc": {"image_learning_rate": 1.0, "outer_loop": 1, "real_batch_size": PER_CLASS},
    "dsa": {"image_learning_rate": 1.0, "outer_loop": 1, "real_batch_size": PER_CLASS},
    "dm": {"real_batch_size": PER_CLASS},
    "cafe": {"image_learning_rate": 1.0, "real_batch_size": PER_CLASS},
    "cafe_dsa": {"image_learning_rate": 1.0, "real_batch_size": PER_CLASS},
    "idc": {"image_learning_rate": 5.0, "inner_loop": 1, "real_batch_size": PER_CLASS},
    "dream": {"image_learning_rate": 5.0, "inner_loop": 1, "real_batch_size": PER_CLASS},
}


@pytest.fixture
def last_iterate_of_mtt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the accuracy of candidates grow, so that the last one is chosen."""
    calls = itertools.count()
    path = "pdd_ray.methods.trajectory_matching.validation_accuracy"
    monkeypatch.setattr(path, lambda *_: next(calls) / 1000)


class TestMtt(DistillationContract):
    options = MappingProxyType({"name": "mtt", **SMALL["mtt"]})
    falling = FALLING["mtt"]

    @pytest.fixture
    def last_iterate(self, last_iterate_of_mtt: None) -> None:
        """Hand on the last iterate, as the other methods do."""


def distillation(name: str, *, slow: bool = False) -> type[DistillationContract]:
    values = {"options": {"name": name, **SMALL[name]}, "falling": FALLING[name]}
    made = type(f"Test{name.title()}", (DistillationContract,), values)
    return pytest.mark.slow(made) if slow else made


def coreset(name: str, *, draws_by_seed: bool) -> type[MethodContract]:
    values = {"options": {"name": name}, "draws_by_seed": draws_by_seed}
    return type(f"Test{name.title()}", (MethodContract,), values)


TestDc, TestDm, TestCafe, TestIdc = map(distillation, ("dc", "dm", "cafe", "idc"))
# their code is that of the methods above, with other options
TestDsa = distillation("dsa", slow=True)
TestCafeDsa = distillation("cafe_dsa", slow=True)
TestDream = distillation("dream", slow=True)
TestRandom = coreset("random", draws_by_seed=True)
TestHerding = coreset("herding", draws_by_seed=False)
TestKCenter = coreset("k_center", draws_by_seed=False)
TestForgetting = coreset("forgetting", draws_by_seed=False)


def test_every_method_that_is_built_in_is_held_to_the_contract():
    held = {value.options["name"] for name, value in globals().items() if name.startswith("Test")}
    built_in = {name for name, spec in METHODS.items() if spec.__module__.startswith("pdd_ray.")}
    assert held == built_in


@pytest.mark.parametrize("name", METHODS)
def test_it_says_where_its_code_is(name):
    assert callable(create_method(METHODS[name]()).distill)
