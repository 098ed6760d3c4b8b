"""The notebook of the documentation: its cells run in order, and it is stored without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.ipynb"))
PROGRAM = """\
import json, sys
names = {}
for number, source in enumerate(json.load(sys.stdin), start=1):
    exec(compile(source, f"cell {number}", "exec"), names)
"""
"""Executes cells as a kernel would, in one namespace, but shows no last values."""


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def run_cells(sources: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        input=json.dumps(sources),
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_there_is_a_notebook():
    assert [path.name for path in NOTEBOOKS] == ["quickstart.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_the_cells_run_in_order(notebook: Path, tmp_path: Path):
    done = run_cells(["".join(cell["source"]) for cell in cells(notebook, "code")], tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("0 steps done, ") for line in lines)  # the second run of the sweep
    assert any(line.startswith("| pdd ") for line in lines)
    assert lines[-3] == "60 images of shape (1, 8, 8)"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_in_the_current_format_without_outputs(notebook: Path):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in content["cells"]]
    assert len(set(names)) == len(names)
    for cell in cells(notebook, "code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_links_of_a_notebook_resolve(notebook: Path):
    text = "".join(line for cell in cells(notebook, "markdown") for line in cell["source"])
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    assert links
    assert [link for link in links if not (notebook.parent / link).exists()] == []
