"""What people see of a run."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from pdd_ray.core.text import duration
from pdd_ray.runtime.display import LiveDisplay, PlainDisplay, Tally, create_display
from pdd_ray.runtime.interface import Display, NoDisplay
from tests.runtime.builders import make_step

STEPS = [
    make_step("data", operations=10),
    make_step("stage 1", runs_as="trial", operations=70),
    make_step("stage 2", runs_as="trial", operations=20),
    make_step("[b]evaluation[/b]"),
]
DATA, FIRST, SECOND, EVALUATION = STEPS


def console(*, terminal: bool) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=100, color_system=None, no_color=True
    )


def written(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def tell(display: Display) -> None:
    """Tell a display of a run in which one step of each sort ends."""
    display.begin(STEPS, {DATA.key})
    display.started(FIRST)
    display.progress(FIRST, {"fraction": 0.5, "loss": 0.25})
    display.retried(FIRST, "its worker died")
    display.started(FIRST)
    display.finished(FIRST, 61.0)
    display.started(SECOND)
    display.failed(SECOND, "the loss is nan", [EVALUATION])
    display.end()


def test_a_terminal_gets_the_live_display_and_a_file_gets_lines():
    assert isinstance(create_display(console(terminal=True)), LiveDisplay)
    assert isinstance(create_display(console(terminal=False)), PlainDisplay)


def test_the_displays_go_to_standard_error(capsys: pytest.CaptureFixture[str]):
    tell(create_display())
    out, err = capsys.readouterr()
    assert out == ""
    assert "stage 1" in err


def test_plain_lines_tell_every_event():
    to = console(terminal=False)
    tell(PlainDisplay(to))
    assert written(to).splitlines() == [
        "[1/4] run     3 steps, 1 more are done already",
        "[1/4] start   stage 1",
        "[1/4] again   stage 1: its worker died",
        "[1/4] start   stage 1",
        "[2/4] done    stage 1 in 1 min 1 s",
        "[2/4] start   stage 2",
        "[2/4] failed  stage 2: the loss is nan (blocks [b]evaluation[/b])",
        "[2/4] end     2 of 4 steps done, 1 failed, 1 blocked in 0.0 s",
    ]


def test_the_live_display_shows_counts_progress_and_failures():
    to = console(terminal=True)
    display = LiveDisplay(to)
    display.begin(STEPS, {DATA.key})
    display.started(FIRST)
    display.progress(FIRST, {"fraction": 0.5, "loss": 0.25})
    to.print(display._render())
    text = written(to)
    assert "1/4 steps" in text
    assert "stage 1 50%, loss 0.25" in text
    display.failed(FIRST, "the loss is nan", [SECOND, EVALUATION])
    display.end()
    text = written(to)
    assert "failed  stage 1: the loss is nan (blocks stage 2, [b]evaluation[/b])" in text
    assert text.rstrip().endswith("s")
    assert "1 of 4 steps done, 1 failed, 2 blocked in" in text


def test_a_display_that_shows_nothing_accepts_everything():
    tell(NoDisplay())


def test_counts_are_those_of_the_states_whatever_happens():
    tally = Tally(STEPS, {DATA.key})
    for step, state in (
        (FIRST, "running"),
        (FIRST, "waiting"),
        (FIRST, "running"),
        (FIRST, "done"),
        (SECOND, "running"),
        (FIRST, "running"),  # it is made again
        (SECOND, "failed"),
        (EVALUATION, "blocked"),
    ):
        tally.set(step.key, state)
        found = {name: count for name, count in tally.counts.items() if count}
        assert found == dict(Counter(tally.states.values()))
        by_kind = tally.counts_by_kind().values()
        assert sum(sum(counts.values()) for counts in by_kind) == len(STEPS)
    assert tally.fraction() == pytest.approx(20 / 90)


def test_the_fraction_is_weighted_by_cost():
    tally = Tally(STEPS, {DATA.key})
    assert tally.fraction() == 0
    assert tally.seconds_left() is None
    tally.set(FIRST.key, "running")
    tally.running[FIRST.key] = {"fraction": 0.5}
    assert tally.fraction() == pytest.approx(35 / 90)
    tally.set(FIRST.key, "done")
    assert tally.fraction() == pytest.approx(70 / 90)
    left = tally.seconds_left()
    assert left is not None
    assert left == pytest.approx(tally.seconds() * 20 / 70, rel=0.5)


def test_steps_without_costs_weigh_the_same():
    steps = [make_step(str(number)) for number in range(4)]
    tally = Tally(steps, ())
    tally.set(steps[0].key, "done")
    assert tally.fraction() == 0.25


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (61, "1 min 1 s"), (7500, "2 h 5 min")]
)
def test_times_are_given_in_words(seconds: float, text: str):
    assert duration(seconds) == text
