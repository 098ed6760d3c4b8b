"""Facts about the wheel: all of the package and its presets, and nothing else at its top."""

from __future__ import annotations

import zipfile
from configparser import ConfigParser
from email import message_from_string
from pathlib import Path

import pytest

from pdd_ray.core.version import VERSION

ROOT = Path(__file__).parents[2]
INFO = f"pdd_ray-{VERSION}.dist-info"
PLACES = {"pdd_ray": "pdd_ray", "analysis/pdd_analysis": "pdd_analysis", "sweeps": "pdd_ray/sweeps"}
"""Folders of the checkout, and where the wheel has them."""
NEEDED = (
    "pdd_ray/py.typed",
    "pdd_ray/results/report/templates/page.html",
    "pdd_ray/results/report/templates/style.css",
    "pdd_ray/sweeps/demo.yaml",
    "pdd_ray/sweeps/paper/table4.yaml",
    "pdd_analysis/published.json",
)

pytestmark = pytest.mark.slow


@pytest.fixture
def names(wheel: Path) -> set[str]:
    """The files of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def text(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"{INFO}/{name}").decode()


def test_a_wheel_holds_every_file_of_the_packages_and_the_presets(names: set[str]):
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in PLACES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if not name.startswith(INFO)} == expected
    assert expected.issuperset(NEEDED)


def test_the_top_of_a_wheel_has_no_names_that_projects_have_too(names: set[str]):
    assert {name.partition("/")[0] for name in names} == {"pdd_ray", "pdd_analysis", INFO}


def test_a_wheel_has_the_command_the_licence_and_the_version(wheel: Path):
    entries = ConfigParser()
    entries.read_string(text(wheel, "entry_points.txt"))
    assert dict(entries["console_scripts"]) == {"pdd-ray": "pdd_ray.cli.main:main"}
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text(wheel, "licenses/LICENSE") == licence
    metadata = message_from_string(text(wheel, "METADATA"))
    assert (metadata["Name"], metadata["Version"]) == ("pdd-ray", VERSION)
    assert metadata["License-Expression"] == "Apache-2.0"
