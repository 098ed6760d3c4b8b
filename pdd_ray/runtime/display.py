"""How people see a run: a live display on a terminal, plain lines elsewhere; on stderr."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pdd_ray.core.text import duration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import RenderableType

    from pdd_ray.core.steps import Step
    from pdd_ray.runtime.interface import Display

MOST_RUNNING = 8
"""Running steps that are shown one by one."""
PLAIN_SECONDS = 30.0
"""Time between two lines about the progress of the same step."""
ENDED = frozenset({"done", "failed", "blocked"})
"""States of steps for which nothing more is done."""


def create_display(console: Console | None = None) -> Display:
    """Return the live display if ``console`` (default: stderr) is a terminal, else plain lines."""
    console = console or Console(stderr=True)
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


class Tally:
    """What is known about the steps of a run: counts, progress and the time that is left."""

    def __init__(self, steps: Sequence[Step], cached: Collection[str]) -> None:
        self.steps = {step.key: step for step in steps}
        self.cached = len(cached)
        self.states = dict.fromkeys(self.steps, "waiting")
        self.states.update(dict.fromkeys(cached, "done"))
        self.running: dict[str, Mapping[str, float]] = {}
        self._weights = _weights([step for step in steps if step.key not in cached])
        self._ended = 0.0
        self._counts: dict[str, Counter[str]] = {}
        for key, step in self.steps.items():
            self._counts.setdefault(step.kind, Counter())[self.states[key]] += 1
        self._started = time.monotonic()

    def set(self, key: str, state: str) -> None:
        """Move a step to ``state``."""
        before, self.states[key] = self.states[key], state
        counts = self._counts[self.steps[key].kind]
        counts[before] -= 1
        counts[state] += 1
        self._ended += self._weights.get(key, 0.0) * ((state in ENDED) - (before in ENDED))
        if state == "running":
            self.running[key] = {}
        else:
            self.running.pop(key, None)

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of steps by state."""
        return sum(self._counts.values(), start=Counter())

    def counts_by_kind(self) -> Mapping[str, Mapping[str, int]]:
        """Return the number of steps by kind and state."""
        return self._counts

    def fraction(self) -> float:
        """Return the share of the run's cost that is done; what never will be counts as done."""
        share = self._ended + sum(
            self._weights.get(key, 0.0) * min(1.0, max(0.0, progress.get("fraction", 0.0)))
            for key, progress in tuple(self.running.items())
        )
        return min(1.0, share)

    def seconds(self) -> float:
        """Return the time since the run began."""
        return time.monotonic() - self._started

    def seconds_left(self) -> float | None:
        """Return an estimate of the time that is left, None while there is no basis for it."""
        fraction = self.fraction()
        if fraction < 0.01:
            return None
        return self.seconds() * (1 - fraction) / fraction


class LiveDisplay:
    """One block that is redrawn, with failures and retries as lines above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally((), ())
        self._live: Live | None = None

    def begin(self, steps: Sequence[Step], cached: Collection[str]) -> None:
        """Start drawing."""
        self._tally = Tally(steps, cached)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=2,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def started(self, step: Step) -> None:
        """Show the step among the running ones."""
        self._tally.set(step.key, "running")

    def progress(self, step: Step, progress: Mapping[str, float]) -> None:
        """Show how far the step is."""
        self._tally.running[step.key] = dict(progress)

    def finished(self, step: Step, seconds: float) -> None:
        """Count the step."""
        self._tally.set(step.key, "done")

    def failed(self, step: Step, message: str, blocked: Sequence[Step]) -> None:
        """Print the failure above the block."""
        _set_failed(self._tally, step, blocked)
        self._console.print(_failure(step, message, blocked))

    def retried(self, step: Step, reason: str) -> None:
        """Print the reason above the block."""
        self._tally.set(step.key, "waiting")
        self._console.print(Text(f"again   {_name(step)}: {reason}", style="yellow"))

    def end(self) -> None:
        """Stop drawing and leave one line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._console.print(Text(_summary(self._tally)))

    def _render(self) -> RenderableType:
        tally = self._tally
        return Group(_bar(tally), _kinds(tally), *_running(tally))


class PlainDisplay:
    """One line per event, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally((), ())
        self._told: dict[str, float] = {}

    def begin(self, steps: Sequence[Step], cached: Collection[str]) -> None:
        """Say how much there is to do."""
        self._tally = Tally(steps, cached)
        self._say("run", f"{len(steps) - len(cached)} steps, {len(cached)} more are done already")

    def started(self, step: Step) -> None:
        """Say what starts."""
        self._tally.set(step.key, "running")
        self._told[step.key] = time.monotonic()
        self._say("start", _name(step))

    def progress(self, step: Step, progress: Mapping[str, float]) -> None:
        """Say how far the step is, now and then."""
        self._tally.running[step.key] = dict(progress)
        now = time.monotonic()
        if now - self._told.get(step.key, 0.0) >= PLAIN_SECONDS:
            self._told[step.key] = now
            self._say("running", f"{_name(step)}: {_values(progress)}")

    def finished(self, step: Step, seconds: float) -> None:
        """Say what is done."""
        self._tally.set(step.key, "done")
        self._say("done", f"{_name(step)} in {duration(seconds)}")

    def failed(self, step: Step, message: str, blocked: Sequence[Step]) -> None:
        """Say what failed, and what that blocks."""
        _set_failed(self._tally, step, blocked)
        self._say("failed", _failure(step, message, blocked).plain.removeprefix("failed  "))

    def retried(self, step: Step, reason: str) -> None:
        """Say what will run again."""
        self._tally.set(step.key, "waiting")
        self._say("again", f"{_name(step)}: {reason}")

    def end(self) -> None:
        """Say what became of the run."""
        self._say("end", _summary(self._tally))

    def _say(self, what: str, text: str) -> None:
        done = f"[{self._tally.counts.get('done', 0)}/{len(self._tally.steps)}]"
        self._console.print(Text(f"{done} {what:<7} {text}"), soft_wrap=True)


def _weights(steps: Sequence[Step]) -> dict[str, float]:
    """Return each step's share of the cost; equal shares where no cost is known."""
    total = sum(step.cost.operations for step in steps)
    if total <= 0:
        return {step.key: 1 / len(steps) for step in steps}
    return {step.key: step.cost.operations / total for step in steps}


def _set_failed(tally: Tally, step: Step, blocked: Sequence[Step]) -> None:
    tally.set(step.key, "failed")
    for child in blocked:
        tally.set(child.key, "blocked")


def _name(step: Step) -> str:
    return step.label or step.key


def _values(progress: Mapping[str, float]) -> str:
    shown = [f"{progress['fraction']:.0%}"] if "fraction" in progress else []
    shown += [f"{name} {value:.4g}" for name, value in progress.items() if name != "fraction"]
    return ", ".join(shown)


def _failure(step: Step, message: str, blocked: Sequence[Step]) -> Text:
    text = Text(f"failed  {_name(step)}: {message}", style="red")
    if blocked:
        names = ", ".join(_name(child) for child in blocked[:3])
        more = f" and {len(blocked) - 3} more" if len(blocked) > 3 else ""
        text.append(f" (blocks {names}{more})")
    return text


def _summary(tally: Tally) -> str:
    counts = tally.counts
    shown = [f"{counts.get('done', 0)} of {len(tally.steps)} steps done"]
    left = len(tally.steps) - sum(counts.get(state, 0) for state in ("done", "failed", "blocked"))
    others = {"failed": counts.get("failed", 0), "blocked": counts.get("blocked", 0), "left": left}
    shown += [f"{count} {state}" for state, count in others.items() if count]
    return f"{', '.join(shown)} in {duration(tally.seconds())}"


def _bar(tally: Tally) -> RenderableType:
    left = tally.seconds_left()
    row = Table.grid(padding=(0, 1))
    row.add_row(
        ProgressBar(total=1.0, completed=tally.fraction(), width=30),
        f"{tally.fraction():4.0%}",
        f"{tally.counts.get('done', 0)}/{len(tally.steps)} steps",
        duration(tally.seconds()),
        "" if left is None else f"about {duration(left)} left",
    )
    return row


def _kinds(tally: Tally) -> RenderableType:
    states = ("done", "running", "waiting", "failed", "blocked")
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("")
    for state in states:
        table.add_column(state, justify="right")
    for kind, counts in tally.counts_by_kind().items():
        table.add_row(kind, *(str(counts.get(state, 0) or "") for state in states))
    return table


def _running(tally: Tally) -> list[RenderableType]:
    """Return a line for each running step, stages first."""
    running = sorted(
        dict(tally.running).items(), key=lambda item: tally.steps[item[0]].runs_as != "trial"
    )
    lines: list[RenderableType] = []
    for key, progress in running[:MOST_RUNNING]:
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(total=1.0, completed=progress.get("fraction", 0.0), width=12),
            Text(_name(tally.steps[key])),
            Text(_values(progress), style="dim"),
        )
        lines.append(row)
    if len(running) > MOST_RUNNING:
        lines.append(Text(f"and {len(running) - MOST_RUNNING} more", style="dim"))
    return lines
