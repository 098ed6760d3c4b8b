"""A wheel of this checkout, and environments in which it, or the checkout itself, is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.environments import Environment, pip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the build backend that the extra `dev` installs; nothing is fetched."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: make venv")
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def editable_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build what `pip install -e` installs, which leads to the checkout."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: make venv")
    pytest.importorskip("editables", reason="editables is not installed: make venv")
    folder = tmp_path_factory.mktemp("editable_wheel")
    program = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(folder)], cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session", params=["wheel", "editable_wheel"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Install the package from a wheel, or editably; the rest is that of the running Python."""
    built = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    environment = Environment(folder, editable=request.param == "editable_wheel")
    environment.install(built)
    environment.add_dependencies()
    return environment
