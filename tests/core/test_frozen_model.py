"""What of a configuration belongs to an identity, and what may be added later."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import ValidationError

from pdd_ray.core.frozen_model import LEFT_OUT_AT_DEFAULT, FrozenModel


class Inner(FrozenModel):
    width: int = 3


class InnerOfALaterVersion(Inner):
    depth: Annotated[int, LEFT_OUT_AT_DEFAULT] = 1


class Outer(FrozenModel):
    inner: Inner = Inner()
    name: str = "x"


class OuterOfALaterVersion(FrozenModel):
    inner: InnerOfALaterVersion = InnerOfALaterVersion()
    name: str = "x"
    precise: Annotated[bool, LEFT_OUT_AT_DEFAULT] = False


def test_a_field_that_was_added_changes_an_identity_only_where_it_is_used():
    before = Outer(inner=Inner(width=5)).identity()
    later = OuterOfALaterVersion(inner=InnerOfALaterVersion(width=5))
    assert later.identity() == before
    assert later.to_json() != before
    used = OuterOfALaterVersion(inner=InnerOfALaterVersion(width=5, depth=2), precise=True)
    assert used.identity() == {"inner": {"width": 5, "depth": 2}, "name": "x", "precise": True}


def test_an_identity_gives_the_value_again():
    for value in (OuterOfALaterVersion(), OuterOfALaterVersion(precise=True)):
        assert OuterOfALaterVersion.model_validate(value.identity()) == value


def test_values_are_frozen_and_hashable_and_reject_unknown_keys():
    value = Outer()
    assert hash(value) == hash(Outer())
    with pytest.raises(ValidationError):
        value.name = "y"
    with pytest.raises(ValidationError):
        Outer.model_validate({"nam": "y"})
