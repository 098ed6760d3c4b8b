"""Facts about the tables of sweeps that were run: the paper's layouts, settings that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdd_ray.configuration.sweep import TableSpec
from pdd_ray.core.store import Store
from pdd_ray.results.saved_sweeps import find_saved_sweep
from pdd_ray.results.tables import Pivot, table_text
from tests.cli.conftest import finished, folder
from tests.results.test_paper_settings import changed

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.configuration.expand import LoadedSweep

__all__ = ["finished", "folder"]


@pytest.fixture
def store(folder: Path) -> Store:
    """The store on which the tiny sweep was run, to change."""
    return Store(folder / "store")


@pytest.fixture
def tiny(store: Store) -> LoadedSweep:
    """The tiny sweep as it was run."""
    return find_saved_sweep("tiny", store)


def cells_of(text: str) -> list[list[str]]:
    """Return the cells of the first table in a Markdown text, without the ruler."""
    lines = text.split("\n\n", maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]


def test_a_sweep_of_the_paper_is_laid_out_as_its_table(tiny: LoadedSweep, store: Store):
    usual = TableSpec()
    paper = changed(tiny, paper="Table 3", table=usual)
    text = table_text(paper, store)
    assert cells_of(text)[0] == ["method", "stages", "images_per_class", "progressive"]
    assert "Table 3 of PDD (Chen et al., ICLR 2024): modes of training on the stages." in text
    pivoted = table_text(paper, store, pivot=Pivot(rows=("variant", "stages")))
    assert cells_of(pivoted)[0] == ["variant", "stages", "progressive"]
    own = table_text(changed(tiny, paper="Table 3"), store)
    assert cells_of(own)[0] == ["variant", "stages", "progressive"]
    assert "Table 3 of PDD" in own


def test_a_table_says_how_its_settings_differ_from_those_of_the_reference(
    tiny: LoadedSweep, store: Store, folder: Path
):
    text = (folder / "tiny.yaml").read_text(encoding="utf-8")
    (folder / "paper.yaml").write_text(text.replace("width: 4", "width: 8"), encoding="utf-8")
    compared = changed(tiny, paper="Table 1", reference=str(folder / "paper.yaml"))
    shown = table_text(compared, store)
    assert "- Not the paper's settings in any cell, own (of " in shown
    assert "paper.yaml): model.width: 4 (8).\n" in shown
