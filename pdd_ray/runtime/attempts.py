"""Counts how often a step lost its worker without having made progress."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdd_ray.core.store import Store

MOST_CRASHES = 20
"""Crashes after which a step is given up even if something changes every time."""

Content = frozenset[tuple[str, int, int]]
"""Names, sizes and modification times [ns] of the files in a folder."""


class Attempts:
    """The ledger of one run: progress is a change in the step's ``partial`` folder.

    A step that dies after an hour of saved work may die as often as it likes (within reason);
    one that dies at once, every time, is given up.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._before: dict[str, Content] = {}
        self._fruitless: Counter[str] = Counter()
        self._crashes: Counter[str] = Counter()

    def started(self, key: str) -> None:
        """Remember what the step ``key`` starts from."""
        self._before[key] = self._content(key)

    def crashed(self, key: str) -> bool:
        """Count a lost worker, and return whether the step may be tried again."""
        self._crashes[key] += 1
        if self._content(key) == self._before[key]:
            self._fruitless[key] += 1
        else:
            self._fruitless[key] = 0
        return self._fruitless[key] < self._most and self._crashes[key] < MOST_CRASHES

    def crashes(self, key: str) -> int:
        """Return how often the step ``key`` lost its worker."""
        return self._crashes[key]

    def _content(self, key: str) -> Content:
        found = set()
        for path in self._store.progress_files(key):
            try:
                status = path.stat()
            except FileNotFoundError:  # replaced while we look
                continue
            found.add((path.name, status.st_size, status.st_mtime_ns))
        return frozenset(found)
