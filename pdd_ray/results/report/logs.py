"""The end of a log as plain text that is safe to show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST_LINES = 200
"""Lines of one log on a page."""
MOST_BYTES = 64_000
"""Bytes that are read from the end of a log."""

_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
"""Sequences that colour text or move the cursor."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Log:
    """The last lines of a log.

    Attributes:
        text: The lines.
        lines: How many they are.
        whole: Whether the log has no others.
    """

    text: str
    lines: int
    whole: bool


def read_log(path: Path, lines: int = MOST_LINES, size: int = MOST_BYTES) -> Log | None:
    """Return the end of the log ``path``; None if there is no such file.

    Args:
        path: The file.
        lines: Most lines to return.
        size: Most bytes to read.
    """
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - size)
            file.seek(start)
            content = file.read(size)
    except OSError:
        return None
    found = content.decode("utf-8", errors="replace").splitlines()
    if start and len(found) > 1:
        found = found[1:]  # the first one may be a part only
    shown = found[-lines:]
    whole = not start and len(shown) == len(found)
    return Log("\n".join(plain(line) for line in shown), len(shown), whole)


def plain(text: str) -> str:
    """Return ``text`` without terminal sequences and other control characters."""
    return _CONTROL.sub("", _TERMINAL.sub("", text))
