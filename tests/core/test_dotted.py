"""Facts about dotted names."""

from hypothesis import given
from hypothesis import strategies as st

from pdd_ray.core.dotted import axis_of, flat, grid_key, last_part


def test_settings_get_dotted_keys():
    nested = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": {}, "f": None}
    assert flat(nested) == {"a.b": 1, "a.c.d": [1, 2], "e": {}, "f": None}


def test_lists_of_mappings_are_entered_if_that_is_asked_for():
    nested = {"stages": [{"n": 1}, {"n": 2, "method": {"lr": 3}}], "modes": ["a", "b"]}
    assert flat(nested) == nested
    assert flat(nested, lists=True) == {
        "stages[0].n": 1,
        "stages[1].n": 2,
        "stages[1].method.lr": 3,
        "modes": ["a", "b"],
    }


NAMES = st.text("abc", min_size=1, max_size=3)
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        st.integers(), lambda inner: st.dictionaries(NAMES, inner, min_size=1), max_leaves=9
    ),
)


@given(TREES)
def test_flat_settings_nested_again_are_the_settings(tree: dict[str, object]):
    nested: dict[str, object] = {}
    for key, value in flat(tree).items():
        *folders, name = key.split(".")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})  # type: ignore[assignment]
        place[name] = value
    assert nested == tree


def test_the_last_part_is_behind_the_last_dot():
    assert last_part("method.selection.every") == "every"
    assert last_part("variant") == "variant"


def test_a_grid_key_is_that_of_its_axis_and_of_nothing_else():
    assert axis_of(grid_key("method.iterations")) == "method.iterations"
    assert [axis_of(key) for key in ("grid", "grid.", "gridded.a", "method.grid.a")] == [None] * 4
