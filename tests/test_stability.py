"""Facts about docs/stability.md: what it promises is what the code has, name by name."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import typer.main

import pdd_analysis
import pdd_ray
from pdd_ray.cli.main import app
from pdd_ray.core import errors, operations, steps, store
from pdd_ray.core.artifact_files import SYNTHETIC_SET
from pdd_ray.core.tensors import load_tensors
from pdd_ray.core.version import VERSION
from pdd_ray.data import synthetic_set
from pdd_ray.data.synthetic_set import empty_set

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/stability.md").read_text(encoding="utf-8")
ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.PddError)
}


def section(heading: str) -> str:
    """Return what stands under a heading of the page."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, heading
    return found[1]


def lists(heading: str) -> list[list[str]]:
    """Return the names of each paragraph of a section that is nothing but names."""
    paragraphs = (" ".join(part.split()) for part in section(heading).split("\n\n"))
    only_names = re.compile(r"`[\w ]+`(?:, `[\w ]+`)+")
    return [re.findall(r"`([\w ]+)`", text) for text in paragraphs if only_names.fullmatch(text)]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table of a section, without marks and without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [[cell.strip("`") for cell in line.strip("| ").split(" | ")] for line in lines[1:]]


def public(package: object) -> list[str]:
    """Return the functions and classes that a package lists, without errors and a package."""
    names = set(vars(package)["__all__"]) - ERRORS.keys() - {"analysis"}
    return sorted(names)


def test_the_public_functions_are_those_of_the_packages():
    of_package, of_analysis = lists("Python")
    assert of_package == public(pdd_ray)
    assert of_analysis == public(pdd_analysis)
    for package, names in ((pdd_ray, of_package), (pdd_analysis, of_analysis)):
        assert all(callable(getattr(package, name)) for name in names)


def test_the_errors_are_those_of_the_code_with_their_bases_and_exit_codes():
    listed = {name: (base, int(code)) for name, base, code in rows("Errors")}
    assert listed == {
        name: (kind.__base__.__name__, kind.exit_code) for name, kind in ERRORS.items()
    }


def test_the_commands_are_those_of_the_command_line():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = [
        f"{name} {inner}".strip()
        for name, command in commands.items()
        for inner in getattr(command, "commands", [""])
    ]
    assert lists("Commands") == [sorted(found)]


def test_the_exit_codes_are_those_of_the_errors():
    sentence = re.search(r"Exit codes are ([\d, and]+),", section("Commands"))
    assert sentence
    codes = {int(code) for code in re.findall(r"\d+", sentence[1])}
    assert codes == {kind.exit_code for kind in ERRORS.values()} | {0}


def test_the_schemas_are_those_that_the_code_writes():
    sources = [*(ROOT / "pdd_ray").rglob("*.py"), *(ROOT / "analysis/pdd_analysis").rglob("*.py")]
    texts = (path.read_text(encoding="utf-8") for path in sources)
    written = {name for text in texts for name in re.findall(r'"(pdd-ray/[\w-]+/\d+)"', text)}
    assert {row[0] for row in rows("JSON")} == written
    assert len(written) >= 5


def test_formats_and_revisions_are_those_of_the_code():
    text = " ".join(section("Stores and keys").split())
    assert f"`STORE_FORMAT` {store.STORE_FORMAT} " in text
    assert f"`FORMAT_VERSION`, which is {steps.FORMAT_VERSION}." in text
    listed = {name: int(revision) for name, revision in rows("Stores and keys")}
    assert listed == {each.name: each.revision for each in operations.OPERATIONS}


def test_the_layout_of_distilled_sets_is_the_one_that_is_written(tmp_path: Path):
    text = " ".join(section("Distilled sets").split())
    assert f"`{SYNTHETIC_SET}` of a stage or coreset has schema {synthetic_set.SCHEMA}:" in text
    tensors_part, metadata_part = text.split(" in its metadata ")
    empty_set((1, 2, 2), ("a", "b"), "none", "").save(tmp_path)
    tensors, metadata = load_tensors(tmp_path / SYNTHETIC_SET)
    listed = re.findall(r"`(\w+)`", tensors_part.partition("the tensors ")[2])
    assert sorted(listed) == sorted([*tensors, "pdd"])
    entries = re.findall(r"`(\w+)`", metadata_part.partition(". ")[0])
    assert sorted(entries) == sorted(metadata)


# --- the version, which is written in pdd_ray/core/version.py ------------------------------------


def test_the_version_is_the_one_that_people_are_asked_to_cite():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.M) == [VERSION]


def test_the_newest_entry_of_the_changelog_is_about_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\] - (Unreleased|\d{4}-\d{2}-\d{2})$", changelog, re.M)
    assert len(headings) == len(re.findall(r"^## ", changelog, re.M))
    assert headings[0][0] == VERSION
    assert [date for _, date in headings[1:] if date == "Unreleased"] == []


def test_the_version_is_written_nowhere_else_in_the_packages():
    assert pdd_ray.__version__ == VERSION
    literal = json.dumps(VERSION)
    folders = (ROOT / "pdd_ray", ROOT / "analysis/pdd_analysis")
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    having = [path for path in sources if literal in path.read_text(encoding="utf-8")]
    assert [path.name for path in having] == ["version.py"]
    assert f"version = {literal}" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
