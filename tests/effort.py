"""How much work a computation is, as a count: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def python_calls(work: Callable[[], object]) -> int:
    """Return how many Python functions ``work`` calls; every value of a generator is a call."""
    calls = 0

    def see(_frame: FrameType, event: str, _argument: Any) -> None:  # noqa: ANN401 - see sys
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls
