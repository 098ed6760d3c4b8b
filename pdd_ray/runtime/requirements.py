"""Refusing steps that ask for more than there is, rather than waiting for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core.errors import ResourceError
from pdd_ray.runtime.capacity import FixedCapacity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.core.steps import Resources, Step
    from pdd_ray.runtime.capacity import Capacity


def check_fits(steps: Iterable[Step], capacity: Capacity) -> None:
    """Make sure that each of ``steps`` fits on some machine.

    Raises:
        ResourceError: naming the kind of step, what it asks for and what there is.
    """
    for wanted, kind in {step.resources: step.kind for step in steps}.items():
        if wanted.gpus > 1 and wanted.gpus % 1:
            msg = f"resources.{kind}.gpus (={wanted.gpus:g}) must be whole if it is above 1"
            raise ResourceError(msg)
        if isinstance(capacity, FixedCapacity) and not capacity.fits(wanted):
            nodes = [describe(node.cpus, node.gpus, node.memory) for node in capacity.nodes]
            msg = (
                f"{kind} steps ask for {describe(wanted.cpus, wanted.gpus, wanted.memory)} each, "
                f"{_reason(wanted, capacity)}: {'; '.join(nodes) or 'no machine'}; "
                f"lower resources.{kind} or use a larger cluster"
            )
            raise ResourceError(msg)


def describe(cpus: float, gpus: float, memory: float | None) -> str:
    """Return resources in words; ``memory`` in bytes."""
    text = f"{_count(cpus, 'CPU')}, {_count(gpus, 'GPU')}"
    return text if memory is None else f"{text}, {memory / 1e9:.1f} GB"


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}" if number == 1 else f"{number:g} {what}s"


def _reason(wanted: Resources, capacity: FixedCapacity) -> str:
    if wanted.gpus > sum(node.gpus for node in capacity.nodes):
        return "more GPUs than the cluster has"
    if wanted.cpus > sum(node.cpus for node in capacity.nodes):
        return "more CPUs than the cluster has"
    return "more than any machine of the cluster has"
