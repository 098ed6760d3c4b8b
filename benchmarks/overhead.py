"""How long the runtime takes for a sweep that computes nothing: a chain of 20 empty stages.

Run ``python benchmarks/overhead.py``. Ray is started before the clock. Expected on two cores:
less than 15 s for the first run, a few milliseconds for the second one, which finds all done.
"""

from __future__ import annotations

import tempfile
import time

from pdd_ray.core.operations import Operation
from pdd_ray.core.steps import Step, StepContext
from pdd_ray.core.store import Store
from pdd_ray.runtime.cluster import start_local
from pdd_ray.runtime.run import NoDisplay, RunOptions, run_on_ray

STAGES = 20
LIMIT_SECONDS = 15.0


def empty(context: StepContext) -> None:
    """Make an artifact with nothing in it."""
    (context.output / "empty").touch()


def chain(length: int) -> list[Step]:
    """Return trials each of which needs the one before."""
    steps: list[Step] = []
    for number in range(length):
        steps.append(
            Step(
                Operation("stage", "overhead:empty", runs_as="trial"),
                config={"number": number},
                inputs={"previous": steps[-1]} if steps else {},
                label=f"stage {number + 1}",
            )
        )
    return steps


def seconds(steps: list[Step], store: Store) -> float:
    """Return how long a run of ``steps`` takes."""
    started = time.perf_counter()
    report = run_on_ray(steps, store, RunOptions(), NoDisplay())
    assert report.complete, report
    return time.perf_counter() - started


def main() -> None:
    """Print the times; fail if the first one is over the limit."""
    import os
    from pathlib import Path

    import ray

    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    start_local(cpus=2, gpus=0)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder).open()
        first = seconds(chain(STAGES), store)
        second = seconds(chain(STAGES), store)
    ray.shutdown()
    print(f"first run of {STAGES} empty stages: {first:.2f} s (limit {LIMIT_SECONDS:.0f} s)")
    print(f"second run, all done already: {second:.3f} s")
    if first >= LIMIT_SECONDS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
