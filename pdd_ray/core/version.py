"""The version of pdd-ray, written here only, and in a checkout its commit."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

VERSION = "0.1.0"
"""The packaging, the page, manifests and ``pdd-ray --version`` read it here."""


@cache
def code_commit() -> str | None:
    """Return the git commit of the package, marked if files differ; None outside a checkout."""
    return commit_of(Path(__file__).resolve().parents[1])


def commit_of(folder: Path) -> str | None:
    """Return the commit of the checkout in which the package ``folder`` is kept, if it is."""
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--", ".")
    return f"{commit} with changes" if commit and changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what a git command that changes nothing writes; None if it can't."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
