"""Forgetting events, counted during a training, and the scores that follow from them.

Toneva et al., 2019 (specification of other methods, section 9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.core.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class ForgettingCounter:
    """What one training run shows about ``examples`` examples, N of them, each by its index.

    A presentation of an example is one training minibatch with it, judged before the update. All
    tensors are int64 [N] on the CPU:

    - ``presentations``: how many there were so far;
    - ``events``: how often an example was wrong that was correct in its presentation before;
    - ``first_learned``: the first correct presentation (0-based), -1 if there is none;
    - ``needed_to_learn``: 1 + the last wrong presentation, 0 if there is none.
    """

    def __init__(self, examples: int) -> None:
        self.presentations = torch.zeros(examples, dtype=torch.int64)
        self.events = torch.zeros(examples, dtype=torch.int64)
        self.first_learned = torch.full((examples,), -1, dtype=torch.int64)
        self.needed_to_learn = torch.zeros(examples, dtype=torch.int64)

    def observe(self, indices: Tensor, correct: Tensor) -> None:
        """Count one presentation of some examples.

        Args:
            indices: The examples, int64 [b]; none of them twice.
            correct: Whether the network classified them correctly, bool [b].
        """
        indices, correct = indices.cpu(), correct.cpu().bool()
        now = self.presentations[indices]
        # The presentation before was wrong exactly if it is the last wrong one so far; before
        # the first one both counts are 0.
        was_correct = self.needed_to_learn[indices] < now
        self.events[indices] += was_correct & ~correct
        learned = correct & (self.first_learned[indices] < 0)
        self.first_learned[indices[learned]] = now[learned]
        self.needed_to_learn[indices[~correct]] = now[~correct] + 1
        self.presentations[indices] = now + 1

    def scores(self, epochs: int) -> Tensor:
        """Return the forgetting scores of the run: int64 [N].

        The number of events; ``epochs``, how often each example was presented, for an example
        that was never correct, so that it counts as the hardest. The score of several runs is
        the sum of theirs.
        """
        return self.events.where(self.first_learned >= 0, epochs)

    def tensors(self) -> dict[str, Tensor]:
        """Return the counts so far by name, for :meth:`restored`."""
        return {name: value.clone() for name, value in vars(self).items()}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> ForgettingCounter:
        """Return the counter that had these :meth:`tensors`.

        Raises:
            FormatError: if they are not those of a counter.
        """
        counter = cls(max((value.numel() for value in tensors.values()), default=0))
        expected = {name: (value.shape, value.dtype) for name, value in vars(counter).items()}
        if {name: (value.shape, value.dtype) for name, value in tensors.items()} != expected:
            msg = f"forgetting counts are int64 [N] called {', '.join(expected)}; got " + ", ".join(
                f"{name} {list(value.shape)}" for name, value in tensors.items()
            )
            raise FormatError(msg)
        vars(counter).update({name: value.clone() for name, value in tensors.items()})
        return counter


def hardest(scores: Tensor, count: int) -> Tensor:
    """Return the examples with the highest scores, highest first, ties by index: int64 [count].

    Args:
        scores: Forgetting scores of the examples of one class, [N].
        count: How many to take, at most N.

    Raises:
        ConfigError: if there are fewer than ``count`` examples.
    """
    if count > len(scores):
        msg = f"{count} examples are needed, there are {len(scores)}; ask for fewer"
        raise ConfigError(msg)
    return scores.argsort(descending=True, stable=True)[:count]


def cumulative_fractions(scores: Tensor, bounds: Sequence[float]) -> list[float]:
    """Return for each bound the share of the ``scores`` [N] that are below it."""
    return [float((scores < bound).double().mean()) for bound in bounds]
