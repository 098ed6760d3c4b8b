"""Facts about descriptions of keys: they come from the fields, and every key has one."""

from __future__ import annotations

import pytest

from docs import defaults
from pdd_ray.configuration import yaml
from pdd_ray.configuration.describe import REQUIRED, DescribedKey, describe, inline, sections
from pdd_ray.configuration.load import resolved, sweep_from
from pdd_ray.core.errors import ConfigError


def described(key: str) -> dict[str, DescribedKey]:
    return {each.name: each for each in describe(key).keys}


def test_a_key_has_its_default_what_it_may_be_and_its_docstring():
    assert described("method.mtt")["inner_steps"] == DescribedKey(
        "inner_steps", "20", "integer ≥ 1", "T: steps of the student per iteration (`syn_steps`)."
    )
    assert described("experts")["momentum"].allowed == "number ≥ 0, < 1"
    assert described("data")["root"].allowed == "path or `null`"
    assert described("data")["resize"].allowed == "[integer, integer] or `null`"
    assert described("method.idc")["match"].allowed == "`gradient` or `features`"
    assert described("evaluation")["epochs"].allowed == "integer or `paper`"
    assert described("")["method"].allowed == "mapping with `name`"
    assert described("evaluation")["models"].allowed == "[mapping with `name`, ...] or `null`"
    assert described("stages")["images_per_class"].default == REQUIRED


@pytest.mark.parametrize("key", sections())
def test_every_key_says_what_it_means_and_what_it_may_be(key: str):
    found = describe(key)
    assert found.text
    assert [each.name for each in found.keys if not (each.text and each.allowed)] == []


def test_the_sections_are_all_keys_with_keys_below_them():
    found = sections()
    assert found[0] == ""
    for key in ("data", "method.mtt.selection", "evaluation.models.resnet", "table.choose"):
        assert key in found
    assert len(found) == len(set(found))


def test_defaults_are_those_that_a_sweep_gets():
    values = resolved(sweep_from({"name": "plain"}).spec)
    for key in ("data", "experts", "forgetting", "transition", "evaluation", "resources", "table"):
        for name, each in described(key).items():
            if each.allowed.split(" or ")[0] != "mapping":
                assert yaml.parse(each.default, name).plain() == values[key][name]


def test_all_defaults_together_make_the_sweep_without_keys():
    given = {
        name: yaml.parse(each.default, name).plain()
        for name, each in described("").items()
        if each.default != REQUIRED
    }
    assert resolved(sweep_from({"name": "plain", **given}).spec) == resolved(
        sweep_from({"name": "plain"}).spec
    )


@pytest.mark.parametrize("value", ["", "null", "1e5", "a b", 1e-5, None, True, [1, {"a": ["b"]}]])
def test_a_value_on_one_line_is_read_back(value: object):
    assert yaml.parse(inline(value), "line").plain() == value  # type: ignore[arg-type]


def test_a_key_of_several_kinds_lists_them_or_one_key_of_all():
    assert dict(describe("method").choices)["dsa"].startswith("DSA (Zhao and Bilen 2021)")
    assert describe("method").keys == ()
    found = described("method.initialisation")
    assert (found["dc.initialisation"].default, found["mtt.initialisation"].default) == (
        "noise",
        "real",
    )
    assert "random.initialisation" not in found


def test_a_key_without_keys_below_is_described_itself():
    assert describe("experts.epochs").keys == (described("experts")["epochs"],)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("expert", "'experts'"),
        ("method.mtt.inner_step", "'method.mtt.inner_steps'"),
        ("data..root", "'data.root'"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_one(key: str, meant: str):
    with pytest.raises(ConfigError, match=rf"no key '{key}' in a sweep; did you mean {meant}\?"):
        describe(key)


def test_a_stale_table_is_written_anew_and_what_is_around_it_stays():
    text = (
        "before\n\n<!-- defaults: method.dsa beyond method.dc -->\n| old |\n<!-- end -->\n\nafter\n"
    )
    written = defaults.with_current_tables(text)
    assert written.startswith("before\n\n<!-- defaults: method.dsa beyond method.dc -->\n| key |")
    assert written.endswith("|\n<!-- end -->\n\nafter\n")
    assert "| `initialisation` | `real` |" in written
    assert "`iterations`" not in written
    assert defaults.with_current_tables(written) == written
