"""Forgetting scores: against a slow twin, in any order, over restarts, and what they select."""

from itertools import pairwise

import pytest
import torch

from pdd_ray.core.errors import ConfigError, FormatError
from pdd_ray.core.seeding import generator
from pdd_ray.training.forgetting import ForgettingCounter, cumulative_fractions, hardest

EPOCHS, EXAMPLES = 9, 50


def presentations(seed=0):
    """Correctness in each epoch: bool [epochs, examples], some examples never correct."""
    chance = torch.rand(EXAMPLES, generator=generator(seed, "chance"))
    draws = torch.rand(EPOCHS, EXAMPLES, generator=generator(seed, "draws"))
    return draws < (chance - 0.2)


def observed(correct, batch_size=8, seed=0, counter=None, first=0):
    counter = counter or ForgettingCounter(EXAMPLES)
    for epoch in range(first, len(correct)):
        order = torch.randperm(EXAMPLES, generator=generator(seed, "order", epoch))
        for batch in order.split(batch_size):
            counter.observe(batch, correct[epoch, batch])
    return counter


def slow_facts(history):
    """Return events, first learned and needed to learn of one example."""
    events = sum(was and not now for was, now in pairwise(history))
    learned = [time for time, now in enumerate(history) if now]
    wrong = [time for time, now in enumerate(history) if not now]
    return events, learned[0] if learned else -1, wrong[-1] + 1 if wrong else 0


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_slow_twin(seed):
    correct = presentations(seed)
    counter = observed(correct)
    facts = [slow_facts(history) for history in correct.T.tolist()]
    assert counter.events.tolist() == [events for events, _, _ in facts]
    assert counter.first_learned.tolist() == [first for _, first, _ in facts]
    assert counter.needed_to_learn.tolist() == [needed for _, _, needed in facts]
    assert counter.presentations.tolist() == [EPOCHS] * EXAMPLES


def test_the_order_of_the_examples_and_the_batches_do_not_matter():
    one, other = observed(presentations(), seed=0), observed(presentations(), 50, seed=1)
    assert all(torch.equal(one.tensors()[name], other.tensors()[name]) for name in one.tensors())


def test_presentations_of_an_example_count_in_their_order():
    counter = ForgettingCounter(2)
    for correct in ([False, True], [True, False], [True, True], [False, False], [True, False]):
        counter.observe(torch.tensor([1, 0]), torch.tensor(correct))
    assert counter.events.tolist() == [2, 1]
    assert counter.first_learned.tolist() == [0, 1]
    assert counter.needed_to_learn.tolist() == [5, 4]


def test_examples_may_be_presented_a_different_number_of_times():
    counter = ForgettingCounter(3)
    for indices, correct in (([0, 1], [True, True]), ([0], [False]), ([2, 0], [True, True])):
        counter.observe(torch.tensor(indices), torch.tensor(correct))
    assert counter.presentations.tolist() == [3, 1, 1]
    assert counter.events.tolist() == [1, 0, 0]
    assert counter.first_learned.tolist() == [0, 0, 0]


def test_an_example_never_learned_is_the_most_forgettable():
    counter = ForgettingCounter(3)
    for correct in ([True, False, True], [True, False, False], [True, False, True]):
        counter.observe(torch.arange(3), torch.tensor(correct))
    assert counter.events.tolist() == [0, 0, 1]
    assert counter.scores(3).tolist() == [0, 3, 1]
    assert counter.scores(3).dtype == torch.int64


@pytest.mark.parametrize("stop", [0, 1, 4, EPOCHS])
def test_a_restored_counter_goes_on_as_if_uninterrupted(stop):
    correct = presentations()
    saved = observed(correct[:stop]).tensors()
    again = observed(correct, counter=ForgettingCounter.restored(saved), first=stop)
    whole = observed(correct)
    assert saved.keys() == whole.tensors().keys()
    assert all(torch.equal(again.tensors()[name], whole.tensors()[name]) for name in saved)


def test_a_saved_state_does_not_change_when_counting_goes_on():
    counter = observed(presentations())
    saved = counter.tensors()
    before = {name: value.clone() for name, value in saved.items()}
    observed(presentations(1), counter=counter)
    observed(presentations(1), counter=ForgettingCounter.restored(saved))
    assert all(torch.equal(saved[name], before[name]) for name in saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("events"),
        lambda state: state.update(more=state["events"]),
        lambda state: state.update(events=state["events"][1:]),
        lambda state: state.update(events=state["events"].float()),
        lambda state: state.clear(),
    ],
)
def test_tensors_that_are_not_a_counters_are_refused(change):
    state = ForgettingCounter(4).tensors()
    change(state)
    with pytest.raises(FormatError, match="forgetting counts are int64"):
        ForgettingCounter.restored(state)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_the_hardest_come_first_and_ties_by_index(dtype):
    scores = torch.tensor([2, 0, 5, 2, 5, 9, 2], dtype=dtype)
    assert hardest(scores, 6).tolist() == [5, 2, 4, 0, 3, 6]
    assert hardest(torch.zeros(1000, dtype=dtype), 1000).tolist() == list(range(1000))


def test_more_of_the_hardest_than_there_are_is_an_error():
    with pytest.raises(ConfigError, match="4 examples are needed, there are 3"):
        hardest(torch.zeros(3), 4)


def test_fractions_count_the_examples_below_each_bound():
    scores = torch.tensor([0, 2, 3, 8, 9, 14, 15, 200])
    assert cumulative_fractions(scores, [0, 3, 9, 15, 201]) == [0.0, 0.25, 0.5, 0.75, 1.0]
