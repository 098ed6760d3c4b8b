"""Facts about finding, overriding and checking sweeps."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdd_ray.configuration import yaml
from pdd_ray.configuration.document import Place, from_plain
from pdd_ray.configuration.load import load_collection, load_sweep, presets, resolved, sweep_schema
from pdd_ray.configuration.overrides import apply_overrides
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.files import write_json
from pdd_ray.core.store import Store

Write = Callable[..., str]

SWEEP = """\
name: demo
seeds: [0, 1]
method: {iterations: 5}
stages: {count: 2, images_per_class: 1}
"""


@pytest.fixture
def sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a sweep to sweep.yaml in the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(text: str = SWEEP) -> str:
        Path("sweep.yaml").write_text(text, encoding="utf-8")
        return "sweep.yaml"

    return write


def problems_of(source: str, *overrides: str, store: Store | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_sweep(source, overrides, store)
    return str(caught.value).splitlines()


def test_method_and_model_need_no_name(sweep_file: Write):
    text = SWEEP + "evaluation: {models: [{width: 8}, {name: resnet}]}\n"
    sweep = load_sweep(sweep_file(text)).spec
    assert sweep.method.name == "mtt"
    assert [model.label for model in sweep.evaluation.models or ()] == [
        "convnet-w8-d3",
        "resnet18-mtt-instance",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("stages:\n- images_per_class: 1\n  metod: {}",
         "sweep.yaml:4:3: stages[0].metod: unknown key; did you mean 'method'? "
         "allowed: images_per_class, method"),
        ("model: {name: convne}",
         "sweep.yaml:2:9: model.name: unknown name 'convne'; did you mean 'convnet'? "
         "allowed: convnet, densenet"),
        ("seeds: [0, x]", "sweep.yaml:2:12: seeds[1]: should be a valid integer, got 'x'"),
        ("seeds: 3", "sweep.yaml:2:1: seeds: should be a list, got 3"),
        ("seeds: []", "sweep.yaml:2:1: seeds: should have at least 1 item, got []"),
        ("seeds: [1, 1]", "sweep.yaml:2:1: seeds: axis seeds repeats a value: [1, 1]"),
        ("data: digits",
         "sweep.yaml:2:1: data: should be a mapping with keys among source, root, download, "
         "channels, resize, pool, preprocessing, zca_epsilon, validation_fraction, split_seed, "
         "options; got 'digits'"),
        ("data: {source: cifar10}",
         "sweep.yaml:2:1: data: source 'cifar10' needs `root`, the folder or file that holds the "
         "images (data.root=PATH on the command line)"),
        ("evaluation: {epochs: many}",
         "sweep.yaml:2:14: evaluation.epochs: should be a valid integer or 'paper', got 'many'"),
        ("evaluation: {modes: [unoin]}",
         "sweep.yaml:2:22: evaluation.modes[0]: should be 'progressive', 'union', 'sequential' or "
         "'full', got 'unoin'; did you mean 'union'?"),
        ("experts: {augmentation: colour}",
         "sweep.yaml:2:11: experts.augmentation: unknown augmentation 'colour' in 'colour'; "
         "allowed: 'none' or any of color, crop, cutout, flip, scale, rotate joined by '_'"),
        ("experts: {learning_rate: -1}",
         "sweep.yaml:2:11: experts.learning_rate: should be greater than 0, got -1"),
        ("stages: {count: 2, images_per_clas: 1}",
         "sweep.yaml:2:1: stages.images_per_class: this key is required and missing"),
        ("iterations: 3",
         "sweep.yaml:2:1: iterations: unknown key; did you mean 'method.iterations'? allowed: "),
        ("method: {name: random, iterations: 3}",
         "sweep.yaml:2:24: method.iterations: unknown key of 'random'; allowed: step_size, name"),
        ("stages: [{images_per_class: 1, method: {name: random}}]",
         "sweep.yaml:2:41: stages[0].method.name: a stage can't change the method, only its other "
         "keys"),
        ("stages: [{images_per_class: 1, method: {iterations: x}}]",
         "sweep.yaml:2:41: stages[0].method.iterations: should be a valid integer, got 'x'"),
        ("variants: {a: {seeds: [1]}}", "sweep.yaml:2:16: variants.a.seeds: unknown key;"),
        ("variants: [1]", "sweep.yaml:2:1: variants: should be a mapping, got [1]"),
        ("variants: {a: 3}", "sweep.yaml:2:12: variants.a: should be a mapping, got 3"),
        ("grid: {method.reel: [1, 2]}", "sweep.yaml:2:8: grid.method.reel: unknown key; allowed:"),
        ("grid: {seeds: [1]}", "sweep.yaml:2:8: grid.seeds: unknown key"),
        ("grid: {method.iterations: [1, x]}",
         "sweep.yaml:2:31: grid.method.iterations[1]: should be a valid integer, got 'x'"),
        ("grid: {method.iterations: 3}",
         "sweep.yaml:2:8: grid.method.iterations: an axis should be a list of values, got 3"),
        ("grid: {method.iterations: []}",
         "sweep.yaml:2:8: grid.method.iterations: the axis has no values"),
        ("grid: {method.iterations: [1, 1]}",
         "sweep.yaml:2:31: grid.method.iterations[1]: the axis repeats the value 1"),
        ("grid: [1]", "sweep.yaml:2:1: grid: should be a mapping of axes to lists, got [1]"),
        ("variants: {r: {method.name: random}}\ngrid: {method.iterations: [1]}",
         "sweep.yaml:3:8: grid.method.iterations: unknown key of 'random'; allowed: "
         "step_size, name; give the variant a `grid` of its own"),
        ("variants: {r: {grid: {data.pool: 2}}}",
         "sweep.yaml:2:23: variants.r.grid.data.pool: an axis should be a list of values, got 2"),
        ("variants: {r: {method.name: random, method: {name: mtt}}}",
         "sweep.yaml:2:16: variants.r.method.name: the key is repeated, nested and with dots"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_with_its_position(sweep_file: Write, text: str, line: str):
    problems = problems_of(sweep_file(f"name: demo\n{text}\n"))
    assert problems[0].startswith(line)


def test_all_errors_are_shown_in_the_order_of_the_file(sweep_file: Write):
    problems = problems_of(
        sweep_file(
            "name: demo\n"
            "stages: [{images_per_class: 1, method: {reel: 3}}]\n"
            "data: {pool: 0}\n"
            "variants: {a: {model: {width: x}}}\n"
            "grid: {method.name: [mtt, radom], data.split_seed: 3}\n"
        )
    )
    assert [problem.split(" ")[0] for problem in problems] == [
        "sweep.yaml:2:41:",
        "sweep.yaml:3:8:",
        "sweep.yaml:4:24:",
        "sweep.yaml:5:27:",
        "sweep.yaml:5:35:",
    ]


def test_an_empty_file_is_refused(sweep_file: Write):
    assert problems_of(sweep_file("")) == [
        "sweep.yaml: a sweep is a mapping with at least a `name`, got None"
    ]


def test_a_sweep_needs_a_name(sweep_file: Write):
    problems = problems_of(sweep_file("seeds: [0]\n"))
    assert problems == ["sweep.yaml:1:1: name: this key is required and missing"]


# --- overrides -----------------------------------------------------------------------------------


def test_overrides_change_any_key(sweep_file: Write):
    sweep = load_sweep(
        sweep_file(),
        [
            "method.iterations=20",
            "seeds=[3]",
            "stages.count=3",
            "stages[2].images_per_class=4",
            "stages[1].method.max_start_epoch=7",
            "resources.stage.cpus=2",
            "grid.method.gradient=[exact, tesla]",
            "variants.a={}",
            "variants.b.method.name=random",
            "variants.b.grid.stages=[{count: 1, images_per_class: 3}]",
            "name=other",
        ],
    ).spec
    assert sweep.stage_method(2).model_dump()["max_start_epoch"] == 7
    assert [stage.images_per_class for stage in sweep.stages] == [1, 1, 4]
    assert (sweep.name, sweep.seeds, sweep.resources.stage.cpus) == ("other", (3,), 2.0)
    assert sweep.grid == {"method.gradient": ("exact", "tesla")}
    assert sweep.variants == {
        "a": {},
        "b": {
            "method": {"name": "random"},
            "grid": {"stages": [{"count": 1, "images_per_class": 3}]},
        },
    }
    assert sweep.stage_method(1).model_dump()["iterations"] == 20


def test_naming_another_method_drops_the_keys_of_the_old_one(sweep_file: Write):
    text = SWEEP.replace("{count: 2, images_per_class: 1}", "[{images_per_class: 1, "
                         "method: {iterations: 3}}]")  # fmt: skip
    sweep = load_sweep(sweep_file(text), ["method.name=random"]).spec
    assert sweep.method.name == "random"
    assert sweep.stages[0].method == {}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("method.iteratoins=3",
         "override method.iteratoins: unknown key; did you mean 'iterations'? allowed: "),
        ("method={reel: 3}", "override method.reel: unknown key; allowed: "),
        ("seeds=x", "override seeds: should be a list, got 'x'"),
        ("seeds=[", "override seeds: '[' is not a YAML value (expected the node content"),
        ("seeds", "override 'seeds': expected KEY=VALUE, such as method.iterations=20"),
        ("=3", "override '=3': expected KEY=VALUE"),
        ("a..b=3", "override a..b: 'a..b' is not a key"),
        ("stages[2].images_per_class=3",
         "override stages[2]: there is no [2]; the list has 2 entries, counted "
         "from [0]"),
        ("grid.method.iterations=3",
         "override grid.method.iterations: an axis should be a list of values, got 3"),
        ("variants.b.method.name=rand",
         "override variants.b.method.name: unknown name 'rand'; did you mean 'random'?"),
    ],
)  # fmt: skip
def test_a_bad_override_is_one_line(sweep_file: Write, override: str, line: str):
    assert problems_of(sweep_file(), override)[0].startswith(line)


def test_an_override_that_a_grid_axis_hides_is_refused(sweep_file: Write):
    file = sweep_file(SWEEP + "grid: {method.iterations: [1, 2]}\n")
    assert problems_of(file, "method.iterations=9") == [
        "override method.iterations: no effect, since every variant or a grid axis sets this key; "
        "override grid.method.iterations or variants.NAME.method.iterations instead"
    ]


def test_an_override_that_some_variant_shows_is_accepted(sweep_file: Write):
    file = sweep_file(SWEEP + "variants: {a: {method.iterations: 1}, b: {}}\n")
    assert load_sweep(file, ["method.iterations=9"]).spec.method.model_dump()["iterations"] == 9


KEYS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3).map(".".join)


@given(st.lists(st.tuples(KEYS, st.integers(0, 9)), max_size=6))
def test_the_last_override_of_a_key_counts(pairs: list[tuple[str, int]]):
    root = from_plain({}, Place("f: ", ""))
    expected: dict[str, object] = {}
    for key, value in pairs:
        *parents, last = key.split(".")
        at = expected
        for parent in parents:
            child = at.get(parent)
            at[parent] = child if isinstance(child, dict) else {}
            at = at[parent]  # type: ignore[assignment]
        at[last] = value
    assert apply_overrides(root, [f"{key}={value}" for key, value in pairs]).plain() == expected


# --- where sweeps are -----------------------------------------------------------------------------


def test_paths_are_relative_to_the_file_and_overrides_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", "/home/me")
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\ndata: {source: npz, root: a.npz}\n"
        "variants: {v: {data.root: b.npz}, w: {data: {root: ~/c.npz}}}\n"
        "grid: {data.root: [d.npz]}\n"
    )
    sweep = load_sweep(str(path)).spec
    assert sweep.data.root == tmp_path / "a.npz"
    assert sweep.variants["v"]["data"]["root"] == str(tmp_path / "b.npz")
    assert sweep.variants["w"]["data"]["root"] == "/home/me/c.npz"
    assert sweep.grid["data.root"] == (str(tmp_path / "d.npz"),)
    sweep = load_sweep(str(path), ["variants={}", "grid={}", "data.root=x.npz"]).spec
    assert sweep.data.root == tmp_path / "here" / "x.npz"
    sweep = load_sweep(str(path), ["variants={}", "grid={}", "data.root=~/x"]).spec
    assert sweep.data.root == Path("/home/me/x")


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid(name: str):
    assert load_collection(name) == load_collection(f"{name}.yaml")


def test_a_sweep_that_ran_is_found_by_its_name(sweep_file: Write, tmp_path: Path):
    store = Store(tmp_path / "store")
    sweep = load_sweep(sweep_file(SWEEP.replace("demo", "mine")))
    write_json(store.sweep_folder("mine") / "sweep.json", resolved(sweep.spec))
    assert load_sweep("mine", store=store) == sweep
    assert load_sweep("mine", ["seeds=[7]"], store).spec.seeds == (7,)


def test_what_is_not_found_is_refused_with_what_there_is(sweep_file: Write, tmp_path: Path):
    sweep_file()
    store = Store(tmp_path / "store")
    write_json(store.sweep_folder("ablation") / "sweep.json", {})
    problems = problems_of("ablaton", store=store)
    assert problems[0] == (
        "no sweep 'ablaton': it is not a file, a preset or a sweep of the store; did you mean "
        "'ablation'?"
    )
    assert problems[1].startswith("presets: ")
    assert problems[2] == f"sweeps of the store {tmp_path / 'store'}: ablation"
    assert problems_of("swep.yaml")[1] == "files in .: sweep.yaml"


def test_the_resolved_sweep_is_the_same_sweep(sweep_file: Write):
    sweep = load_sweep(
        sweep_file(
            SWEEP + "variants: {a:, b: {method.name: dm, grid: {stages.count: [1, 2]}}}\n"
            "grid: {method.max_start_epoch: [1, 3]}\n"
        )
    )
    for text in (yaml.dump(resolved(sweep.spec)), json.dumps(resolved(sweep.spec))):
        Path("again.yaml").write_text(text, encoding="utf-8")
        assert load_sweep("again.yaml") == sweep
    assert list(resolved(sweep.spec))[:3] == ["name", "description", "seeds"]


def test_the_schema_describes_every_key():
    schema = sweep_schema()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"$ref": "#/$defs/EqualStagesSpec"} in schema["properties"]["stages"]["anyOf"]
    undescribed = [
        f"{name}.{key}"
        for name, definition in [("SweepSpec", schema), *schema["$defs"].items()]
        for key, entry in definition.get("properties", {}).items()
        if "description" not in entry
    ]
    assert undescribed == []
