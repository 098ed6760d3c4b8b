"""Choosing settings by validation accuracy; test accuracies are not looked at here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.cells import Candidate, Choice
from pdd_analysis.fields import MODES, group, key_of, labelled, sort_keys
from pdd_analysis.statistics import mean
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdd_analysis.fields import Entry, Key
    from pdd_ray.core.identities import Json


def choose(
    entries: Sequence[Entry], rows: Sequence[str], columns: Sequence[str], axes: Sequence[str]
) -> tuple[list[Entry], dict[Key, Choice]]:
    """Return the entries whose ``axes`` have the chosen values, and the choices.

    One choice is made per combination of the row fields without ``mode``, for all columns and
    seeds together. It is decided by the progressive evaluations if there are any, else by all.
    A candidate's score is the mean over the columns of its mean validation accuracy; candidates
    that miss evaluations which another one has are not considered. The first of equals is kept.

    Returns:
        The entries kept (all of them in groups without results), and the choices by the values
        of ``choice_fields(rows)``.

    Raises:
        ConfigError: if a validation accuracy is missing.
    """
    names = choice_fields(rows)
    kept: list[Entry] = []
    choices: dict[Key, Choice] = {}
    for key, members in group(entries, names).items():
        if not any(entry.finished for entry in members):
            kept += members
            continue
        choice = _choose(members, columns, axes, labelled(names, key))
        choices[key] = choice
        chosen = key_of(choice.chosen.values, axes)
        kept += [entry for entry in members if entry.key(axes) == chosen]
    return kept, choices


def choice_fields(rows: Sequence[str]) -> tuple[str, ...]:
    """Return the row fields within whose values a choice is made: all but ``mode``."""
    return tuple(name for name in rows if name != "mode")


def _choose(
    members: Sequence[Entry],
    columns: Sequence[str],
    axes: Sequence[str],
    fields: Mapping[str, Json],
) -> Choice:
    modes = {entry.fields["mode"] for entry in members if entry.finished}
    mode = MODES[0] if MODES[0] in modes else None
    deciding = [entry for entry in members if mode in (None, entry.fields["mode"])]
    wanted = {(entry.key(columns), entry.replicate) for entry in deciding}
    groups = group(deciding, axes)
    counts = {key: sum(entry.finished for entry in found) for key, found in groups.items()}
    considered = max(counts.values())
    candidates = tuple(
        Candidate(
            values=labelled(axes, key),
            validation=_score(groups[key], columns) if counts[key] == considered else None,
            n=counts[key],
            missing=len(wanted) - counts[key],
        )
        for key in sort_keys(groups, axes, {})
    )
    chosen = max(
        (candidate for candidate in candidates if candidate.validation is not None),
        key=lambda candidate: candidate.validation or 0.0,
    )
    return Choice(fields, chosen, candidates, mode)


def _score(entries: Sequence[Entry], columns: Sequence[str]) -> float:
    finished = [entry for entry in entries if entry.finished]
    return mean(
        mean(_validation(entry) for entry in column) for column in group(finished, columns).values()
    )


def _validation(entry: Entry) -> float:
    if entry.validation is None:
        msg = (
            f"the evaluation {entry.fields['key']} has no validation accuracy, so nothing can be "
            f"chosen by it; leave out `choose`, or run the sweep again"
        )
        raise ConfigError(msg)
    return entry.validation
