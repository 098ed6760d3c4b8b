"""One local Ray with two CPUs and two logical GPUs for all tests of a session.

A conftest imports the fixture ``ray_cluster``. Importing it in several of them is fine: the first
one that is used starts Ray, the others find it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
"""Folder from which workers import ``tests.runtime.step_functions``."""


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Have Ray running, with workers that can import the functions of tests."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])
    import ray

    from pdd_ray.runtime.cluster import start_local

    owner = not ray.is_initialized()
    if owner:
        start_local(cpus=2, gpus=2)
    yield
    if owner:
        ray.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
