"""A store to run steps on, a folder for their traces, and the shared Ray."""

from pathlib import Path

import pytest

from pdd_ray.core.store import Store
from tests.ray_cluster import ray_cluster
from tests.runtime.builders import Recorder

__all__ = ["ray_cluster"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").open()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which steps leave traces of having been run."""
    path = tmp_path / "traces"
    path.mkdir()
    return path


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
