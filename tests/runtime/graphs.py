"""Steps that depend on each other in any way, for tests of what holds for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from pdd_ray.core.steps import Resources
from tests.runtime.builders import make_step

if TYPE_CHECKING:
    from pdd_ray.core.steps import Step


@st.composite
def graphs(draw: st.DrawFn) -> list[Step]:
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 12))):
        inputs = draw(st.sets(st.sampled_from(range(number)), max_size=3)) if number else set()
        steps.append(
            make_step(
                str(number),
                [steps[index] for index in sorted(inputs)],
                runs_as=draw(st.sampled_from(["task", "trial"])),
                resources=Resources(
                    cpus=draw(st.sampled_from([0.5, 1.0, 2.0])),
                    gpus=draw(st.sampled_from([0.0, 0.25, 1.0])),
                ),
                operations=draw(st.sampled_from([0.0, 1.0, 5.0])),
            )
        )
    return steps
