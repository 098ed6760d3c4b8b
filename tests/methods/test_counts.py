"""How often the CPU waits for a device, and how many operators are started there.

The numbers are those of benchmarks/counts.py. They are counted, so they hold on any machine.
"""

import pytest

from pdd_ray.testing.counts import UNITS, count

QUICK = ("dm",)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in UNITS],
)
def test_a_unit_waits_and_launches_no_more_than_is_promised(name: str):
    unit = UNITS[name]
    found = count(unit)
    assert 0 < found.syncs <= unit.most_syncs, found.sync_lines
    assert 0 < found.launches <= (unit.most_launches or float("inf")), found.launch_lines
