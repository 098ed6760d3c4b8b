"""Facts about the training curves that are read from a store."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pdd_ray.core.identities import digest
from pdd_ray.core.store import Store
from pdd_ray.results.plots import read_curves
from tests.analysis.builders import record

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.core.records import Record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store").open()


def watched(
    store: Store, accuracy: float, previous: Record | None = None, **fields: object
) -> Record:
    """Return an evaluation whose artifact has a curve that ends at ``accuracy``."""
    made = record(accuracy, **fields)
    made = replace(made, key=f"evaluation-{digest(made.key)}")
    folder = store.begin(made.key)
    curve = {"epochs": [1, 2], "validation_accuracy": [0.1, accuracy]}
    (folder / "curve.json").write_text(json.dumps(curve), encoding="utf-8")
    inputs = {} if previous is None else {"previous": previous.key}
    store.commit(made.key, folder, {"inputs": inputs})
    return made


def ends(store: Store, records: list[Record]) -> dict[str, list[list[float]]]:
    """Return the accuracies at the end of each stage, by setting."""
    found: dict[str, list[list[float]]] = {}
    for curve in read_curves(records, store):
        found.setdefault(curve.setting, []).append([accs[-1] for _, accs in curve.stages])
    return found


def test_a_progressive_curve_is_that_of_all_its_stages(store: Store):
    first = watched(store, 0.3, stages=1)
    second = watched(store, 0.4, first, stages=2)
    assert ends(store, [first, second]) == {"pdd, progressive": [[0.3, 0.4]]}


def test_a_union_curve_is_that_of_the_most_stages(store: Store):
    records = [watched(store, 0.3 + n / 10, mode="union", stages=n) for n in (1, 2, 3)]
    assert ends(store, records) == {"pdd, union": [[pytest.approx(0.6)]]}


def test_networks_that_are_not_as_far_are_left_out(store: Store):
    records = [
        watched(store, 0.5, mode="union", stages=2, seed=0),
        watched(store, 0.3, mode="union", stages=1, seed=1),
    ]
    assert ends(store, records) == {"pdd, union": [[0.5]]}


def test_architectures_have_curves_of_their_own(store: Store):
    records = [watched(store, value, model=model) for model, value in (("a", 0.3), ("b", 0.4))]
    assert ends(store, records) == {"pdd, a, progressive": [[0.3]], "pdd, b, progressive": [[0.4]]}


def test_an_evaluation_without_a_curve_has_none(store: Store):
    assert read_curves([record(key="evaluation-none")], store) == []
