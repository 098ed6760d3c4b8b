"""How sweeps differ from the paper's settings, which another sweep has."""

from dataclasses import replace
from pathlib import Path

import pytest

from pdd_analysis.fields import setting_key
from pdd_analysis.published import Published, SettingComparison
from pdd_ray.configuration.expand import LoadedSweep
from pdd_ray.configuration.load import load_sweep, presets
from pdd_ray.core.errors import ConfigError
from pdd_ray.results.paper_settings import differences, published_beside

PAPER = """\
name: of-the-paper
data: {source: cifar10, root: data, preprocessing: zca}
method: {name: mtt, iterations: 5000}
stages: {count: 5, images_per_class: 10}
evaluation: {networks: 5}
variants:
  pdd:
  alone: {stages: {count: 1, images_per_class: 50}}
  chosen: {grid: {method.max_start_epoch: [2, 15]}}
  updated: {method: {update_previous: {}}}
  hard: {method: {difficulty: {}}}
  continual: {continual: {protocol: A}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "paper.yaml").write_text(PAPER, encoding="utf-8")
    return tmp_path


def own(folder: Path, *overrides: str, text: str = PAPER) -> LoadedSweep:
    """Return a sweep of Table 1 with the settings of PAPER, changed by ``overrides``."""
    head = f"paper: Table 1\nreference: {folder / 'paper.yaml'}\n"
    path = folder / "own.yaml"
    path.write_text(head + text.replace("of-the-paper", "own"), encoding="utf-8")
    return load_sweep(str(path), overrides)


def changed(sweep: LoadedSweep, **keys: object) -> LoadedSweep:
    """Return ``sweep`` with other values of keys that no experiment has."""
    return replace(sweep, spec=sweep.spec.model_copy(update=keys))


def settings_of(sweep: LoadedSweep) -> dict[str, SettingComparison]:
    published = published_beside(sweep)
    assert published is not None
    return dict(published.settings)


def test_a_sweep_with_the_papers_settings_differs_in_nothing(folder: Path) -> None:
    published = published_beside(own(folder))
    assert published is not None
    assert (published.table, published.reference) == ("Table 1", str(folder / "paper.yaml"))
    assert len(published.settings) == 7
    assert {setting.differs for setting in published.settings.values()} == {()}


def test_where_data_lies_and_what_is_evaluated_how_often_makes_no_difference(folder: Path) -> None:
    sweep = own(
        folder,
        "data.root=elsewhere",
        "seeds=[3, 4]",
        "evaluation.networks=2",
        "evaluation.prefixes=last",
        "evaluation.curve_points=3",
        "description=mine",
        "protocol=reference",
        "resources.stage.cpus=4",
    )
    assert {setting.differs for setting in settings_of(sweep).values()} == {()}


def test_settings_that_differ_are_given_with_the_papers(folder: Path) -> None:
    settings = settings_of(own(folder, "model.width=32", "variants.pdd.stages.count=3"))
    assert settings[setting_key("pdd", {})].differs == (
        "stages: 3 x 10 (5 x 10)",
        "model.width: 32 (128)",
    )
    assert settings[setting_key("alone", {})].differs == ("model.width: 32 (128)",)


def test_what_a_recipe_says_is_the_same_as_saying_it(folder: Path) -> None:
    said = (
        "variants.pdd.transition.epochs=1000",
        "variants.pdd.evaluation.recipe=mtt",
        "variants.pdd.evaluation.batch_size=256",
        "variants.pdd.evaluation.single_stage_epochs=1000",
    )
    assert settings_of(own(folder, *said))[setting_key("pdd", {})].differs == ()
    other = settings_of(own(folder, "transition.epochs=30", "evaluation.recipe=dc"))
    assert other[setting_key("pdd", {})].differs == (
        "transition.epochs: 30 (1000)",
        "evaluation.augmentation: none (color_crop_cutout_flip_scale_rotate)",
        "evaluation.reset_momentum_at_decay: true (false)",
        "evaluation.single_stage_epochs: 300 (1000)",
    )


def test_a_setting_that_only_one_side_has_is_shown_as_missing_on_the_other() -> None:
    assert differences({"a": "1", "b": "2"}, {"a": "1", "c": "3"}) == ("b: 2 (–)", "c: – (3)")  # noqa: RUF001


def test_another_method_differs_in_its_name_and_options(folder: Path) -> None:
    differs = settings_of(own(folder, "variants.pdd.method.name=dc"))[
        setting_key("pdd", {})
    ].differs
    assert "method.name: dc (mtt)" in differs
    assert any(text.startswith("method.expert_epochs: – (") for text in differs)  # noqa: RUF001


def test_a_point_of_a_grid_is_held_against_the_nearest_of_the_paper(folder: Path) -> None:
    text = PAPER.replace("[2, 15]", "[2, 4]")
    settings = settings_of(own(folder, text=text))
    axis = "method.max_start_epoch"
    assert settings[setting_key("chosen", {axis: 2})].differs == ()
    assert settings[setting_key("chosen", {axis: 4})].differs == ("method.max_start_epoch: 4 (2)",)


def test_a_variant_that_the_reference_does_not_have_differs(folder: Path) -> None:
    text = PAPER.replace("  pdd:\n", "  mine:\n")
    (differs,) = settings_of(own(folder, text=text))[setting_key("mine", {})].differs
    assert differs.startswith("no variant 'mine' in ")


def test_what_records_do_not_say_is_read_from_the_configuration(folder: Path) -> None:
    settings = settings_of(own(folder))
    assert settings[setting_key("pdd", {})] == SettingComparison()
    assert settings[setting_key("updated", {})] == SettingComparison(update_previous=True)
    assert settings[setting_key("hard", {})] == SettingComparison(easy_to_hard=True)
    assert settings[setting_key("continual", {})] == SettingComparison(continual_protocol="A")


def test_a_sweep_without_table_or_reference_is_beside_nothing(folder: Path) -> None:
    sweep = own(folder)
    assert published_beside(changed(sweep, paper=None)) is None
    assert published_beside(changed(sweep, reference=None)) is None


def test_a_reference_that_is_no_sweep_is_named(folder: Path) -> None:
    sweep = changed(own(folder), reference="paper/tabel1")
    with pytest.raises(ConfigError, match="reference: no sweep 'paper/tabel1'"):
        published_beside(sweep)


@pytest.mark.parametrize("name", [name for name in presets() if name.startswith("paper/")])
def test_presets_of_the_paper_have_the_papers_settings(name: str) -> None:
    published = published_beside(load_sweep(name))
    assert isinstance(published, Published)
    assert published.reference == name
    assert {setting.differs for setting in published.settings.values()} == {()}
    other = published_beside(load_sweep(name, ["seeds=[7]"]))
    assert other is not None
    assert replace(other, settings={}) == replace(published, settings={})
