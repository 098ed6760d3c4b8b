"""The named fields of records: which there are, how they group, how their values are ordered."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from pdd_analysis.published import METHODS
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.identities import canonical_json
from pdd_ray.core.records import Record

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from pdd_analysis.statistics import Replicate
    from pdd_ray.core.identities import Json

MODES = ("progressive", "union", "sequential", "full")
"""Modes of evaluation, in the order in which tables show them."""

TELLING = (
    "dataset",
    "phase",
    "classes",
    "train_images",
    "method",
    "variant",
    "model",
    "mode",
)
"""Settings by which rows are split before they are by axes, the most telling ones first."""

SETTINGS = (
    *TELLING,
    "total_stages",
    "stages",
    "images_per_class",
    "total_images_per_class",
    "epochs",
    "protocol",
    "conditioning",
    "transition",
    "phases",
    "sweep",
)
"""Fields of a record that say what was evaluated."""

DATA = ("dataset", "classes", "train_images")
"""Fields that say on which data: folders of images are all named alike."""

NOTHING = "\N{EN DASH}"
"""Shown for a field that a record does not have, and for a cell that was never planned."""

RESULTS = (
    "step_size",
    "test_accuracy",
    "validation_accuracy",
    "test_images",
    "seconds",
    "cost_seconds",
)
"""Fields of a record that its evaluation gives; tables can't be laid out by them."""

_IDENTIFYING = (*SETTINGS, "seed", "network", "key")

SCALAR_FIELDS = tuple(field.name for field in fields(Record) if field.name != "axes")

MOST_TEXTS = 10_000
"""Canonical texts that are remembered: settings have few values, which every record repeats."""
_SCALARS = frozenset({str, int, bool, type(None)})
_TEXTS: dict[tuple[type, Any], str] = {}

Key: TypeAlias = tuple[str, ...]
"""Values of some fields as canonical JSON texts, so that 1, 1.0 and true stay apart."""


@dataclass(frozen=True)
class Entry:
    """One evaluation: its flat fields and, once it is finished, its accuracies.

    ``setting`` is its :func:`setting_key`.
    """

    fields: Mapping[str, Any]
    setting: str
    test: float | None = None
    validation: float | None = None

    @property
    def replicate(self) -> Replicate:
        """(seed, network)."""
        return self.fields["seed"], self.fields["network"]

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return self.test is not None

    def key(self, names: Sequence[str]) -> Key:
        """Return the values of the fields ``names``; a field that is not there counts as null."""
        return key_of(self.fields, names)


def key_of(values: Mapping[str, Any], names: Sequence[str]) -> Key:
    """Return the key of the fields ``names`` in ``values``."""
    return tuple([_text(values.get(name)) for name in names])


def _text(value: Any) -> str:  # noqa: ANN401 - any value of a record
    """Return the canonical JSON of ``value``, made once for a number or a text."""
    kind = type(value)
    if kind not in _SCALARS:
        return canonical_json(value)
    text = _TEXTS.get((kind, value))
    if text is None:
        if len(_TEXTS) >= MOST_TEXTS:
            _TEXTS.clear()
        text = _TEXTS[kind, value] = canonical_json(value)
    return text


def labelled(names: Sequence[str], key: Key) -> dict[str, Json]:
    """Return the values of ``key`` by field name."""
    return dict(zip(names, map(value_of, key), strict=True))


def entries_of(records: Iterable[Record], planned: Iterable[Record] = ()) -> list[Entry]:
    """Return an entry per record and per planned evaluation; repeated records count once."""
    finished = {
        _identity(record, setting): (record, setting) for record, setting in _named(records)
    }
    return [
        Entry(record.flat(), setting, record.test_accuracy, _finite(record.validation_accuracy))
        for record, setting in finished.values()
    ] + [Entry(record.flat(), setting) for record, setting in _named(planned)]


def setting_key(variant: str, axes: Mapping[str, Json]) -> str:
    """Return the text that names a setting of a sweep: a variant at a point of its grid."""
    return canonical_json([variant, axes])


def shared_once(entries: Sequence[Entry]) -> list[Entry]:
    """Return ``entries`` without the repeated ones of mode full.

    Training on all real images has nothing to do with a variant, and variants share it.
    """
    seen: set[Key] = set()
    kept: list[Entry] = []
    for entry in entries:
        if entry.fields["mode"] == "full":
            key = (str(entry.finished), *entry.key(("key", "seed", "network")))
            if key in seen:
                continue
            seen.add(key)
        kept.append(entry)
    return kept


def check_names(names: Iterable[str], entries: Sequence[Entry]) -> None:
    """Check that records have the fields ``names``.

    Raises:
        ConfigError: for a name that is neither a setting of records nor an axis of these ones.
    """
    known = dict.fromkeys(name for name in SCALAR_FIELDS if name not in RESULTS)
    others = set(RESULTS)
    for entry in entries:
        if new := entry.fields.keys() - known.keys() - others:
            known.update(dict.fromkeys(name for name in entry.fields if name in new))
    for name in names:
        if name in RESULTS:
            msg = f"tables can't be laid out by {name!r}: it is a result, not a setting"
            raise ConfigError(msg)
        if entries and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            msg = f"tables can't show {name!r}: records have {', '.join(known)}{hint}"
            raise ConfigError(msg)


def varying_fields(entries: Sequence[Entry], names: Sequence[str]) -> tuple[str, ...]:
    """Return the settings to add to ``names`` so that no group of entries mixes settings.

    Averaging over different settings would be no repetition, so tables split their rows by these.
    """
    known: set[str] = set().union(*(entry.fields for entry in entries))
    axes = sorted(known - set(SCALAR_FIELDS))
    groups = _numbered([entry.key(names) for entry in entries])
    added: list[str] = []
    for name in (*TELLING, *axes, *SETTINGS[len(TELLING) :]):
        if name in names or name in added:
            continue
        values = [_text(entry.fields.get(name)) for entry in entries]
        if len(set(values)) == 1:
            continue
        finer = _numbered(list(zip(groups, values, strict=True)))
        if max(finer, default=0) > max(groups, default=0):
            added.append(name)
            groups = finer
    return tuple(added)


def group(entries: Iterable[Entry], names: Sequence[str]) -> dict[Key, list[Entry]]:
    """Return the entries by the values of the fields ``names``."""
    groups: dict[Key, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.key(names)].append(entry)
    return dict(groups)


def sort_keys(
    keys: Iterable[Key], names: Sequence[str], first: Mapping[str, Sequence[Json]]
) -> list[Key]:
    """Return ``keys`` in table order: ``first`` values first, then by size or alphabet.

    Modes and methods come in the paper's order.
    """
    preferred = {"mode": MODES, "method": tuple(METHODS), **first}
    ranks = {name: [canonical_json(value) for value in preferred.get(name, ())] for name in names}

    def order(key: Key) -> list[tuple[Any, ...]]:
        return [_order(ranks[name], text, name) for name, text in zip(names, key, strict=True)]

    return sorted(keys, key=order)


def value_of(text: str) -> Json:
    """Return the value whose canonical JSON is ``text``."""
    value: Json = json.loads(text)
    return value


def show(value: Json) -> str:
    """Return ``value`` as tables show it."""
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def show_of(name: str, value: Json) -> str:
    """Return the value of the field ``name`` as tables show it."""
    return "all" if _is_all_images(name, value) else show(value)


def _is_all_images(name: str, value: Json) -> bool:
    """Return whether the value is that of mode full: no distilled images, but all real ones."""
    return name in ("images_per_class", "total_images_per_class") and value == 0


def _named(records: Iterable[Record]) -> Iterator[tuple[Record, str]]:
    """Yield each record with the key of its setting."""
    for record in records:
        yield record, setting_key(record.variant, record.axes)


def _identity(record: Record, setting: str) -> Key:
    return (setting, *[_text(getattr(record, name)) for name in _IDENTIFYING])


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _numbered(keys: Sequence[Hashable]) -> list[int]:
    """Return a number for each of ``keys``, the same for the same key, counted from 0."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _order(preferred: Sequence[str], text: str, name: str) -> tuple[Any, ...]:
    if text in preferred:
        return 0, preferred.index(text)
    value = value_of(text)
    if _is_all_images(name, value):
        return 4, 0
    if value is None:
        return 1, 0
    if isinstance(value, (bool, int, float)):
        return 2, value, text
    parts = re.split(r"([0-9]+)", show(value))
    return 3, [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)]
