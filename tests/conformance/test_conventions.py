"""The rules that the vectors' conventions state: hash values, digests, tolerances."""

import pytest
import torch

from tests.conformance.closeness import Bound, assert_close, assert_digest, digest
from tests.conformance.reading import formula_weight, hash_tensor, hash_values


@pytest.mark.parametrize(
    ("seed", "number", "index", "value"),
    [
        (0, 0, 0, 0.4951635205652565),
        (0, 0, 1, 0.7373219889122993),
        (11, 0, 0, 0.4980931815225631),
        (11, 3, 5, 0.7022244855761528),
        (7, 0, 1000, 0.5267554759047925),
    ],
)
def test_hash_values_are_the_examples_of_the_conventions(
    seed: int, number: int, index: int, value: float
):
    assert hash_values(seed, number, index + 1)[index] == pytest.approx(value, rel=1e-15)


def test_hash_tensors_are_rounded_to_float32():
    tensor = hash_tensor(9, 9, (3, 5), -1.0, 1.0)
    assert torch.equal(tensor, tensor.float().double())
    assert float(tensor.min()) >= -1


@pytest.mark.parametrize(
    ("name", "shape", "centre", "spread"),
    [
        ("a.weight", (8, 4, 3, 3), 0.0, 1 / 6),
        ("a.weight", (8, 25), 0.0, 1 / 5),
        ("a.weight", (8,), 1.0, 0.2),
        ("a.weight", (8, 4, 4), 1.0, 0.2),
        ("a.bias", (8,), 0.0, 0.2),
    ],
)
def test_formula_weights_have_the_range_of_their_kind(
    name: str, shape: tuple[int, ...], centre: float, spread: float
):
    value = formula_weight(name, shape, 3, 1)
    assert value.shape == shape
    assert float((value - centre).abs().max()) <= spread * (1 + 1e-6)


def test_a_digest_changes_with_any_value():
    value = torch.arange(6.0).view(2, 3)
    assert_digest("same", value, digest(value), 1e-12)
    other = value.clone()
    other[1, 2] += 1e-6
    with pytest.raises(AssertionError, match="other: digest error"):
        assert_digest("other", other, digest(value), 1e-9)


def test_bounds_are_absolute_plus_relative():
    got, expected = torch.tensor([1.0, 100.0]), torch.tensor([1.0, 101.0])
    assert_close("near", got, expected, Bound(relative=0.01))
    with pytest.raises(AssertionError, match="far: largest error 1"):
        assert_close("far", got, expected, Bound(relative=0.009))
    assert_close("far", got, expected, Bound(relative=0.009, absolute=0.1))


def test_values_that_are_not_numbers_are_never_close():
    with pytest.raises(AssertionError, match="nan"):
        assert_close("nan", torch.tensor([float("nan")]), torch.tensor([0.0]), Bound(1.0, 1.0))
