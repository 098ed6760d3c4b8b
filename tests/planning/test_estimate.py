"""Facts about estimates: what measured steps, devices and prices change of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pdd_ray.core.errors import ConfigError
from pdd_ray.core.store import MANIFEST, Store
from pdd_ray.core.work import Work
from pdd_ray.planning.devices import GPUS, cpu_seconds, gpu_named
from pdd_ray.planning.estimate import (
    LARGEST_CORRECTION,
    Machine,
    estimate,
    measured_corrections,
    step_seconds,
)
from tests.planning.builders import plan_of

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.core.steps import Step

TINY = Work(operators=4e4, flops=1e8, products=1e8, other=1e8)
"""Of a step of about a second, most of it spent on starting operators."""
ON_GPUS = {"resources": {"stage": {"gpus": 1}, "expert": {"gpus": 0.25}}}
LARGE = {
    "model": {"name": "convnet", "width": 128, "depth": 2},
    "experts": {"count": 4, "epochs": 200},
}


def finished(store: Store, kind: str, count: int, **manifest: Any) -> None:  # noqa: ANN401 - JSON
    """Put ``count`` manifests of a kind into ``store``."""
    for number in range(count):
        folder = store.folder(f"{kind}-{number:016x}")
        folder.mkdir(parents=True)
        values = {"threads": 1, "gpus": 0, **manifest}
        (folder / MANIFEST).write_text(json.dumps(values), encoding="utf-8")


def as_json(work: Work) -> dict[str, float]:
    return dict(vars(work))


def steps_of(**changes: object) -> tuple[Step, ...]:
    return plan_of(**changes).steps


def test_a_store_full_of_tiny_steps_does_not_spoil_the_estimate_of_large_ones(tmp_path: Path):
    steps = steps_of(**LARGE)
    before = estimate(steps, Store(tmp_path), cpus=1)
    store = Store(tmp_path)
    for kind in {step.kind for step in steps}:
        # as long as modelled; by operations per second they would be many times too slow
        finished(store, kind, 20, work=as_json(TINY), seconds=60.0, cpu_seconds=cpu_seconds(TINY))
    after = estimate(steps, store, cpus=1)
    assert after.measured == {step.kind for step in steps}
    assert after.cpu_seconds == pytest.approx(before.cpu_seconds, rel=0.1)


def test_a_crowded_machine_changes_no_estimate(tmp_path: Path):
    alone, crowded = Store(tmp_path / "alone"), Store(tmp_path / "crowded")
    for store, seconds in ((alone, 3.0), (crowded, 40.0)):
        finished(store, "expert", 3, work=as_json(TINY), seconds=seconds, cpu_seconds=2.5)
    found = [measured_corrections(store, ["expert"]) for store in (alone, crowded)]
    assert found[0] == found[1] != {}


def test_without_cpu_time_wall_time_is_taken(tmp_path: Path):
    finished(Store(tmp_path / "wall"), "expert", 1, work=as_json(TINY), seconds=2.5)
    values = {"seconds": 9.0, "cpu_seconds": 2.5}
    finished(Store(tmp_path / "cpu"), "expert", 1, work=as_json(TINY), **values)
    wall, cpu = (measured_corrections(Store(tmp_path / n), ["expert"]) for n in ("wall", "cpu"))
    assert wall == cpu


def test_a_few_odd_steps_change_little(tmp_path: Path):
    store = Store(tmp_path)
    finished(store, "expert", 9, work=as_json(TINY), seconds=1.0, cpu_seconds=2.0)
    usual = measured_corrections(store, ["expert"])
    finished(Store(tmp_path / "odd"), "expert", 9, work=as_json(TINY), seconds=1.0, cpu_seconds=2.0)
    odd = Store(tmp_path / "odd").folder("expert-odd")
    odd.mkdir(parents=True)
    manifest = {"work": as_json(TINY), "seconds": 9.0, "cpu_seconds": 9.0, "threads": 1, "gpus": 0}
    (odd / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert measured_corrections(Store(tmp_path / "odd"), ["expert"]) == usual


def test_corrections_are_bounded_and_short_steps_and_old_manifests_say_nothing(tmp_path: Path):
    store = Store(tmp_path)
    finished(store, "expert", 1, work=as_json(TINY), seconds=1e6, cpu_seconds=1e6)
    finished(store, "start", 1, work=as_json(TINY), seconds=0.5, cpu_seconds=0.5)
    finished(store, "stage", 1, operations=1e12, seconds=100.0)
    assert measured_corrections(store, ["expert", "start", "stage"]) == {
        ("expert", False): LARGEST_CORRECTION
    }


def test_steps_without_a_gpu_compute_on_cpus(tmp_path: Path):
    found = estimate(steps_of(), Store(tmp_path), machine=Machine(device="H100", gpus=4))
    assert (found.gpus, found.device, found.gpu_seconds) == (0, "CPU", 0.0)
    assert found.cpu_seconds > 0


def test_more_gpus_and_faster_ones_take_less_time(tmp_path: Path):
    steps = steps_of(**LARGE, **ON_GPUS)

    def of(device: str, gpus: int) -> Any:  # noqa: ANN401 - an estimate
        return estimate(steps, Store(tmp_path), cpus=8, machine=Machine(gpus=gpus, device=device))

    slow, fast, several = of("T4", 1), of("H100", 1), of("T4", 4)
    assert slow.device == "T4"
    assert fast.gpu_seconds < slow.gpu_seconds == several.gpu_seconds
    assert several.seconds <= slow.seconds
    on_cpus = of("cpu", 1)
    assert (on_cpus.gpu_seconds, on_cpus.device) == (0.0, "CPU")
    assert on_cpus.cpu_seconds > slow.cpu_seconds


def test_the_price_is_that_of_all_gpus_for_the_whole_time(tmp_path: Path):
    steps = steps_of(**ON_GPUS)
    machine = Machine(cpus=8, gpus=4, device="A100", price_per_hour=2.0)
    found = estimate(steps, Store(tmp_path), machine=machine)
    assert found.price == pytest.approx(2.0 * 4 * found.seconds / 3600)
    assert estimate(steps, Store(tmp_path)).price is None


def test_steps_that_do_not_fit_their_share_of_the_gpu_are_named(tmp_path: Path):
    steps = steps_of(**ON_GPUS)
    assert estimate(steps, Store(tmp_path), machine=Machine(device="T4")).too_large == ()
    huge = [
        replace(step, cost=replace(step.cost, device_memory=5e9)) if step.kind == "expert" else step
        for step in steps
    ]
    found = estimate(huge, Store(tmp_path), machine=Machine(device="T4"))
    assert set(found.too_large) == {step.label for step in huge if step.kind == "expert"}
    assert found.device_memory is not None
    assert found.device_memory["expert"] == 5e9


def test_tf32_helps_where_arithmetic_is_what_takes_time():
    a100 = gpu_named("A100")
    assert a100 is not None
    work = Work(operators=10, flops=1e13)
    assert a100.seconds(work, "tf32") < a100.seconds(work) / 4


def test_devices_are_found_by_a_part_of_their_name():
    assert {gpu_named(name) for name in ("H100", "a100-80gb", "4090", "rtx 3090", "t4")} == set(
        GPUS
    )
    assert gpu_named("cpu") is None
    with pytest.raises(ConfigError, match="known are cpu, H100 SXM"):
        gpu_named("abacus")
    with pytest.raises(ConfigError):
        gpu_named("RTX")


def test_a_step_takes_at_least_what_starting_its_operators_takes():
    (step,) = [s for s in steps_of(**ON_GPUS) if s.label.endswith("/stage1")]
    fastest = replace(step, cost=replace(step.cost, work=Work(operators=1e6)))
    assert step_seconds(fastest, Machine(device="H100")) > 10
