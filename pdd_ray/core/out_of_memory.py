"""A step that runs out of memory: it is tried once more with its batches in parts, then told.

The gradient of a batch is a sum over its images, so that a batch in parts gives the same but for
rounding (:mod:`pdd_ray.training.chunks` splits them).
"""

from __future__ import annotations

import gc
import logging
import sys
from typing import TYPE_CHECKING, Any

from pdd_ray.core.errors import ResourceError
from pdd_ray.core.processes import in_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pdd_ray.core.steps import StepCall

PARTS = 4
"""Parts of a batch at the second attempt."""
SIGNS = ("DefaultCPUAllocator", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
"""In the texts of other errors by which torch says that memory could not be had."""
SWEEP_KEYS = {
    ("expert", "expert"): "experts",
    ("evaluation", "training"): "evaluation",
    ("full_evaluation", "training"): "evaluation.full_data",
    ("continual_evaluation", "training"): "evaluation",
}
"""Where a part of an operation's configuration is in a sweep file, if the name is another one."""

logger = logging.getLogger(__name__)


def within_memory(work: Callable[[], None], call: StepCall, device: str) -> int:
    """Do ``work``, once more in parts if the memory is not enough; return how many parts.

    Args:
        work: Computes the step from its saved progress; it may be called twice.
        call: The step.
        device: Where it is computed.

    Raises:
        ResourceError: if the second attempt ran out of memory too, naming the settings that help.
    """
    reason = _attempt(work)
    if reason is None:
        return 1
    logger.warning(
        "out of memory (%s); what is not needed is freed, and the step tried once more from its "
        "saved progress, with batches in %d parts",
        reason,
        PARTS,
    )
    _free(device)
    with in_parts(PARTS):
        reason = _attempt(work)
    if reason is not None:
        raise ResourceError(f"out of memory ({reason}); {advice(call, device)}")
    return PARTS


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that memory could not be had, of a device or of the CPU."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    ):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def advice(call: StepCall, device: str) -> str:
    """Return which settings of its sweep make the step need less memory, or get more."""
    config: Mapping[str, Any] = call.config
    smaller = [f"{key} ({value})" for key, value in _batch_sizes(call)]
    width = config.get("model", {}).get("width")
    if width:
        smaller.append(f"model.width ({width})")
    method = config.get("method", {})
    kind = call.operation.resources
    wishes = []
    if smaller:
        wishes.append(f"lower {' or '.join(smaller)}")
    if method.get("gradient") == "unrolled":
        wishes.append("set method.gradient to exact")
    if call.shards > 1:
        wishes.append(f"lower resources.class_shards ({call.shards})")
    if device == "cuda" and 0 < call.gpus < 1:
        wishes.append(f"raise resources.{kind}.gpus ({call.gpus:g}), the share of a GPU's memory")
    elif device == "cpu":
        wishes.append(f"run fewer steps at once: resources.{kind}.memory_gb, or cpus")
    return "; ".join(wishes)


def _attempt(work: Callable[[], None]) -> str | None:
    """Do ``work``; return the text of its error if the memory was not enough.

    The error itself is forgotten: its frames hold the tensors that have to be freed.
    """
    try:
        work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
    return None


def _free(device: str) -> None:
    gc.collect()
    if device == "cuda":
        sys.modules["torch"].cuda.empty_cache()


def _batch_sizes(call: StepCall) -> Iterator[tuple[str, object]]:
    """Yield the batch sizes of a step's configuration by their keys in a sweep file."""
    for part, values in call.config.items():
        if not isinstance(values, dict):
            continue
        key = SWEEP_KEYS.get((call.operation.name, part), part)
        for name, value in values.items():
            if name.endswith("batch_size"):
                yield f"{key}.{name}", "all images of a stage" if value is None else value
