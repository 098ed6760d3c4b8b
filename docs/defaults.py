"""The tables of defaults in the documentation, written from the code.

    python -m docs.defaults

A table stands between ``<!-- defaults: KEY -->`` and ``<!-- end -->`` and has the keys of a sweep
below KEY, as ``pdd-ray config describe KEY`` shows them. ``<!-- defaults: KEY beyond OTHER -->``
leaves out what is the same below OTHER.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pdd_ray.configuration.describe import REQUIRED, describe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.configuration.describe import DescribedKey

FOLDER = Path(__file__).parent
BLOCK = re.compile(
    r"(<!-- defaults: ?(?P<key>[\w.]*)(?: beyond (?P<other>[\w.]+))? -->\n).*?(<!-- end -->)", re.S
)
HEAD = ("| key | default | allowed | meaning |", "|---|---|---|---|")


def pages() -> list[Path]:
    """Return the documents that may have tables."""
    return sorted(FOLDER.rglob("*.md"))


def with_current_tables(text: str) -> str:
    """Return ``text`` with every table as the code has it now."""
    return BLOCK.sub(
        lambda block: f"{block[1]}{_table(block['key'], block['other'])}{block[4]}", text
    )


def described_keys(text: str) -> list[tuple[str, str | None]]:
    """Return KEY and OTHER of every table of ``text``."""
    return [(block["key"], block["other"]) for block in BLOCK.finditer(text)]


def _table(key: str, other: str | None) -> str:
    same = set(describe(other).keys) if other else set()
    return "\n".join([*HEAD, *_rows(each for each in describe(key).keys if each not in same), ""])


def _rows(keys: Iterable[DescribedKey]) -> list[str]:
    rows = [(f"`{each.name}`", _default(each.default), each.allowed, each.text) for each in keys]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def _default(text: str) -> str:
    return text if text == REQUIRED else f"`{text}`"


def main() -> None:
    """Write the tables of all documents."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = with_current_tables(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {page.relative_to(FOLDER.parent)}")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
