"""Options of the test suite."""

import os
from pathlib import Path

import hypothesis
import pytest

# Nothing here depends on the time that the machine happens to take.
hypothesis.settings.register_profile("pdd_ray", deadline=None)
hypothesis.settings.load_profile("pdd_ray")

# Small problems are slower on several threads, and much slower where others compute too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.register_assert_rewrite("pdd_ray.testing.contract")

DEFAULT_VECTORS = Path(__file__).resolve().parents[2] / "shared" / "vectors"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors",
        type=Path,
        default=DEFAULT_VECTORS,
        help="folder with vectors.json, for tests/conformance",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what uses Ray: it takes longest, and much of it is waiting."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)
