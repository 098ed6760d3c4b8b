"""A configuration document as a tree whose every value remembers where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from pdd_ray.core.identities import Json

Value: TypeAlias = "bool | int | float | str | dict[str, Node] | list[Node] | None"

_SEGMENT = re.compile(r"([^.\[\]]+)(?:\.|$|(?=\[))|(\[\d+\])(?:\.|$|(?=\[))")


@dataclass(frozen=True)
class Place:
    """Where something was written, as people read it.

    Attributes:
        prefix: ``sweep.yaml:6:12: `` or ``override ``, with the separator.
        path: The keys that lead there, e.g. ``stages[1].method``; empty for the whole document.
    """

    prefix: str
    path: str

    def __str__(self) -> str:
        return self.prefix + self.path if self.path else self.prefix.rstrip(": ")

    def child(self, key: str | int, prefix: str | None = None) -> Place:
        """Return the place of the entry ``key`` (a number: of a list) inside this one."""
        if isinstance(key, int):
            path = f"{self.path}[{key}]"
        else:
            path = f"{self.path}.{key}" if self.path else key
        return Place(self.prefix if prefix is None else prefix, path)


@dataclass(frozen=True)
class Node:
    """One value of a document.

    Attributes:
        value: A scalar, or nodes by key, or a list of nodes.
        place: Where the value is written.
        key_place: Where the key that names it is written, if that is elsewhere (a grid axis).
    """

    value: Value
    place: Place
    key_place: Place | None = None

    def plain(self) -> Json:
        """Return the value without its places, as JSON types."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def children(self) -> list[tuple[str | int, Node]]:
        """Return the entries of a mapping or a list by key or index; nothing for a scalar."""
        if isinstance(self.value, dict):
            return list(self.value.items())
        if isinstance(self.value, list):
            return list(enumerate(self.value))
        return []

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        yield self
        for _, child in self.children():
            yield from child.walk()

    def get(self, key: str | int) -> Node | None:
        """Return the entry ``key``, if there is one."""
        if isinstance(self.value, dict) and isinstance(key, str):
            return self.value.get(key)
        if isinstance(self.value, list) and isinstance(key, int) and key < len(self.value):
            return self.value[key]
        return None

    def mapping(self) -> dict[str, Node]:
        """Return the entries of a mapping; nothing for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    def with_value(self, value: Value) -> Node:
        """Return the node with another value at the same place."""
        return replace(self, value=value)


def from_plain(value: Json, place: Place) -> Node:
    """Return ``value`` as a document whose entries are all below ``place``."""
    if isinstance(value, Mapping):
        entries = {str(key): from_plain(item, place.child(str(key))) for key, item in value.items()}
        return Node(entries, place)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Node([from_plain(x, place.child(i)) for i, x in enumerate(value)], place)
    return Node(value, place)


def split_path(path: str, place: Place) -> list[str]:
    """Return the segments of a dotted path: ``stages[0].method`` is stages, [0], method.

    Raises:
        ConfigError: if it is not made of names joined by dots, and indices in brackets.
    """
    matches = list(_SEGMENT.finditer(path))
    if "".join(match[0] for match in matches) != path or not matches or path.endswith("."):
        msg = f"{place}: {path!r} is not a key; a key looks like method.iterations or stages[0]"
        raise ConfigError(msg)
    return [match[1] or match[2] for match in matches]


def nest(segments: Sequence[str], leaf: Node) -> Node:
    """Return ``leaf`` below the keys ``segments``, which are written where the leaf's key is."""
    node = leaf
    place = leaf.key_place or leaf.place
    for segment in reversed(segments):
        place = replace(place, path=place.path.removesuffix(segment).removesuffix("."))
        node = Node({segment: node}, place)
    return node
