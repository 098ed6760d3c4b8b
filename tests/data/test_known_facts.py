"""Facts about data sets that are published: they are planned with before they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pdd_ray
from pdd_ray.core.errors import DataError
from pdd_ray.data.facts import known_facts, read_or_known_facts
from pdd_ray.data.source_registry import SOURCES
from pdd_ray.data.spec import DataSpec

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED = {"cifar10": 10, "cifar100": 100, "mnist": 10, "fashion_mnist": 10, "tiny_imagenet": 200}
"""Classes of every published data set that is read from a folder."""


def test_every_source_is_published_or_somebodys_own():
    known = {name for name, source in SOURCES.items() if source.needs_root}
    assert {name for name in known if not SOURCES[name].own_images} == set(PUBLISHED)


@pytest.mark.parametrize("source", PUBLISHED)
def test_a_published_data_set_is_planned_with_before_it_is_there(source: str, tmp_path: Path):
    spec = DataSpec(source=source, root=tmp_path / "nothing")
    facts = read_or_known_facts(spec, tmp_path / "cache")
    assert len(facts.classes) == len(set(facts.classes)) == PUBLISHED[source]
    assert facts.absent
    assert known_facts(spec) is not None


@pytest.mark.parametrize("source", PUBLISHED)
def test_a_sweep_of_it_is_planned_and_not_run(source: str, tmp_path: Path):
    method = {"name": "dm", "iterations": 2}
    sweep = {
        "name": "absent",
        "data": {"source": source, "root": str(tmp_path / "nothing"), "download": False},
        "method": method,
        "stages": {"count": 1, "images_per_class": 1},
    }
    plan = pdd_ray.plan(sweep, store=tmp_path / "store")
    assert plan.estimate(device="A100").cpu_seconds > 0
    assert "planned with what is published" in str(plan)
    assert plan.to_json()["absent"]
    with pytest.raises(DataError, match="nothing"):
        plan.run(quiet=True)


def test_somebodys_own_images_have_to_be_there(tmp_path: Path):
    with pytest.raises(DataError):
        read_or_known_facts(DataSpec(source="npz", root=tmp_path / "no.npz"), tmp_path)


def test_a_part_of_a_data_set_is_still_an_error(tmp_path: Path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="missing"):
        read_or_known_facts(DataSpec(source="mnist", root=tmp_path), tmp_path / "cache")
