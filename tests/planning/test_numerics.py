"""Precision and determinism are parts of keys where they differ from the defaults."""

from __future__ import annotations

import pytest

from pdd_ray.core.processes import Numerics
from tests.planning.builders import plan_of


def keys(**changes):
    """Return the keys of the planned steps by label."""
    return {step.label: step.key for step in plan_of(**changes).steps}


@pytest.mark.parametrize(
    "changes", [{"precision": {}}, {"precision": {"tf32": False}}, {"deterministic": False}]
)
def test_the_defaults_change_no_key(changes):
    assert keys(**changes) == keys()


@pytest.mark.parametrize(
    ("changes", "numerics"),
    [
        ({"precision": {"tf32": True}}, Numerics(tf32=True)),
        ({"deterministic": True}, Numerics(deterministic=True)),
        (
            {"precision": {"tf32": True}, "deterministic": True},
            Numerics(tf32=True, deterministic=True),
        ),
    ],
)
@pytest.mark.parametrize("method", [{"name": "dm"}, None])
def test_what_differs_changes_the_keys_of_all_steps_that_compute(changes, numerics, method):
    other = {"method": method} if method else {}
    before, after = keys(**other), keys(**other, **changes)
    assert before.keys() == after.keys()
    same = {label for label, key in before.items() if after[label] == key}
    assert same == {label for label, key in before.items() if key.startswith("data-")}
    for step in plan_of(**other, **changes).steps:
        assert Numerics.of(step.config) == (Numerics() if step.kind == "data" else numerics)


def test_phases_of_continual_learning_compute_so_too():
    for step in plan_of(method={"name": "dm"}, continual={"phases": 3}, deterministic=True).steps:
        assert Numerics.of(step.config).deterministic == (step.kind != "data")
