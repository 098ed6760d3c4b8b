"""The tiny sweep of the command line's tests, and its page taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdd_ray.core.store import Store
from pdd_ray.results.report.page import report_html
from pdd_ray.results.saved_sweeps import find_saved_sweep
from tests.cli.conftest import finished, folder
from tests.results.report.page_parser import Page, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["finished", "folder"]


@pytest.fixture
def store(folder: Path) -> Store:
    """The store on which the tiny sweep was run, to change."""
    return Store(folder / "store")


@pytest.fixture
def page(store: Store) -> Callable[[], Page]:
    """Make the page of the tiny sweep as its store is now."""
    return lambda: parse(report_html(find_saved_sweep("tiny", store), store))
