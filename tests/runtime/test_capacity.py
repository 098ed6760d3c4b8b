"""What fits on machines at the same time, and what is refused."""

from __future__ import annotations

import pytest

from pdd_ray.core.errors import ResourceError
from pdd_ray.core.steps import Resources
from pdd_ray.runtime.capacity import ElasticCapacity, FixedCapacity, Node
from pdd_ray.runtime.cluster import usable_cpus
from pdd_ray.runtime.requirements import check_fits
from tests.runtime.builders import make_step


def placed(capacity: FixedCapacity, wanted: Resources) -> int:
    """Return how many steps that want the same fit at once."""
    packing = capacity.packing([])
    return sum(packing.place(wanted) for _ in range(100))


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Resources(cpus=1), 6),
        (Resources(cpus=0.1), 60),
        (Resources(cpus=4), 1),
        (Resources(cpus=1, gpus=1), 3),
        (Resources(cpus=0.1, gpus=0.25), 12),
        (Resources(cpus=0.1, gpus=0.3), 9),  # three on each of three GPUs
        (Resources(cpus=0.1, gpus=0.6), 3),
        (Resources(cpus=1, gpus=2), 1),
        (Resources(cpus=1, memory=60), 2),
        (Resources(cpus=1, gpus=3), 0),
    ],
)
def test_as_many_steps_fit_as_the_machines_can_hold(wanted: Resources, count: int):
    nodes = (Node(cpus=2, gpus=1, memory=100), Node(cpus=4, gpus=2, memory=100))
    assert placed(FixedCapacity(nodes), wanted) == count
    assert FixedCapacity(nodes).slots(wanted) == count


def test_a_claim_keeps_what_a_large_step_waits_for():
    packing = FixedCapacity((Node(cpus=2),)).packing([Resources(cpus=1)])
    packing.claim(Resources(cpus=2))
    assert not packing.place(Resources(cpus=1))


def test_a_claim_takes_the_machine_that_lacks_least():
    packing = FixedCapacity((Node(cpus=2), Node(cpus=2))).packing(
        [Resources(cpus=2), Resources(cpus=1)]
    )
    packing.claim(Resources(cpus=2))
    assert not packing.place(Resources(cpus=1))
    one_free = FixedCapacity((Node(cpus=2), Node(cpus=3))).packing([Resources(cpus=1)])
    one_free.claim(Resources(cpus=3))
    assert one_free.place(Resources(cpus=1))


def test_steps_of_a_lost_machine_take_nothing_from_the_others():
    packing = FixedCapacity((Node(cpus=1),)).packing([Resources(gpus=1), Resources(cpus=8)])
    assert packing.place(Resources(cpus=1))


def test_idle_actors_are_in_the_way_where_they_hold_what_runs_need():
    two = FixedCapacity((Node(cpus=2, gpus=1),))
    one_cpu, one_gpu = Resources(cpus=1), Resources(cpus=1, gpus=1)
    assert two.has_room([one_cpu], [one_cpu])
    assert not two.has_room([one_cpu, one_cpu], [one_cpu])
    assert not two.has_room([one_gpu], [one_gpu])


def test_spare_cpus_are_for_idle_actors_only():
    spare = FixedCapacity((Node(cpus=2),), spare_cpus=1)
    one = Resources(cpus=1)
    assert placed(spare, one) == 2
    assert spare.has_room([one, one], [one])
    assert not spare.has_room([one, one], [one, one])


def test_on_a_cluster_of_others_idle_actors_are_in_the_way_of_anything():
    shared = FixedCapacity((Node(cpus=99),), exclusive=False)
    assert shared.has_room([], [Resources()])
    assert not shared.has_room([Resources()], [Resources()])
    assert not ElasticCapacity(9).has_room([Resources()], [Resources()])


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Resources(cpus=1, gpus=3), "stage steps ask for 1 CPU, 3 GPUs each, more GPUs than the"),
        (Resources(cpus=9), "more CPUs than the cluster has"),
        (Resources(cpus=4), "more than any machine of the cluster has"),
        (Resources(cpus=1, memory=2**31), "ask for 1 CPU, 0 GPUs, 2.1 GB"),
    ],
)
def test_a_step_that_fits_nowhere_is_refused_by_name(wanted: Resources, reason: str):
    capacity = FixedCapacity((Node(cpus=2, memory=2**30), Node(cpus=2, gpus=2, memory=2**30)))
    step = make_step("stage 1", runs_as="trial", resources=wanted)
    with pytest.raises(ResourceError, match=reason):
        check_fits([make_step("small"), step], capacity)


def test_more_than_one_gpu_and_a_fraction_is_refused():
    step = make_step("stage", runs_as="trial", resources=Resources(gpus=1.5))
    with pytest.raises(ResourceError, match=r"resources.stage.gpus \(=1.5\) must be whole"):
        check_fits([step], ElasticCapacity(9))


def test_a_growing_cluster_refuses_nothing():
    check_fits([make_step("large", resources=Resources(gpus=64))], ElasticCapacity(1))


def test_at_least_one_cpu_is_usable():
    assert usable_cpus() >= 1
