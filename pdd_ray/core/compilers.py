"""Whether this machine has the C++ compiler that torch.compile calls."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

COMPILERS = ("g++", "clang++", "c++")


def find_compiler() -> str | None:
    """Return the name of the first C++ compiler that is there, that of ``CXX`` before others."""
    which: Callable[[str], str | None] = shutil.which
    wanted = os.environ.get("CXX", "")
    return next((name for name in (wanted, *COMPILERS) if name and which(name)), None)
