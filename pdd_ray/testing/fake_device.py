"""A GPU that is not there: tensors claim a device, compute on the CPU, and mix as CUDA lets them.

Without a GPU tests can't see that an index lies on the CPU while the images lie on the GPU. Here
the device ``gpu`` is a backend of its own (torch's key ``PrivateUse1``, set up from Python). Its
tensors hold a CPU tensor each, so results are those of the CPU to the bit, while ``.device`` is
``gpu:0`` for Python, for autograd and for ``torch.func`` alike. What CUDA refuses is refused::

    from pdd_ray.testing.fake_device import DEVICE, fake_device

    with fake_device() as seen:
        execute(replace(step.call, device=DEVICE), store)  # DeviceError where CUDA would fail
    print(seen.summary())                                  # where the CPU waits for the GPU
    assert seen.syncs_at("training.py") <= 2 * batches

A good test runs a step on ``cpu`` and on :data:`DEVICE` and compares the artifacts: they have to
be equal to the bit (but for swish, whose second derivative torch writes out on unknown devices).
Use the device's name only inside the context, and import this module before the first backward
pass of the process (in ``conftest.py``): autograd counts devices only once.

Refused, as on CUDA (:class:`DeviceError`, a RuntimeError):

- operators on tensors of both devices. Allowed are copies, CPU scalars (tensors of no dimension) in
  pointwise operators, and CPU indices in ``x[index]`` and ``x[index] = y``. Not allowed are CPU
  indices in ``index_select``, ``gather``, ``scatter``, ..., and device indices into CPU tensors;
- a CPU generator for random numbers on the device;
- ``numpy()`` and ``pin_memory()`` of device tensors (``torch.save`` may have them).

Counted, each by the innermost line of the watched package (``(backward)`` on autograd's threads):

- ``launches``: operators that start at least one kernel on the device; ``operators`` by name;
- ``syncs``: where the CPU waits for the device: ``item()``, ``float(t)``, copies to the CPU, copies
  from pageable CPU memory, indexing with a mask, ``nonzero``, indices that lie on the CPU, ...;
- ``varying``: operators whose sums CUDA forms in any order, so that results differ between runs;
  under ``torch.use_deterministic_algorithms`` those that are an error there.

What it does not see: kernels (missing types, speed, memory, streams), the GPU's rounding (TF32,
cuDNN), ``torch.compile``, and code that asks for ``cuda`` by name. Operators that resize or replace
a tensor's storage (``resize_``, ``set_``) are not supported. Processes that get device tensors
(class shards) have the device too, if they can import this module.

Needs the Python backend of torch, an experimental part of it (written for torch 2.14).
"""

# ruff: noqa: ANN401 - operators take and give anything

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _get_current_dispatch_mode_stack,
    return_and_correct_aliasing,
)
from torch.utils._pytree import tree_iter, tree_map_only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

DEVICE = "gpu"
"""Name of the device: give it where ``cuda`` would be given."""
WATCHED = "pdd_ray"
"""The package whose lines are named: a folder in the paths of its files."""
BACKWARD = "(backward)"
ELSEWHERE = "(elsewhere)"

aten = torch.ops.aten

COPIES = {aten.copy_.default, aten._to_copy.default, aten._copy_from.default}
INDEXING = {
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index_put.default,
}
"""Operators that copy CPU indices to the device by themselves."""
SCALARS_ALLOWED = {
    aten.fill_.Tensor,
    aten.index_fill.int_Tensor,
    aten.index_fill_.int_Tensor,
    aten.masked_fill.Tensor,
    aten.masked_fill_.Tensor,
}
"""Operators that take a value of no dimension from the CPU, besides the pointwise ones."""
WAITING = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
"""Operators that wait for the device, since the size or the value of their result is needed."""
ALWAYS_VARYING = {
    "_adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d_backward",
    "grid_sampler_2d_backward",
    "max_unpool2d",
    "nll_loss2d_forward",
    "put_",
    "reflection_pad2d_backward",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_linear1d_backward",
}
"""Operators that sum in any order on CUDA, and are errors in torch.use_deterministic_algorithms."""
SOMETIMES_VARYING = {
    "cumsum",
    "index_add",
    "index_add_",
    "replication_pad2d_backward",
    "scatter_add",
    "scatter_add_",
    "scatter_reduce",
}
"""Operators that sum in any order on CUDA unless torch.use_deterministic_algorithms says else."""
VARYING = ALWAYS_VARYING | SOMETIMES_VARYING
NO_KERNEL = {
    "_local_scalar_dense",
    "_reshape_alias",
    "_unsafe_view",
    "detach",
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "sym_size",
}
"""Operators that start no kernel, besides views."""


class DeviceError(RuntimeError):
    """What CUDA would have refused."""


@dataclass
class Seen:
    """What happened on the device, by the line that caused it (``file.py:12``)."""

    launches: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    syncs: Counter[tuple[str, str]] = field(default_factory=Counter)
    varying: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def total_launches(self) -> int:
        """Operators that started kernels."""
        return sum(self.launches.values())

    @property
    def total_syncs(self) -> int:
        """How often the CPU waited."""
        return sum(self.syncs.values())

    def syncs_at(self, place: str) -> int:
        """Return how often the CPU waited in lines whose name contains ``place``."""
        return sum(count for (line, _), count in self.syncs.items() if place in line)

    def summary(self, most: int = 20) -> str:
        """Return the counts as text, the largest first."""
        lines = [f"{self.total_launches} launches, {self.total_syncs} syncs"]
        for title, counter in (("sync", self.syncs), ("varies", self.varying)):
            for (line, what), count in counter.most_common(most):
                lines.append(f"{title:<7}{count:>7}  {line:<40} {what}")
        return "\n".join(lines)


class DeviceTensor(torch.Tensor):
    """A tensor on the device; ``host`` is the CPU tensor that holds its values."""

    host: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment] # as torch's own subclasses do

    @staticmethod
    def __new__(cls: type[DeviceTensor], host: torch.Tensor) -> DeviceTensor:
        """Return the tensor with the values of ``host``, which it shares."""
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            layout=host.layout,
            device=torch.device(DEVICE, 0),
        )
        tensor.host = host
        return tensor

    @classmethod
    def __torch_dispatch__(  # type: ignore[override] # torch gives these four
        cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {}, _seen[-1])

    def __repr__(self, **_options: Any) -> str:  # type: ignore[override]
        return f"DeviceTensor({self.host!r})"

    def tolist(self) -> Any:
        """Return the values; waits."""
        return self.cpu().tolist()

    def numpy(self, **_options: Any) -> Any:
        """Refuse, as CUDA does."""
        msg = "can't convert gpu:0 device type tensor to numpy. Use Tensor.cpu() first"
        raise TypeError(msg)

    def __array__(self, *_options: Any) -> Any:
        return self.numpy()

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Travel through the CPU, and arrive on the device again (``torch.save``, pickle)."""
        return _arrived, (self.detach().cpu(), self.requires_grad)

    def __deepcopy__(self, _memo: Any) -> torch.Tensor:
        copy = self.detach().clone()
        if isinstance(self, torch.nn.Parameter):
            return torch.nn.Parameter(copy, self.requires_grad)
        return copy.requires_grad_(self.requires_grad)


class _Mode(TorchDispatchMode):
    """Sees every operator, also those that make tensors on the device."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = seen

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self.seen)


_seen = [Seen()]
"""Where is counted: in the innermost context, and in the first one outside of them."""


@contextmanager
def fake_device() -> Iterator[Seen]:
    """Have the device :data:`DEVICE` while the context lasts, and count what happens on it."""
    _seen.append(Seen())
    try:
        with _Mode(_seen[-1]):
            yield _seen[-1]
    finally:
        _seen.pop()


def _kernel(name: str) -> Any:
    packet, _, overload = name.partition(".")
    func = getattr(getattr(aten, packet), overload or "default")

    def kernel(*args: Any, **kwargs: Any) -> Any:
        if packet == "_copy_from":
            source, target = args[:2]
            return _run(aten.copy_.default, (target, source), {}, _seen[-1])
        return _run(func, args, {**kwargs, "device": torch.device(DEVICE, 0)}, _seen[-1])

    return kernel


def _arrived(host: torch.Tensor, requires_grad: bool) -> torch.Tensor:
    """Return a tensor that another process sent; this one has the device from now on."""
    if not any(isinstance(mode, _Mode) for mode in _get_current_dispatch_mode_stack()):
        mode = _Mode(_seen[-1])
        mode.__enter__()  # type: ignore[no-untyped-call] # never left: it makes tensors there
    return DeviceTensor(host).requires_grad_(requires_grad)


def _run(func: Any, args: Any, kwargs: dict[str, Any], seen: Seen) -> Any:
    """Compute ``func`` on the CPU, as far as CUDA would compute it on the GPU."""
    wanted = kwargs.get("device")
    target = None if wanted is None else torch.device(wanted).type
    tensors = [value for value in tree_iter((args, kwargs)) if isinstance(value, torch.Tensor)]
    on_device = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    on_cpu = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
    if not on_device and target != DEVICE:
        return func(*args, **kwargs)  # nothing of ours
    if on_device and on_cpu and func not in COPIES:
        _check_mixed(func, args, on_device, on_cpu)
    _check_generator(func, args, kwargs)
    if func is aten._pin_memory.default:
        msg = "cannot pin a tensor of the device: only dense CPU tensors can be pinned"
        raise DeviceError(msg)

    host_args, host_kwargs = tree_map_only(DeviceTensor, lambda t: t.host, (args, kwargs))
    if target is not None:
        host_kwargs["device"] = torch.device("cpu")
        if func is aten._to_copy.default:  # a copy to another device never shares memory
            host_kwargs.pop("non_blocking", None)
    result = func(*host_args, **host_kwargs)
    _count(func, args, kwargs, target, on_device, on_cpu, seen)
    if target is not None:
        stays = target == DEVICE
    elif func is aten.copy_.default:
        stays = isinstance(args[0], DeviceTensor)
    else:
        stays = bool(on_device)
    if not stays:
        return args[0] if func is aten.copy_.default else result
    wrapped = tree_map_only(torch.Tensor, DeviceTensor, result)
    if not any(isinstance(value, torch.Tensor) for value in tree_iter(wrapped)):
        return wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _check_mixed(func: Any, args: Any, on_device: list[Any], on_cpu: list[torch.Tensor]) -> None:
    """Refuse tensors of both devices where CUDA does."""
    if func in INDEXING:
        values = [args[0], *args[2:3]]  # what is indexed, and what is put there
        indices = [index for index in args[1] if index is not None]
        if not isinstance(args[0], DeviceTensor):
            if any(isinstance(index, DeviceTensor) for index in indices):
                _refuse(func, "indices are on the device, the indexed tensor is on the CPU")
            _refuse(func, "the value to be put is on the device, the indexed tensor on the CPU")
        wrong = [value for value in values if not isinstance(value, DeviceTensor) and value.dim()]
        if wrong:
            _refuse(func, "the value to be put is on the CPU, the indexed tensor on the device")
        return
    scalars = torch.Tag.pointwise in func.tags or func in SCALARS_ALLOWED
    changed = [args[0]] if func._schema.is_mutable else []
    for tensor in on_cpu:
        allowed = scalars and tensor.dim() == 0 and not any(tensor is each for each in changed)
        if not allowed:
            shapes = ", ".join(
                f"{'gpu:0' if isinstance(each, DeviceTensor) else 'cpu'} {list(each.shape)}"
                for each in (*on_device[:3], *on_cpu[:3])
            )
            _refuse(func, f"expected all tensors to be on the same device, but found {shapes}")


def _check_generator(func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Generator) and value.device.type == "cpu":
            _refuse(func, "expected a 'gpu' device type for generator but found 'cpu'")


def _refuse(func: Any, reason: str) -> None:
    msg = f"{func}: {reason} (at {_place()})"
    raise DeviceError(msg)


def _count(
    func: Any,
    args: Any,
    kwargs: dict[str, Any],
    target: str | None,
    on_device: list[Any],
    on_cpu: list[torch.Tensor],
    seen: Seen,
) -> None:
    """Count what ``func`` means on the device."""
    name = func._schema.name.partition("::")[2]
    place = _place()
    sync = _wait(func, name, args, kwargs, target, on_device, on_cpu)
    if sync:
        seen.syncs[place, sync] += 1
    if func.is_view or name in NO_KERNEL:
        return
    seen.launches[place] += 1
    seen.operators[name] += 1
    deterministic = torch.are_deterministic_algorithms_enabled()
    counted = ALWAYS_VARYING if deterministic else VARYING
    summed = name in counted or (name.startswith("scatter_reduce") and not deterministic)
    if summed and not (name == "cumsum" and not on_device[0].is_floating_point()):
        seen.varying[place, name] += 1


def _wait(
    func: Any,
    name: str,
    args: Any,
    kwargs: dict[str, Any],
    target: str | None,
    on_device: list[Any],
    on_cpu: list[torch.Tensor],
) -> str:
    """Return what the CPU waits for, or an empty text."""
    if func in COPIES:
        free = kwargs.get("non_blocking", False)
        if func is aten.copy_.default:
            free = free or args[2:3] == (True,)
            to_device, crosses = isinstance(args[0], DeviceTensor), bool(on_device and on_cpu)
        else:
            to_device = target == DEVICE
            crosses = target is not None and to_device != bool(on_device)
        if not crosses or (free and not (to_device and not all(t.is_pinned() for t in on_cpu))):
            return ""
        return "copy to the device" if to_device else "copy to the CPU"
    if func in INDEXING:
        indices = [index for index in args[1] if index is not None]
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            return "indexing with a mask"
        if any(not isinstance(index, DeviceTensor) for index in indices):
            return "indices on the CPU"
        return ""
    if name == "repeat_interleave" and not isinstance(kwargs.get("output_size"), int):
        return name
    if name == "_local_scalar_dense":
        return "value to the CPU (item, float, bool)"
    return name if name in WAITING else ""


def _place() -> str:
    """Return the innermost line of the watched package in the stack."""
    frame: FrameType | None = sys._getframe(1)
    inside = f"{os.sep}{WATCHED}{os.sep}"
    found = False
    while frame is not None:
        path = frame.f_code.co_filename
        if inside in path and path != __file__:
            return f"{path.rpartition(inside)[2]}:{frame.f_lineno}"
        found = found or frame.f_code.co_name == "<module>"
        frame = frame.f_back
    on_main = threading.current_thread() is threading.main_thread()
    return ELSEWHERE if found or on_main else BACKWARD


backend_registration._setup_privateuseone_for_python_backend(DEVICE)
# torch.tensor(values, device=DEVICE) hides from modes and subclasses.
_library = torch.library.Library("aten", "IMPL")
for _name in ("empty.memory_format", "empty_strided", "_copy_from"):
    _library.impl(_name, _kernel(_name), "PrivateUse1")
