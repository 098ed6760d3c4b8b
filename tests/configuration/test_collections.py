"""Collections of sweeps: found, checked, planned and run as one."""

import json

import pytest

from pdd_ray.api.preparing import prepare, run
from pdd_ray.configuration.load import load_collection, load_sweep
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.store import Store
from pdd_ray.results.saved_sweeps import find_saved_collection

SWEEP = """
name: {name}
model: {{width: 4, depth: 2}}
experts: {{count: 1, epochs: 2, batch_size: 128}}
method: {{name: random}}
evaluation: {{networks: {networks}, epochs: 1}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "one.yaml").write_text(SWEEP.format(name="one", networks=1))
    (tmp_path / "two.yaml").write_text(SWEEP.format(name="two", networks=2))
    (tmp_path / "both.yaml").write_text("name: both\nsweeps: [one.yaml, two.yaml]\n")
    return tmp_path


def test_paths_of_a_collection_start_at_its_file(folder):
    collection = load_collection(str(folder / "both.yaml"))
    assert [sweep.name for sweep in collection.sweeps] == ["one", "two"]
    assert not collection.single


def test_a_sweep_is_a_collection_of_itself(folder):
    collection = load_collection(str(folder / "one.yaml"))
    assert collection.single
    assert collection.name == "one"


def test_overrides_change_every_sweep(folder):
    collection = load_collection(str(folder / "both.yaml"), ["evaluation.epochs=7"])
    assert [sweep.spec.evaluation.epochs for sweep in collection.sweeps] == [7, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: both\nsweeps: []", "sweeps: should have at least 1 item"),
        ("name: both\nsweeps: [one.yaml, one.yaml]", "'one.yaml' is listed twice"),
        ("name: both\nsweeps: [nothing.yaml]", "no sweep 'nothing.yaml'"),
        ("name: one\nsweeps: [one.yaml, two.yaml]", "the name 'one' is used twice"),
        ("name: both\nsweeps: [one.yaml]\nseeds: [1]", "seeds: unknown key"),
    ],
)
def test_what_is_wrong_with_a_collection_is_one_line(folder, text, message):
    (folder / "bad.yaml").write_text(text + "\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_collection(str(folder / "bad.yaml"))
    assert "bad.yaml" in str(caught.value) or "nothing.yaml" in str(caught.value)


def test_a_collection_is_no_sweep(folder):
    with pytest.raises(ConfigError, match=r"both\.yaml: a collection of sweeps"):
        load_sweep(str(folder / "both.yaml"))


def test_a_collection_shares_steps_and_leaves_the_records_of_each_sweep(folder):
    store = Store(folder / "store").open()
    prepared = prepare(load_collection(str(folder / "both.yaml")), store)
    alone = sum(len(plan.steps) for plan in prepared.plans)
    assert len(prepared.steps) == len(prepared.plans[1].steps) < alone
    assert run(prepared, serial=True).complete
    found = find_saved_collection("both", store)
    assert [sweep.name for sweep in found.sweeps] == ["one", "two"]
    for name, count in (("one", 1), ("two", 2)):
        lines = (store.sweep_folder(name) / "records.jsonl").read_text().splitlines()
        assert [json.loads(line)["sweep"] for line in lines] == [name] * count
    assert not prepare(load_collection("both", store=store), store).missing
