"""Describing keys of a sweep: default, allowed values and meaning, from the fields themselves."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from pdd_ray.configuration.explain import models_below, models_in, suggestion
from pdd_ray.configuration.sweep import SweepSpec
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic.fields import FieldInfo

    from pdd_ray.core.identities import Json

REQUIRED = "required"
"""In the place of a default that there is not."""

_BARE = re.compile(r"(?!(?:null|true|false)$)[A-Za-z_][\w./-]*")
_TYPES = {
    bool: "`true` or `false`",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    NoneType: "`null`",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@dataclass(frozen=True)
class DescribedKey:
    """One key of a sweep.

    Attributes:
        name: The key, below the one that was asked for.
        default: Its default as YAML on one line, or ``required``.
        allowed: What it may be.
        text: What it means.
    """

    name: str
    default: str
    allowed: str
    text: str


@dataclass(frozen=True)
class Description:
    """What there is below a key of a sweep.

    Attributes:
        key: The key that was asked for; empty for the top of a sweep.
        text: What it means.
        keys: The keys below it, or the key itself if there are none.
        choices: Values of ``name`` that it may have, each with its meaning; they have keys of
            their own, which are described by ``KEY.NAME``.
    """

    key: str
    text: str
    keys: tuple[DescribedKey, ...] = ()
    choices: tuple[tuple[str, str], ...] = ()


def describe(key: str = "") -> Description:
    """Return what a sweep may have below ``key``.

    Args:
        key: A dotted key; of several kinds of values it names one, as in ``method.mtt``. Empty for
            the keys at the top of a sweep.

    Raises:
        ConfigError: if no sweep has such a key.
    """
    *parents, last = key.split(".")
    above: list[type[BaseModel]] = [SweepSpec]
    for segment in parents:
        above = list(models_below(above, segment))
    models = list(models_below(above, last)) if key else above
    if len(models) > 1:
        choices = tuple((name_of(model), _first_line(model)) for model in models)
        return Description(key, _meaning(above, last), choices=choices)
    if models:
        return Description(key, _first_line(models[0]), _keys_of(models[0]))
    found = [(model, model.model_fields[last]) for model in above if last in model.model_fields]
    if not found:
        raise ConfigError(_unknown(key))
    several = len(found) > 1
    names = [f"{name_of(model)}.{last}" if several else last for model, _ in found]
    described = [_described(name, field) for name, (_, field) in zip(names, found, strict=True)]
    return Description(key, "", tuple(described))


def sections() -> list[str]:
    """Return every key of a sweep below which there are keys, the empty one of the top first."""
    return list(dict.fromkeys(_sections([SweepSpec], "")))


def name_of(kind: type[BaseModel]) -> str:
    """Return the one value that the key ``name`` of a specification may have; "" if it has none."""
    field = kind.model_fields.get("name")
    values = get_args(field.annotation) if field is not None else ()
    return str(values[0]) if len(values) == 1 else ""


def inline(value: Json) -> str:
    """Return ``value`` as YAML on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {inline(item)}' for key, item in value.items())}}}"
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return json.dumps(value)


def _sections(kinds: Sequence[type[BaseModel]], key: str) -> Iterator[str]:
    for kind in kinds:
        place = f"{key}.{name_of(kind)}" if len(kinds) > 1 else key
        yield place
        for name, field in kind.model_fields.items():
            yield from _sections(list(models_in(field.annotation)), f"{place}.{name}".strip("."))


def _keys_of(kind: type[BaseModel]) -> tuple[DescribedKey, ...]:
    """Return the keys of a specification, without a ``name`` that is always the same."""
    fields = kind.model_fields.items()
    fixed = "name" if name_of(kind) else ""
    return tuple(_described(name, field) for name, field in fields if name != fixed)


def _described(name: str, field: FieldInfo) -> DescribedKey:
    default = REQUIRED if field.is_required() else inline(_default(field))
    bounds = [
        f"{sign} {getattr(limit, bound)}"
        for limit in field.metadata
        for bound, sign in _BOUNDS.items()
        if getattr(limit, bound, None) is not None
    ]
    allowed = _allowed(field.annotation, ", ".join(bounds))
    return DescribedKey(name, default, allowed, _one_line(field.description or ""))


def _default(field: FieldInfo) -> Json:
    return _plain(field.get_default(call_default_factory=True))


def _plain(value: Any) -> Json:  # noqa: ANN401 - any default
    """Return a default as JSON; of a specification only what differs from its own defaults."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, BaseModel):
        name = name_of(type(value))
        changed = value.model_dump(mode="json", exclude_defaults=True)
        return {**({"name": name} if name else {}), **changed}
    plain: Json = value
    return plain


def _allowed(annotation: Any, bounds: str = "") -> str:  # noqa: ANN401 - any annotation
    """Return in words what a value of ``annotation`` may be."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _allowed(parts[0], bounds)
    if origin is Literal:
        return " or ".join(f"`{inline(value)}`" for value in parts)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_allowed(part, bounds) for part in _null_last(parts)))
    if origin is tuple:
        return f"[{', '.join('...' if part is ... else _allowed(part, bounds) for part in parts)}]"
    if origin is dict:
        return "mapping"
    if issubclass(annotation, BaseModel):
        return "mapping with `name`" if name_of(annotation) else "mapping"
    numeric = bounds and annotation in (int, float)
    return _TYPES[annotation] + (f" {bounds}" if numeric else "")


def _null_last(parts: Sequence[Any]) -> Iterator[Any]:
    yield from (part for part in parts if part is not NoneType)
    yield from (part for part in parts if part is NoneType)


def _meaning(above: Sequence[type[BaseModel]], name: str) -> str:
    texts = [model.model_fields[name].description for model in above if name in model.model_fields]
    return _one_line(next((text for text in texts if text), ""))


def _first_line(kind: type[BaseModel]) -> str:
    return inspect.getdoc(kind).partition("\n\n")[0].replace("\n", " ")  # type: ignore[union-attr]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _unknown(key: str) -> str:
    keys = [
        f"{place}.{each.name}".strip(".") for place in sections() for each in describe(place).keys
    ]
    meant = suggestion(key, [*sections(), *keys]) or (
        "; `pdd-ray config describe` lists the keys at the top"
    )
    return f"no key {key!r} in a sweep{meant}"
