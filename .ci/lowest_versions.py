"""Prints the lowest versions of the dependencies that pyproject.toml allows, as pip's constraints.

    python .ci/lowest_versions.py [PACKAGE ...]

Packages that are named are left out: pip chooses their versions.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,.-]+\])?>=(?P<version>[\d.]+)(,<[\d.]+)?")


def lowest(requirement: str) -> tuple[str, str]:
    """Return name and lowest version of a requirement like ``name[extra]>=1.2,<2``.

    Raises:
        ValueError: if it does not say its lowest version in that form.
    """
    match = REQUIREMENT.fullmatch(requirement)
    if match is None:
        msg = f"{PROJECT.name}: dependency {requirement!r} must be like name>=1.2 or name>=1.2,<2"
        raise ValueError(msg)
    return match["name"], match["version"]


def main(left_out: list[str]) -> None:
    """Write a line per dependency to stdout."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    versions = dict(map(lowest, project["dependencies"]))
    if unknown := set(left_out) - set(versions):
        msg = f"{', '.join(sorted(unknown))}: no dependency; there is {', '.join(versions)}"
        raise SystemExit(msg)
    lines = [f"{name}=={version}\n" for name, version in versions.items() if name not in left_out]
    sys.stdout.writelines(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
