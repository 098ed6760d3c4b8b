"""What the steps of a plan would take: time by a model of the device, memory, disk and money.

The model is corrected by what finished steps of the same kind took, if the store has any.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_ray.core.work import Work
from pdd_ray.planning.devices import (
    CPU,
    DEFAULT_GPU,
    Device,
    Precision,
    cpu_seconds,
    gpu_named,
    launch_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store

SHORTEST_SECONDS = 1.0
"""Of steps whose speed says something about larger ones."""
LARGEST_CORRECTION = 4.0
"""By which measured steps change the model at most, either way: beyond it something else than speed
was different, such as steps that were interrupted."""
OVERHEAD_SECONDS = 0.06
"""Of every step, beside its computation."""
START_SECONDS = 10.0
"""Starting Ray and its first workers."""


@dataclass(frozen=True)
class Machine:
    """What a run would be given.

    Attributes:
        cpus: CPUs; this machine's if not given.
        gpus: GPUs; one if not given and a step holds one.
        device: Name of the GPU of steps that hold one, see :data:`pdd_ray.planning.devices.GPUS`,
            or ``cpu``: as if no step held one.
        tf32: Whether products are computed in TF32 where a GPU has it.
        price_per_hour: Of one GPU; of one CPU if no step computes on a GPU.
    """

    cpus: int | None = None
    gpus: int | None = None
    device: str | None = None
    tf32: bool = False
    price_per_hour: float | None = None

    @property
    def precision(self) -> Precision:
        """The number format of products on a GPU."""
        return "tf32" if self.tf32 else "float32"

    @property
    def gpu(self) -> Device | None:
        """The GPU of steps that hold one; None if they compute on CPUs.

        Raises:
            ConfigError: if no GPU of this name is known.
        """
        return gpu_named(self.device or DEFAULT_GPU)


THIS_MACHINE = Machine()
"""What there is if nothing is said."""


@dataclass(frozen=True)
class RunEstimate:
    """What steps would take.

    Attributes:
        seconds: Time from the start to the end, start of Ray included.
        cpu_seconds: Sum over all steps that compute on CPUs, times the CPUs that they hold.
        gpu_seconds: Sum over all steps that compute on a GPU, of the share that they hold.
        disk: Bytes of the artifacts.
        memory: Bytes that the largest steps would hold at the same time on all CPUs.
        cpus: CPUs that were assumed.
        gpus: GPUs that were assumed; 0 if no step computes on one.
        device: The GPU that was assumed; ``CPU`` if no step computes on one.
        device_memory: Bytes of GPU memory of the largest step of each kind that computes on one.
        too_large: Labels of steps that need more memory than their share of the GPU has.
        price: What it costs for this time, if a price per hour is known.
        measured: Kinds of steps whose speed was measured on this store; others are modelled.
    """

    seconds: float
    cpu_seconds: float
    disk: float
    memory: float
    cpus: int
    measured: frozenset[str]
    gpu_seconds: float = 0.0
    gpus: int = 0
    device: str = CPU
    device_memory: Mapping[str, float] | None = None
    too_large: tuple[str, ...] = ()
    price: float | None = None


def estimate(
    steps: Sequence[Step], store: Store, cpus: int | None = None, machine: Machine | None = None
) -> RunEstimate:
    """Return what executing ``steps`` would take.

    Args:
        steps: The steps to be done, inputs before what reads them.
        store: Where earlier steps tell how fast they were.
        cpus: CPUs to assume; those of ``machine``, or this machine's, if not given.
        machine: What else the run is given.

    Raises:
        ConfigError: if the device is unknown.
    """
    machine = machine or THIS_MACHINE
    cpus = cpus or machine.cpus or (os.cpu_count() or 1)
    gpu = machine.gpu
    on_gpu = [step for step in steps if gpu is not None and step.resources.gpus > 0]
    corrections = measured_corrections(store, {step.kind for step in steps}, machine)
    times = {step.key: step_seconds(step, machine, corrections) for step in steps}
    on_cpu = {step.key for step in steps} - {step.key for step in on_gpu}
    held = {step.key: times[step.key] * max(step.resources.cpus, 1) for step in steps}
    cpu = sum(held[key] for key in on_cpu)
    gpu_total = sum(times[step.key] * step.resources.gpus for step in on_gpu)
    gpus = (machine.gpus or 1) if on_gpu else 0
    longest = max(_path_lengths(steps, times).values(), default=0.0)
    busy = max(longest, sum(held.values()) / cpus, gpu_total / max(gpus, 1))
    seconds = busy + (START_SECONDS if steps else 0.0)
    return RunEstimate(
        seconds=seconds,
        cpu_seconds=cpu,
        gpu_seconds=gpu_total,
        disk=sum(step.cost.disk for step in steps),
        memory=sum(sorted((step.cost.memory for step in steps), reverse=True)[:cpus]),
        cpus=cpus,
        gpus=gpus,
        device=gpu.name if gpu is not None and on_gpu else CPU,
        device_memory=_largest(on_gpu),
        too_large=_too_large(on_gpu, gpu),
        price=_price(machine, seconds, gpus or cpus),
        measured=frozenset(kind for kind, _ in corrections),
    )


def step_seconds(
    step: Step, machine: Machine, corrections: Mapping[tuple[str, bool], float] | None = None
) -> float:
    """Return how long ``step`` takes, alone on the share of the machine that it holds."""
    corrections = corrections or {}
    gpu = machine.gpu
    if gpu is None or step.resources.gpus == 0:
        model = cpu_seconds(step.cost.work, step.resources.threads)
        return OVERHEAD_SECONDS + model * corrections.get((step.kind, False), 1.0)
    model = gpu_seconds(step.cost.work, step.resources.gpus, gpu, machine.precision)
    return OVERHEAD_SECONDS + model * corrections.get((step.kind, True), 1.0)


def gpu_seconds(work: Work, share: float, gpu: Device, precision: Precision = "float32") -> float:
    """Return how long ``work`` takes with a share of a GPU.

    One CPU starts the operators, while the GPU computes; steps that share a GPU fill each other's
    gaps, and wait for each other.
    """
    return max(launch_seconds(work), gpu.seconds(work, precision) / share)


def measured_corrections(
    store: Store, kinds: Iterable[str], machine: Machine | None = None
) -> dict[tuple[str, bool], float]:
    """Return by what finished steps of each kind in ``store`` were slower than the model.

    By kind, and by whether they computed on a GPU. The ratio is that of CPU time, which other
    programs don't change (of wall time on a GPU, and where a manifest of an older version has no
    CPU time), to the time that the model gives to the same step: what small steps say of large ones
    goes through the model. It is the median, weighted by time. Steps shorter than
    :data:`SHORTEST_SECONDS` don't count. GPUs are compared with the assumed one, so a GPU that was
    named is not corrected: the store's steps may have run on another.
    """
    machine = machine or THIS_MACHINE
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for kind in kinds:
        for manifest in store.manifests(kind):
            on_gpu = manifest.get("gpus", 0) > 0
            if on_gpu and machine.device is not None:
                continue
            pair = _compared(manifest, machine)
            if pair is not None:
                found.setdefault((kind, on_gpu), []).append(pair)
    return {key: _bounded(_weighted_median(pairs)) for key, pairs in found.items()}


def _compared(manifest: Mapping[str, Any], machine: Machine) -> tuple[float, float] | None:
    """Return how much slower than the model a finished step was, and its time as a weight."""
    if "work" not in manifest:
        return None  # made before the work of steps was kept
    work = Work(**manifest["work"])
    threads, share = manifest.get("threads", 1), manifest.get("gpus", 0)
    if share:
        gpu = machine.gpu
        if gpu is None:
            return None
        measured = manifest["seconds"]
        model = gpu_seconds(work, share, gpu, machine.precision)
    else:
        measured = manifest.get("cpu_seconds") or manifest["seconds"] * threads
        model = cpu_seconds(work)
    if measured < SHORTEST_SECONDS:
        return None
    return measured / (OVERHEAD_SECONDS + model), measured


def _weighted_median(pairs: list[tuple[float, float]]) -> float:
    """Return the value below which half of the weight lies."""
    half = sum(weight for _, weight in pairs) / 2
    below = 0.0
    for value, weight in sorted(pairs):
        below += weight
        if below >= half:
            return value
    return pairs[-1][0]


def _bounded(correction: float) -> float:
    return min(max(correction, 1 / LARGEST_CORRECTION), LARGEST_CORRECTION)


def _largest(steps: Sequence[Step]) -> dict[str, float]:
    """Return the GPU memory of the largest step of each kind."""
    found: dict[str, float] = {}
    for step in steps:
        found[step.kind] = max(found.get(step.kind, 0.0), step.cost.device_memory)
    return found


def _too_large(steps: Sequence[Step], gpu: Device | None) -> tuple[str, ...]:
    if gpu is None:
        return ()
    return tuple(
        step.label for step in steps if step.cost.device_memory > step.resources.gpus * gpu.memory
    )


def _price(machine: Machine, seconds: float, devices: int) -> float | None:
    if machine.price_per_hour is None:
        return None
    return machine.price_per_hour * devices * seconds / 3600


def _path_lengths(steps: Sequence[Step], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the time of the longest chain of steps that ends in each step."""
    lengths: dict[str, float] = {}
    for step in steps:
        before = [lengths.get(parent.key, 0.0) for parent in step.inputs.values()]
        lengths[step.key] = seconds[step.key] + max(before, default=0.0)
    return lengths
