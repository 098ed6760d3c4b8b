"""The window of difficulty: which real images a stage of the easy-to-hard curriculum sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Window:
    """The examples that a window of difficulty leaves to a stage.

    ``indices`` are int64, ascending. ``filled`` says how many of them are outside the window, by
    class, for the classes that would be too small without. ``share`` of ``indices`` is in the
    window.
    """

    indices: Tensor
    filled: dict[int, int]
    share: float


def in_window(
    scores: Tensor, labels: Tensor, low: float, high: float, minimum: int, num_classes: int
) -> Window:
    """Return the examples with ``low <= score < high``, and more of classes that have too few.

    Stage i of the easy-to-hard curriculum has the window [3 (i - 1), 3 i) of forgetting scores
    (specification of trajectory matching, section 6.5). A class needs ``minimum`` examples, at
    least one, or all it has; it gets those whose scores are nearest to the window, ``low - score``
    or ``score - high`` away, ties by index (specification of other methods, section 13, item 21).

    Args:
        scores: Difficulty of each example, [N].
        labels: Its class, int64 [N].
        low: Lowest score of the window.
        high: First score beyond it.
        minimum: How many examples a class needs.
        num_classes: Classes are 0 .. ``num_classes`` - 1.
    """
    distance = torch.maximum(low - scores, scores - high).clamp(min=0)
    chosen = (low <= scores) & (scores < high)
    inside = int(chosen.sum())
    filled = {}
    for label in range(num_classes):
        outside = ((labels == label) & ~chosen).nonzero().flatten()
        present = int(((labels == label) & chosen).sum())
        missing = min(max(minimum, 1) - present, len(outside))
        if missing > 0:
            order = distance[outside].argsort(stable=True)
            chosen[outside[order[:missing]]] = True
            filled[label] = missing
    indices = chosen.nonzero().flatten()
    return Window(indices, filled, share=inside / len(indices))
