"""Reading records from a store or a file, so that nothing is passed over."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdd_ray.core import sweep_files
from pdd_ray.core.errors import ConfigError, RecordFormatError, StoreError
from pdd_ray.core.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "float | None": (int, float, type(None)),
    "dict[str, Json]": (dict,),
}
"""What JSON values the fields of a record may have, by annotation."""


class _OtherFormatError(ValueError):
    """A line has other fields than this version's records."""


def load(source: Path | str, sweep: str | None = None) -> list[Record]:
    """Return the finished evaluations that were written to ``source``, in the order of its lines.

    A run writes them when it ends; ``pdd-ray table`` also shows those of a sweep that runs.

    Args:
        source: A store, or a file with a record per line (``records.jsonl``).
        sweep: Name of a sweep of the store; all that have results if not given.

    Raises:
        ConfigError: if the sweep, or any, has no results in the store.
        RecordFormatError: if another version wrote a line.
        StoreError: if a line is no record; the text names file and line.
    """
    source = Path(source).expanduser()
    if source.is_file() and sweep is None:
        return read_lines(source)
    found = {
        path.parent.name: path for path in sorted(source.glob(f"sweeps/*/{sweep_files.RECORDS}"))
    }
    if not found or (sweep is not None and sweep not in found):
        wanted = "any sweep" if sweep is None else f"the sweep {sweep!r}"
        msg = (
            f"no results of {wanted} in {source}; there is: {', '.join(found) or 'none'}. "
            f"Run it first, or name another store"
        )
        raise ConfigError(msg)
    paths = found.values() if sweep is None else [found[sweep]]
    return [record for path in paths for record in read_lines(path)]


def read_lines(path: Path) -> list[Record]:
    """Return the finished evaluations of the file ``path``.

    Raises:
        StoreError: if it can't be read, or if a line is no record of this version, or one of an
            evaluation that is only planned; the text names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: the records can't be read ({error})") from error
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_record(line))
        except ValueError as error:
            msg = f"{path}:{number}: {error}; run the sweep again to write its records"
            other = isinstance(error, _OtherFormatError)
            raise (RecordFormatError(msg) if other else StoreError(msg)) from error
    return records


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return a row per record and a column per field, grid axes under their own names.

    An axis that is named like a field (``stages``) is called ``grid.stages``.
    """
    import pandas as pd

    rows = [record.flat() for record in records]
    names = [field.name for field in fields(Record) if field.name != "axes"]
    axes = dict.fromkeys(name for row in rows for name in row if name not in names)
    return pd.DataFrame(rows, columns=[*names, *axes])


def _record(line: str) -> Record:
    """Return the record on ``line``.

    Raises:
        ValueError: if there is none.
    """
    try:
        values = json.loads(line)
    except ValueError as error:
        msg = f"not a line of JSON ({error})"
        raise ValueError(msg) from error
    if not isinstance(values, dict):
        msg = f"a record is a mapping of fields, got {line[:40]!r}"
        raise ValueError(msg)
    _check_fields(values)
    record = Record(**values)
    if not math.isfinite(record.test_accuracy) or not 0 <= record.test_accuracy <= 1:
        msg = f"test_accuracy should be in [0, 1], got {record.test_accuracy}"
        raise ValueError(msg)
    if record.test_images < 1:
        msg = "the evaluation is planned, not finished: it has no test images"
        raise ValueError(msg)
    return record


def _check_fields(values: Mapping[str, Any]) -> None:
    known = {field.name: str(field.type) for field in fields(Record)}
    lacking = [name for name in known if name not in values]
    unknown = [name for name in values if name not in known]
    if lacking or unknown:
        parts = [f"lacks {', '.join(lacking)}"] if lacking else []
        parts += [f"has the unknown {', '.join(unknown)}"] if unknown else []
        msg = f"a record of another format, written by another version: it {' and '.join(parts)}"
        raise _OtherFormatError(msg)
    for name, value in values.items():
        allowed = _TYPES[known[name]]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            msg = f"{name} should be {known[name]}, got {value!r}"
            raise ValueError(msg)
