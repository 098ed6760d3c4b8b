"""Identities and random streams are stable."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdd_ray.core.identities import canonical_json, digest, file_digest
from pdd_ray.core.seeding import derive_seed, generator

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values))
def test_the_order_of_keys_does_not_matter(value):
    assert digest(value) == digest(dict(reversed(list(value.items()))))


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes"])
def test_values_without_a_stable_text_are_refused(value):
    with pytest.raises(TypeError):
        canonical_json(value)


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_identities_are_the_same_in_every_process(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    code = (
        "import sys, pathlib; from pdd_ray.core.identities import digest, file_digest;"
        "from pdd_ray.core.seeding import derive_seed;"
        "print(digest({'a': [1, 2.5, None]}), file_digest(pathlib.Path(sys.argv[1])),"
        "derive_seed(0, 'expert', 3))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    expected = digest({"a": [1, 2.5, None]}), file_digest(path), derive_seed(0, "expert", 3)
    assert run.stdout.split() == [str(value) for value in expected]


@given(st.integers(), st.lists(st.text() | st.integers(), min_size=1))
def test_streams_of_different_names_differ(seed, names):
    assert derive_seed(seed, *names) != derive_seed(seed, *names, "more")
    assert derive_seed(seed, *names) != derive_seed(seed + 1, *names)
    assert 0 <= derive_seed(seed, *names) < 2**63


def test_an_integer_and_its_text_are_different_names():
    assert derive_seed(0, 1) != derive_seed(0, "1")


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    torch.rand(3, generator=generator(0, "anything"))
    assert torch.equal(before, torch.get_rng_state())
