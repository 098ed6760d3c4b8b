"""Checks whether this machine can run sweeps: Python, packages, memory, GPUs, store, compiler."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from pdd_ray.api.finding import Finding
from pdd_ray.api.gpus import gpu_findings
from pdd_ray.api.stores import StoreLike, open_store
from pdd_ray.core.compilers import find_compiler
from pdd_ray.core.errors import StoreError
from pdd_ray.core.text import size

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST_PYTHON = (3, 11)
LOW_MEMORY = 2e9
LOW_DISK = 5e9
PACKAGES = ("torch", "torchvision", "ray", "numpy", "pandas", "tensorboard", "pydantic", "rich")


def doctor(*, store: StoreLike = None) -> list[Finding]:
    """Return what this machine has and lacks for running sweeps, as ``pdd-ray doctor`` does.

    Sweeps can't be run where the level of a finding is ``fail``.

    Args:
        store: The store; it is made if it is not there.
    """
    return [*_machine(), *_packages(), *gpu_findings(), *_store(store), *_compiler()]


def _machine() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info >= OLDEST_PYTHON:
        yield Finding("ok", "python", f"{version} on {platform.platform()}")
    else:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("fail", "python", version, f"use Python {wanted} or later")
    yield Finding("ok", "cpus", str(os.cpu_count()))
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    if memory < LOW_MEMORY:
        advice = "run fewer steps at once: --cpus 1"
        yield Finding("warn", "memory", size(memory), advice)
    else:
        yield Finding("ok", "memory", size(memory))


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding("ok", name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding("fail", name, "is not installed", f"pip install {name}")


def _store(where: StoreLike) -> Iterator[Finding]:
    try:
        store = open_store(where)
    except StoreError as error:
        yield Finding("fail", "store", str(error))
        return
    yield Finding("ok", "store", f"{store.root} can be written")
    free = float(shutil.disk_usage(store.root).free)
    if free < LOW_DISK:
        yield Finding("warn", "disk", f"{size(free)} free", "`pdd-ray plan` says what is needed")
    else:
        yield Finding("ok", "disk", f"{size(free)} free")


def _compiler() -> Iterator[Finding]:
    found = find_compiler()
    if found:
        yield Finding("ok", "compiler", found)
    else:
        yield Finding("warn", "compiler", "none found", "torch.compile needs g++ on the CPU")
