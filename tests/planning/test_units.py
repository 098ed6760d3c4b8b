"""Facts about the counts of units: planning's formulas say what the real functions of steps do."""

from __future__ import annotations

import pytest

from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.networks.resnet import ResNetSpec
from pdd_ray.models.size import network_size
from pdd_ray.planning.unit_counts import COUNTS
from pdd_ray.planning.units import memory_of, work_of
from pdd_ray.testing.counted_units import (
    Case,
    Network,
    class_cases,
    evaluation_cases,
    matching_cases,
    network_cases,
    training_cases,
)
from pdd_ray.testing.unit_fit import predicted

OPERATORS, FLOPS, BYTES = 0.15, 0.02, 0.25
"""By how much the formulas may be off; sizes here are none that they were fitted to."""


def assert_predicted(case: Case) -> None:
    found = predicted(case, COUNTS)
    about = f"{case.network.model.label} {case.passes}"
    assert found.flops == pytest.approx(case.work.flops, rel=FLOPS), about
    assert found.bytes == pytest.approx(case.work.bytes, rel=BYTES), about
    assert found.operators == pytest.approx(case.work.operators, rel=OPERATORS), about


def convnet(width: int, side: int = 16, **changes: object) -> Network:
    return Network(ConvNetSpec(width=width, **changes), (3, side, side))


def test_a_training_step_costs_what_planning_says():
    for batch in (4, 16):
        step, epoch = training_cases(convnet(20), batch)
        assert_predicted(step)
        assert_predicted(epoch)
    (batch_of_test,) = evaluation_cases(convnet(20), 12)
    assert_predicted(batch_of_test)


def test_a_planned_pass_is_the_sum_of_its_terms():
    network = convnet(20)
    (step, _) = training_cases(network, 4)
    size = network_size(network.model, network.shape, network.classes)
    assert work_of(step.passes, size).flops == pytest.approx(predicted(step, COUNTS).flops)
    assert memory_of(step.passes, size) == pytest.approx(step.peak, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("width", [16, 40, 128])
@pytest.mark.parametrize("norm", ["instance", "none"])
def test_steps_of_every_method_cost_what_planning_says(width: int, norm: str):
    network = convnet(width, 32 if width < 128 else 16, norm=norm)
    cases = [*training_cases(network, 12), *evaluation_cases(network, 12), *network_cases(network)]
    cases += matching_cases(network, 4)[:1]
    cases += matching_cases(network, 4, "tesla")[:1]
    for name in ("dc", "idc", "dm", "cafe"):
        cases += class_cases(network, name, 20, 4, 0)
        cases += class_cases(network, name, 16, 3, 5)
    for case in cases:
        assert_predicted(case)


@pytest.mark.slow
@pytest.mark.parametrize("model", [ResNetSpec(depth=10), ResNetSpec(depth=10, norm="batch")])
def test_networks_that_the_formulas_were_not_fitted_to_are_near(model: ResNetSpec):
    network = Network(model, (3, 32, 32))
    for case in (training_cases(network, 4)[0], evaluation_cases(network, 4)[0]):
        found = predicted(case, COUNTS)
        assert found.flops == pytest.approx(case.work.flops, rel=0.02)
        assert found.bytes == pytest.approx(case.work.bytes, rel=0.35)
        assert found.operators == pytest.approx(case.work.operators, rel=0.35)
