"""Facts about YAML reading and about documents that remember their lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdd_ray.configuration import yaml
from pdd_ray.configuration.document import Node, Place, from_plain, nest, split_path
from pdd_ray.configuration.merge import merge, undot
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.identities import Json

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
HERE = Place("here: ", "")


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        yaml.parse(text, "f.yaml")
    return str(caught.value).splitlines()


@given(JSON)
def test_what_is_dumped_is_read_back(value: Json):
    assert yaml.parse(yaml.dump(value), "f").plain() == value


@given(JSON)
def test_a_document_from_plain_values_is_plain_again(value: Json):
    assert from_plain(value, HERE).plain() == value


def test_every_value_knows_its_line_and_column():
    root = yaml.parse("a: 1\nb:\n  - x\n  - {c: 2}\n", "f.yaml")
    places = [str(node.place) for node in root.walk()]
    assert places == [
        "f.yaml:1:1",
        "f.yaml:1:1: a",
        "f.yaml:2:1: b",
        "f.yaml:3:5: b[0]",
        "f.yaml:4:5: b[1]",
        "f.yaml:4:6: b[1].c",
    ]


def test_yaml_is_version_1_2_and_keys_are_text():
    plain = yaml.parse("on: yes\n1: 0o17\ne: 1e-5\nday: 2020-01-01\n~: null\n", "f").plain()
    assert plain == {"on": "yes", "1": 15, "e": 1e-5, "day": "2020-01-01", "~": None}


def test_aliases_repeat_a_value():
    assert yaml.parse("a: &x {b: 1}\nc: *x\n", "f").plain() == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: c", "f.yaml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: [1,\nb: 2]\nc: ]", "f.yaml:3:4: not valid YAML:"),
        ("a:\n\t- 1", "f.yaml:2:1: not valid YAML:"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: not valid YAML: but found another document"),
        ("a: *x", "f.yaml:1:4: not valid YAML: found undefined alias 'x'"),
        ("a: \x00", "f.yaml: not valid YAML: unacceptable character"),
        ("a: .nan", "f.yaml:1:1: a: .nan is not a finite number"),
        ("a: [-.inf]", "f.yaml:1:5: a[0]: -.inf is not a finite number"),
        ("a: !thing 3", "f.yaml:1:1: a: the tag !thing is not supported"),
        ("a: !!int x", "f.yaml:1:1: a: 'x' is not a valid int"),
        ("? [1]\n: 2", "f.yaml:1:3: ?: a key must be text"),
        ("a: &x [*x]", "f.yaml:1:4: a[0]: an alias must not contain itself"),
    ],
)
def test_a_bad_file_is_refused_with_its_position(text: str, line: str):
    assert problems_of(text)[0].startswith(line)


def test_all_repeated_keys_are_reported():
    assert problems_of("a: 1\nb: {c: 1, c: 2}\na: 2\n") == [
        "f.yaml:2:11: b.c: the key is repeated, it is also on line 2",
        "f.yaml:3:1: a: the key is repeated, it is also on line 1",
    ]


@given(st.lists(NAMES | st.integers(0, 20).map("[{}]".format), min_size=1, max_size=5))
def test_a_path_is_split_at_dots_and_brackets(segments: list[str]):
    path = ""
    for segment in segments:
        path += segment if segment.startswith("[") or not path else f".{segment}"
    assert split_path(path, HERE) == segments


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a[b]", "a[1", "a]", "a.[1]x"])
def test_what_is_no_path_is_refused(path: str):
    with pytest.raises(ConfigError, match="is not a key"):
        split_path(path, HERE)


@given(st.dictionaries(NAMES, JSON, max_size=3), NAMES, SCALARS)
def test_merging_one_key_changes_that_key_only(base: dict[str, Json], key: str, value: Json):
    merged = merge(from_plain(base, HERE), nest([key], Node(value, HERE)))
    assert merged.plain() == {**base, key: value}


def test_mappings_are_merged_and_everything_else_is_replaced():
    base = from_plain({"a": {"b": 1, "c": [1, 2]}, "d": 1}, HERE)
    patch = from_plain({"a": {"c": [3], "e": 4}, "d": {"f": 5}}, HERE)
    assert merge(base, patch).plain() == {"a": {"b": 1, "c": [3], "e": 4}, "d": {"f": 5}}


def test_an_empty_mapping_empties():
    base = from_plain({"a": {"b": 1}}, HERE)
    assert merge(base, from_plain({"a": {}}, HERE)).plain() == {"a": {}}


def test_dotted_keys_are_nested_beside_others():
    entries = from_plain({"a.b": 1, "a": {"c": 2}, "a.d.e": 3}, HERE).mapping()
    nested = {key: node.plain() for key, node in undot(entries).items()}
    assert nested == {"a": {"b": 1, "c": 2, "d": {"e": 3}}}


def test_a_key_given_nested_and_dotted_is_refused():
    entries = from_plain({"a": {"b": 1}, "a.b": 2}, HERE).mapping()
    with pytest.raises(ConfigError, match=r"here: a\.b: the key is repeated"):
        undot(entries)
