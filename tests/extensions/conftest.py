"""The example package, installed once per worker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "example_package"

collect_ignore = ["example_package"]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which pip has installed the example package."""
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source)  # building writes into the source
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True, text=True)
    return folder


@pytest.fixture
def with_example(installed: Path, tmp_path: Path):
    """Return a function that runs Python in an empty folder, the example package installed."""

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        paths = [str(installed), str(ROOT), str(ROOT / "analysis")]
        environment: dict[str, Any] = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            check=check,
            capture_output=True,
            text=True,
        )

    return run
