"""Facts about projects with an `analysis`, `sweeps` or `tests` of their own: both are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.packaging.environments import Environment

ROOT = Path(__file__).parents[2]
OWN = {
    "analysis": ("tables", "loading", "statistics", "pdd_analysis"),
    "sweeps": ("load", "demo", "cpu"),
    "tests": ("tiny", "conftest", "ray_cluster"),
    "benchmarks": ("memory",),
    "docs": ("conf",),
}
"""Packages of the project, and modules in them that something in the checkout is called like."""
PROGRAM = """\
import importlib, json, sys

def own():
    return [importlib.import_module(name).OWNER for name in {modules}]

first = own() if {early} else []
import pdd_ray
import pdd_analysis
from pdd_ray.configuration.load import presets, presets_folder

tiny = {{
    "name": "tiny",
    "model": {{"width": 4, "depth": 1}},
    "method": "random",
    "stages": {{"count": 1, "images_per_class": 1}},
    "evaluation": {{"networks": 1, "single_stage_epochs": 1}},
}}
plan = pdd_ray.plan("demo", store={store!r})
result = pdd_ray.run(tiny, serial=True, quiet=True, store={store!r})
table = pdd_ray.table("tiny", store={store!r})
plots = pdd_ray.plots("tiny", store={store!r})
print(json.dumps({{
    "owners": sorted(set(first + own())),
    "packages": [pdd_ray.__file__, pdd_analysis.__file__, str(presets_folder())],
    "presets": len(presets()),
    "planned": len(plan.steps),
    "records": len(result.records),
    "loaded": len(pdd_analysis.load({store!r}, "tiny")),
    "table": table,
    "plots": [path.suffix for path in plots],
}}))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(params=["packages", "folders"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project with modules of conflicting names, in packages with or without __init__.py."""
    folder = tmp_path / "project"
    for package, modules in OWN.items():
        (folder / package).mkdir(parents=True)
        for module in modules:
            (folder / package / f"{module}.py").write_text("OWNER = 'project'\n", encoding="utf-8")
        if request.param == "packages":
            (folder / package / "__init__.py").touch()
    return folder


def program(store: Path, early: bool) -> str:
    """Return the program, which imports the project's modules afterwards, or also before."""
    modules = [f"{package}.{module}" for package, names in OWN.items() for module in names]
    return PROGRAM.format(modules=modules, store=str(store), early=early)


def arguments(form: str, project: Path, source: str) -> list[str]:
    """Return what Python is called with, so that it finds the project as users let it."""
    if form == "command":  # as in a notebook, the current folder comes first
        return ["-c", source]
    (project / "experiment.py").write_text(source, encoding="utf-8")
    return ["-m", "experiment"] if form == "module" else [str(project / "experiment.py")]


@pytest.mark.parametrize("form", ["script", "module", "command"])
def test_a_project_finds_its_own_modules_and_those_of_the_package(
    environment: Environment, project: Path, tmp_path: Path, form: str
):
    source = program(tmp_path / "store", early=form == "module")
    away = tmp_path if form == "script" else project
    output = environment.run("python", *arguments(form, project, source), folder=away)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    home = ROOT if environment.editable else environment.packages
    packages = home / "analysis" if environment.editable else home
    presets = home if environment.editable else home / "pdd_ray"
    assert found.pop("packages") == [
        str(home / "pdd_ray/__init__.py"),
        str(packages / "pdd_analysis/__init__.py"),
        str(presets / "sweeps"),
    ]
    assert found.pop("table").startswith("| variant")
    assert found.pop("planned") > 10
    assert set(found.pop("plots")) == {".png"}
    assert found == {
        "owners": ["project"],
        "presets": len(list((ROOT / "sweeps").rglob("*.yaml"))),
        "records": 1,
        "loaded": 1,
    }


def test_the_commands_work_in_such_a_project(
    environment: Environment, project: Path, tmp_path: Path
):
    store = ["--store", str(tmp_path / "store"), "--json"]
    by_name = environment.run("pdd-ray", "plan", "demo", *store, folder=project)
    as_module = environment.run("python", "-m", "pdd_ray", "plan", "demo", *store, folder=project)
    assert json.loads(by_name)["schema"] == json.loads(as_module)["schema"] == "pdd-ray/plan/1"
