"""Facts about how a sweep becomes experiments."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pdd_ray.configuration.document import Place, from_plain
from pdd_ray.configuration.expand import LoadedSweep, expand
from pdd_ray.configuration.experiment import ExperimentSpec
from pdd_ray.configuration.load import check_sweep, load_collection, presets
from pdd_ray.configuration.merge import undot
from pdd_ray.configuration.sweep import SweepSpec
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.identities import Json


def sweep_of(**entries: object) -> LoadedSweep:
    return check_sweep(from_plain({"name": "s", **entries}, Place("test: ", "")))  # type: ignore[dict-item]


def test_a_sweep_without_variants_has_one_that_is_called_base():
    experiments = sweep_of(seeds=[3, 1]).experiments
    assert [(e.sweep, e.variant, e.seed, dict(e.axes)) for e in experiments] == [
        ("s", "base", 3, {}),
        ("s", "base", 1, {}),
    ]


def test_variants_are_crossed_with_the_grid_and_the_seeds_in_order():
    experiments = sweep_of(
        seeds=[0, 1],
        variants={"a": {}, "b": {"method": {"momentum": 0.1}}},
        grid={"method.iterations": [5, 7], "data.pool": [1, 2]},
    ).experiments
    found = [(e.variant, *e.axes.values(), e.seed) for e in experiments]
    assert found == list(itertools.product("ab", [5, 7], [1, 2], [0, 1]))
    assert [e.spec.method.momentum for e in experiments] == [0.5] * 8 + [0.1] * 8


def test_the_grid_is_stronger_than_a_variant_and_a_variant_than_the_base():
    experiments = sweep_of(
        method={"iterations": 1, "inner_steps": 1, "momentum": 0.1},
        variants={"a": {"method.iterations": 2, "method": {"inner_steps": 2}}},
        grid={"method.iterations": [3]},
    ).experiments
    method = experiments[0].spec.method.model_dump()
    assert (method["iterations"], method["inner_steps"], method["momentum"]) == (3, 2, 0.1)


def test_another_method_drops_what_the_base_says_of_the_old_one():
    experiments = sweep_of(
        method={"iterations": 9},
        stages=[{"images_per_class": 1, "method": {"iterations": 3}}],
        variants={"random": {"method.name": "random"}, "mtt": {"method": {"name": "mtt"}}},
    ).experiments
    random, mtt = (experiment.spec for experiment in experiments)
    assert random.method.model_dump() == {"step_size": 0.01, "name": "random"}
    assert random.stages[0].method == {}
    assert mtt.stage_method(1).model_dump()["iterations"] == 3
    assert mtt.method.model_dump()["iterations"] == 9


def test_another_model_drops_the_keys_of_the_old_one():
    sweep = sweep_of(model={"width": 8}, grid={"model": [{"width": 4}, {"name": "resnet"}]})
    labels = [experiment.spec.model.label for experiment in sweep.experiments]
    assert labels == ["convnet-w4-d3", "resnet18-mtt-instance"]


def test_a_variant_may_have_a_grid_of_its_own():
    sweep = sweep_of(
        grid={"method.max_start_epoch": [1, 2]},
        variants={
            "mtt": {},
            "dm": {"method.name": "dm", "grid": {"stages.count": [1, 3]}},
            "plain": {"grid": {}},
        },
        stages={"count": 2, "images_per_class": 1},
    )
    assert [(e.variant, dict(e.axes)) for e in sweep.experiments] == [
        ("mtt", {"method.max_start_epoch": 1}),
        ("mtt", {"method.max_start_epoch": 2}),
        ("dm", {"stages.count": 1}),
        ("dm", {"stages.count": 3}),
        ("plain", {}),
    ]


@pytest.mark.parametrize(
    "base", [{"count": 1, "images_per_class": 4}, [{"images_per_class": 4}], None]
)
def test_stages_may_be_an_axis(base: dict[str, Json]):
    size = {"stages": base} if base else {"stages": {"count": 5, "images_per_class": 4}}
    by_count = sweep_of(**size, grid={"stages.count": [1, 2, 4]})
    whole = sweep_of(**size, grid={"stages": [{"count": 2, "images_per_class": 3}, {"count": 3}]})
    sizes = [[s.images_per_class for s in e.spec.stages] for e in by_count.experiments]
    assert sizes == [[4], [4, 4], [4, 4, 4, 4]]
    sizes = [[s.images_per_class for s in e.spec.stages] for e in whole.experiments]
    assert sizes == [[3, 3], [4, 4, 4]]


def test_unequal_stages_are_replaced_as_a_whole():
    stages = [{"images_per_class": 1}, {"images_per_class": 2}]
    sweep = sweep_of(stages=stages, grid={"stages": [{"count": 1, "images_per_class": 3}]})
    assert [s.images_per_class for s in sweep.experiments[0].spec.stages] == [3]
    with pytest.raises(ConfigError, match="images_per_class: this key is required"):
        sweep_of(stages=stages, grid={"stages.count": [1]})


def test_two_points_of_a_grid_that_make_the_same_experiment_are_refused():
    with pytest.raises(ConfigError) as caught:
        sweep_of(
            stages={"count": 2, "images_per_class": 1},
            grid={"stages": [{"count": 2}, {"images_per_class": 1}, {"count": 1}]},
        )
    assert str(caught.value) == (
        "test: grid.stages[1]: two points of the grid make the same experiment: "
        "stages={'images_per_class': 1} and {'count': 2}"
    )


def test_a_value_that_is_the_recipe_s_own_is_the_same_experiment():
    with pytest.raises(ConfigError, match=r"grid\.transition\.epochs\[1\]: two points of the grid"):
        sweep_of(grid={"transition.epochs": [None, 1000]})


def test_the_same_experiment_under_two_variants_is_kept():
    assert [e.variant for e in sweep_of(variants={"a": {}, "b": {}}).experiments] == ["a", "b"]


def test_a_sweep_made_in_python_is_checked_when_it_is_expanded():
    sweep = SweepSpec(name="s", variants={"v": {"method": {"reel": 1}}})
    with pytest.raises(ConfigError, match=r"^sweep s: variants\.v\.method\.reel: unknown key"):
        expand(sweep)


def models_below(kind: type[BaseModel]) -> Iterator[tuple[BaseModel, str]]:
    """Yield every default of a key below ``kind`` that is a specification, and its key."""
    for name, field in kind.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield field.default, f"{kind.__name__}.{name}"
            yield from models_below(type(field.default))


def test_what_a_key_says_in_part_does_not_change_the_rest_of_it():
    """Otherwise a file and the resolved sweep would not have the same experiments."""
    defaults = list(models_below(SweepSpec))
    assert len(defaults) > 10
    assert [key for default, key in defaults if default != type(default)()] == []


AXES = {
    "method.iterations": st.integers(1, 50),
    "method.momentum": st.floats(0, 0.9),
    "data.pool": st.integers(1, 4),
    "stages.count": st.integers(1, 4),
    "model.width": st.integers(1, 64),
    "evaluation.epochs": st.integers(1, 9),
}
GRIDS = st.lists(st.sampled_from(sorted(AXES)), unique=True, max_size=3).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.lists(AXES[name], min_size=1, max_size=3, unique=True) for name in names}
    )
)
PATCHES = st.fixed_dictionaries({}, optional=AXES)
VARIANTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), PATCHES, max_size=3)
SEEDS = st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True)


@given(PATCHES, VARIANTS, GRIDS, SEEDS)
def test_every_combination_is_one_experiment_that_has_its_values(
    base: dict[str, Json],
    variants: dict[str, dict[str, Json]],
    grid: dict[str, list[Json]],
    seeds: list[int],
):
    sweep = check_sweep(_document({**base, "variants": variants, "grid": grid, "seeds": seeds}))
    experiments = sweep.experiments
    points = itertools.product(*grid.values())
    count = max(1, len(variants)) * len(list(points)) * len(seeds)
    assert len(experiments) == count
    for experiment in experiments:
        wanted = {**base, **variants.get(experiment.variant, {}), **experiment.axes}
        found = {key: _value(experiment.spec, key) for key in wanted}
        assert found == wanted


@given(PATCHES, VARIANTS, GRIDS)
def test_a_loaded_sweep_has_the_experiments_of_the_resolved_one(
    base: dict[str, Json], variants: dict[str, dict[str, Json]], grid: dict[str, list[Json]]
):
    sweep = check_sweep(_document({**base, "variants": variants, "grid": grid}))
    assert list(sweep.experiments) == expand(sweep.spec)


@pytest.mark.parametrize("name", presets())
def test_a_preset_has_the_experiments_of_the_resolved_one(name: str):
    for sweep in load_collection(name).sweeps:
        assert list(sweep.experiments) == expand(sweep.spec)


def _document(entries: dict[str, Json]):
    stages = {"count": 1, "images_per_class": 2} | {
        key.split(".")[1]: value for key, value in entries.items() if key == "stages.count"
    }
    entries = {key: value for key, value in entries.items() if key != "stages.count"}
    root = from_plain({"name": "s", **entries, "stages": stages}, Place("test: ", ""))
    return root.with_value(undot(root.mapping()))


def _value(spec: ExperimentSpec, key: str):
    value = spec
    for name in key.split("."):
        value = len(spec.stages) if name == "count" else getattr(value, name)
    return value
