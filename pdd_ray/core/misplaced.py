"""MisplacedError: a problem between several values, told at the one that should change."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator


class MisplacedError(ValueError):
    """A problem found by the specification of a whole; ``keys`` lead to where it is."""

    def __init__(self, message: str, *keys: str) -> None:
        super().__init__(message)
        self.keys = keys


@contextmanager
def problem_at(*keys: str) -> Iterator[None]:
    """Turn what is wrong with a value that follows from several ones into a MisplacedError."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        text = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if first["type"] == "extra_forbidden":
            text = "unknown key"
        raise MisplacedError(text, *keys, *map(str, first["loc"])) from error
