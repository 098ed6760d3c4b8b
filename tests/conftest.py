"""Options of the test suite."""

from pathlib import Path

import pytest

DEFAULT_VECTORS = Path(__file__).resolve().parents[2] / "shared" / "vectors"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors",
        type=Path,
        default=DEFAULT_VECTORS,
        help="folder with vectors.json, for tests/conformance",
    )
