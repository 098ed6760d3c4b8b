"""Which GPUs this machine has, what torch sees of them, and what pdd-ray does with them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from pdd_ray.api.finding import Finding
from pdd_ray.core.text import size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

INSTALL_CUDA = "install a torch for CUDA (pytorch.org/get-started), or run on the CPU"
ON_THE_CPU = "steps run on the CPU"


def gpu_findings() -> Iterator[Finding]:
    """Yield what there is of GPUs by torch and by nvidia-smi, and where these disagree."""
    listed = nvidia_gpus()
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that torch needs is missing
        yield Finding("fail", "gpus", f"torch can't be imported: {error}", "install torch again")
        return
    if torch.cuda.is_available():
        yield from _usable(torch, listed)
    elif listed:
        yield _not_seen(torch, listed)
    elif torch.xpu.is_available():
        names = [torch.xpu.get_device_name(index) for index in range(torch.xpu.device_count())]
        text = f"{', '.join(names)}; torch is built for {built_for(torch)}"
        yield Finding("warn", "gpus", text, f"pdd-ray does not support XPU: {ON_THE_CPU}")
    elif torch.backends.mps.is_available():
        yield Finding("ok", "gpus", f"Apple's (MPS), which pdd-ray does not support: {ON_THE_CPU}")
    else:
        text = f"none found; torch is built for {built_for(torch)}; {ON_THE_CPU}"
        yield Finding("ok", "gpus", text)


def built_for(torch: Any) -> str:  # noqa: ANN401 - a module
    """Return what ``torch`` was built for: CUDA, ROCm or XPU with its version, or CPUs."""
    if torch.version.hip:
        return f"ROCm {torch.version.hip}"
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    xpu = getattr(torch.version, "xpu", None)
    return f"XPU {xpu}" if xpu else "CPUs"


def nvidia_gpus() -> list[str]:
    """Return name and memory of each GPU that nvidia-smi lists; none if it can't be asked."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return result.stdout.strip().splitlines() if result.returncode == 0 else []


def _usable(torch: Any, listed: list[str]) -> Iterator[Finding]:  # noqa: ANN401 - a module
    """Yield the GPUs that torch sees, and what of them it can't use."""
    count = torch.cuda.device_count()
    built = built_for(torch)
    cudnn = torch.backends.cudnn.version()
    library = f", cuDNN {cudnn}" if cudnn and not torch.version.hip else ""
    as_cuda = "; ROCm is used as device `cuda`" if torch.version.hip else ""
    yield Finding("ok", "gpus", f"{count}, torch is built for {built}{library}{as_cuda}")
    if len(listed) > count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        text = f"nvidia-smi lists {len(listed)}, torch sees {count} of them"
        advice = f"CUDA_VISIBLE_DEVICES is {visible}: check that this is wanted"
        yield Finding("warn", "gpus", text, advice)
    compiled = torch.cuda.get_arch_list()
    for index in range(count):
        found = torch.cuda.get_device_properties(index)
        architecture = _architecture(torch, found)
        text = f"{found.name}, {size(float(found.total_memory))}, {architecture}"
        if has_kernels(architecture, compiled):
            yield Finding("ok", f"gpu {index}", text)
        else:
            lacking = f"{text}, for which this torch has no kernels ({', '.join(compiled)})"
            advice = "install a torch that supports this GPU (pytorch.org/get-started)"
            yield Finding("fail", f"gpu {index}", lacking, advice)


def _architecture(torch: Any, found: Any) -> str:  # noqa: ANN401 - a module, and what it found
    if torch.version.hip:
        return str(found.gcnArchName).partition(":")[0]
    return f"sm_{found.major}{found.minor}"


def has_kernels(architecture: str, compiled: Iterable[str]) -> bool:
    """Return whether code that was ``compiled`` for some architectures runs on another.

    CUDA's machine code (``sm_86``) runs on the same major version with the same or a higher minor
    one, its intermediate code (``compute_86``) on all later ones. ROCm's is for one (``gfx90a``).
    """
    own = _version(architecture)
    if own is None:
        return architecture in set(compiled)
    for name in compiled:
        other = _version(name)
        if other is None:
            continue
        same_major = other[0] == own[0] and other <= own
        if (name.startswith("sm_") and same_major) or (name.startswith("comp") and other <= own):
            return True
    return False


def _version(architecture: str) -> tuple[int, int] | None:
    """Return major and minor compute capability, e.g. (9, 0) for ``sm_90``; None for ROCm's."""
    found = re.fullmatch(r"(?:sm|compute)_(\d+)(\d)[af]?", architecture)
    return (int(found[1]), int(found[2])) if found else None


def _not_seen(torch: Any, listed: list[str]) -> Finding:  # noqa: ANN401 - a module
    """Return why torch sees none of the GPUs that nvidia-smi lists, and the remedy."""
    names, built = ", ".join(listed), built_for(torch)
    if torch.version.hip or not torch.version.cuda:
        text = f"{names}, but torch {torch.__version__} is built for {built}"
        return Finding("warn", "gpus", text, INSTALL_CUDA)
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        text = f"{names}, but CUDA_VISIBLE_DEVICES hides them from torch"
        return Finding("warn", "gpus", text, "unset it, or run on the CPU")
    try:
        torch.cuda.init()
        reason = "torch does not say why"
    except RuntimeError as error:
        reason = " ".join(str(error).split())
    text = f"{names}, but torch, built for {built}, does not see them ({reason})"
    advice = "update the driver, or install a torch for an older CUDA (pytorch.org/get-started)"
    return Finding("warn", "gpus", text, advice)
