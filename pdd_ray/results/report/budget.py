"""A limit on what a page holds of one kind, so that large sweeps still give pages that open."""

from __future__ import annotations


class Budget:
    """Bytes that may still be spent; what does not fit is left out and counted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit
        self.left_out = 0

    def take(self, size: int) -> bool:
        """Return whether ``size`` bytes fit, and spend them if they do."""
        if size > self.left:
            self.left_out += 1
            return False
        self.left -= size
        return True
