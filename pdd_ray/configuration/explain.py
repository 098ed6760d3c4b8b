"""Validation errors as lines: where it is written, what was got, what is allowed."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from pdd_ray.configuration.document import Node
from pdd_ray.configuration.experiment import EqualStagesSpec, ExperimentSpec
from pdd_ray.configuration.merge import DEFAULT_NAMES, merge, with_names
from pdd_ray.configuration.stages import changes, without_changes
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.misplaced import MisplacedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]
Spec = TypeVar("Spec", bound=BaseModel)

_LONGEST_VALUE = 60
_HINTS = {"needs `root`": " (data.root=PATH on the command line)"}


def validate(kind: type[Spec], document: Node) -> Spec:
    """Return ``document`` as a value of ``kind``.

    Raises:
        ConfigError: one line per problem.
    """
    named = with_names(document)
    try:
        return kind.model_validate(named.plain())
    except ValidationError as error:
        lines = [*_without_stage_changes(named, kind), *_stage_changes(named)]
        lines = lines or explain(error, named, kind)
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _without_stage_changes(document: Node, kind: type[BaseModel]) -> list[str]:
    """Return what is wrong with ``document``, leaving aside what stages change of the method."""
    stages = document.get("stages")
    if stages is not None:
        document = document.with_value({**document.mapping(), "stages": without_changes(stages)})
    return _problems(document, kind)


def _stage_changes(document: Node) -> list[str]:
    """Return what is wrong with the methods that stages change."""
    name = Node({"name": Node(DEFAULT_NAMES["method"], document.place)}, document.place)
    method = document.get("method") or name
    lines: list[str] = []
    for change in changes(document.get("stages")):
        own = change.get("name")
        if own is not None and own.value != method.mapping()["name"].value:
            lines.append(f"{own.place}: a stage can't change the method, only its other keys")
            continue
        changed = document.with_value({"method": merge(method, change)})
        lines += _problems(changed, ExperimentSpec)
    return lines


def _problems(document: Node, kind: type[BaseModel]) -> list[str]:
    try:
        kind.model_validate(document.plain())
    except ValidationError as error:
        return explain(error, document, kind)
    return []


def explain(error: ValidationError, document: Node, kind: type[BaseModel]) -> list[str]:
    """Return one line per problem of ``document``, which is not a valid ``kind``."""
    lines: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and detail["input"]:
            continue  # follows from what is wrong with the entries
        where, text = _explain_one(detail, document, kind)
        texts = lines.setdefault(where, [])
        if text not in texts:
            texts.append(text)
    return [f"{where}: {text}" for where, texts in lines.items() for text in _joined(texts)]


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` if one of ``allowed`` is like ``given``, else nothing."""
    close = get_close_matches(given, list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _explain_one(detail: ErrorDetails, document: Node, kind: type[BaseModel]) -> tuple[str, str]:
    location = detail["loc"]
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, MisplacedError):
        location = (*location, *cause.keys)
    node = _node_at(document, location)
    if detail["type"] == "missing":
        return str(node.place.child(location[-1])), "this key is required and missing"
    if detail["type"] == "extra_forbidden":
        where = str(node.key_place or node.place)
        hint = "; give the variant a `grid` of its own" if node.key_place else ""
        text = _unknown_key(location, kind)
        return where, text + hint if text.startswith("unknown key of") else text
    if detail["type"] == "union_tag_invalid":
        node = node.get("name") or node
        return str(node.place), _unknown_name(detail)
    return str(node.place), _message(detail, kind)


def _unknown_key(location: Location, kind: type[BaseModel]) -> str:
    given = str(location[-1])
    allowed = _fields_at(kind, location[:-1])
    elsewhere = [path for path in key_paths(kind) if path.split(".")[-1] == given]
    keys = [segment for segment in location if isinstance(segment, str)]
    if len(keys) > 2 and f"{keys[0]}.{given}" in elsewhere:  # of another method or model
        return f"unknown key of {keys[-2]!r}; allowed: {', '.join(allowed)}"
    meant = f"; did you mean {elsewhere[0]!r}?" if elsewhere else suggestion(given, allowed)
    return f"unknown key{meant or ';'} allowed: {', '.join(allowed)}"


def _unknown_name(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    allowed = re.findall(r"'([^']*)'", str(context["expected_tags"]))
    given = str(context["tag"])
    meant = suggestion(given, allowed) or ";"
    return f"unknown name {given!r}{meant} allowed: {', '.join(allowed)}"


def _message(detail: ErrorDetails, kind: type[BaseModel]) -> str:
    if detail["type"] == "value_error":
        text = detail["msg"].removeprefix("Value error, ")
        return text + next((hint for part, hint in _HINTS.items() if part in text), "")
    got = _shortened(detail["input"])
    if detail["type"] in ("model_type", "model_attributes_type"):
        keys = ", ".join(_fields_at(kind, detail["loc"]))
        return f"should be a mapping with keys among {keys}; got {got}"
    text = re.sub(r"^(Input|String|Tuple|Dictionary) ", "", detail["msg"]).split(", unable")[0]
    text = text.replace("a valid tuple", "a list").replace("a valid dictionary", "a mapping")
    meant = ""
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        meant = suggestion(detail["input"], re.findall(r"'([^']*)'", text)).rstrip("?")
        meant = f"{meant}?" if meant else ""
    return f"{text.split(' after validation')[0]}, got {got}{meant}"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _joined(texts: list[str]) -> list[str]:
    """Return the texts about one value; those of a union's members as one."""
    alike = [text for text in texts if text.startswith("should be ") and ", got " in text]
    if len(alike) < 2:
        return texts
    wanted = " or ".join(text.split(", got ")[0].removeprefix("should be ") for text in alike)
    joined = f"should be {wanted}, got {alike[0].split(', got ', 1)[1]}"
    return [joined, *(text for text in texts if text not in alike)]


def _node_at(document: Node, location: Location) -> Node:
    """Return the node at ``location``; segments that name a union's member are passed over."""
    node = document
    for segment in location:
        node = node.get(segment) or node
    return node


# --- keys that a specification has ------------------------------------------------------------


def key_paths(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted keys of ``kind`` and all specifications below it."""
    paths: dict[str, None] = {}
    for name, field in kind.model_fields.items():
        paths[prefix + name] = None
        for child in models_in(field.annotation):
            paths.update(dict.fromkeys(key_paths(child, f"{prefix}{name}.")))
    return list(paths)


def _fields_at(kind: type[BaseModel], location: Location) -> list[str]:
    models: list[type[BaseModel]] = [kind]
    for segment in location:
        if isinstance(segment, str):
            models = list(models_below(models, segment))
    if location and location[-1] == "stages":
        models = [EqualStagesSpec]
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def models_below(models: list[type[BaseModel]], segment: str) -> Iterator[type[BaseModel]]:
    """Yield the models of the key ``segment``, or the member of a union that it names."""
    for model in models:
        name = model.model_fields.get("name")
        if segment in model.model_fields:
            yield from models_in(model.model_fields[segment].annotation)
        elif name is not None and name.default == segment:
            yield model


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    """Yield the specifications that a value of ``annotation`` may be, or may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)
