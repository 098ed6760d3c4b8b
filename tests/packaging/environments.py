"""Virtual environments that hold pdd-ray and take what it needs from the running Python."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("site-packages", "dist-packages")
HIDDEN = ("PYTHONPATH", "PYTHONHOME", "PDD_RAY_STORE")
"""Variables by which the checkout, or a store, would be found without being installed."""


def pip(*arguments: str) -> None:
    """Run pip; what it says is shown if it fails."""
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=surroundings(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def surroundings() -> dict[str, str]:
    """Return the variables of this process without those that lead to the checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    return {**kept, "MPLBACKEND": "agg"}


@dataclass(frozen=True)
class Environment:
    """A virtual environment with pdd-ray in it."""

    folder: Path
    editable: bool

    @property
    def programs(self) -> Path:
        """The folder of its programs."""
        return self.folder / "bin"

    @property
    def packages(self) -> Path:
        """The folder of what is installed in it."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def install(self, wheel: Path) -> None:
        """Install a wheel without what it needs."""
        target = str(self.programs / "python")
        pip("--python", target, "install", "--no-deps", "--no-index", str(wheel))

    def add_dependencies(self) -> None:
        """Let it find what is installed for the running Python, behind what it has itself.

        Lines of a .pth file are folders only: .pth files in these folders are not read, so an
        editable installation of the running Python is not found.
        """
        folders = [entry for entry in sys.path if Path(entry).name in PACKAGES]
        (self.packages / "dependencies.pth").write_text("\n".join(folders), encoding="utf-8")

    def run(self, program: str, *arguments: str, folder: Path) -> str:
        """Return what a program of the environment writes when it is run in ``folder``."""
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=folder,
            env=surroundings(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
