"""Reading YAML 1.2 with the line and column of every value, and writing it."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from pdd_ray.configuration.document import Node, Place
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node as YamlNode

    from pdd_ray.core.identities import Json

_TAG = "tag:yaml.org,2002:"
_TEXT = ("str", "timestamp", "merge", "value")


def parse(text: str, name: str) -> Node:
    """Return the document ``text``; ``name`` is the file's name in messages.

    Raises:
        ConfigError: one line per problem: syntax, repeated keys, values that JSON can't hold.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = " ".join(str(error.problem or error.context).split())
        raise ConfigError(f"{where}: not valid YAML: {problem}") from error
    except YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    builder = _Builder(name)
    document = builder.build(root) if root is not None else Node(None, Place(f"{name}: ", ""))
    if builder.problems:
        raise ConfigError("\n".join(builder.problems))
    return document


def dump(value: Json) -> str:
    """Return ``value`` as YAML that :func:`parse` reads back."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


class _Builder:
    """Turns YAML nodes into a document and collects what is wrong."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self._open: list[int] = []
        self._scalars = YAML(typ="safe", pure=True).constructor

    def build(self, root: YamlNode) -> Node:
        return self._node(root, Place(self._prefix(root), ""))

    def _prefix(self, node: YamlNode) -> str:
        mark = node.start_mark
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}: "

    def _node(self, node: YamlNode, place: Place) -> Node:
        if id(node) in self._open:
            self.problems.append(f"{place}: an alias must not contain itself")
            return Node(None, place)
        self._open.append(id(node))
        try:
            if isinstance(node, MappingNode):
                return Node(self._mapping(node, place), place)
            if isinstance(node, SequenceNode):
                items = enumerate(node.value)
                return Node(
                    [self._node(x, place.child(i, self._prefix(x))) for i, x in items], place
                )
            return Node(self._scalar(node, place), place)
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.problems.append(f"{place.child('?', self._prefix(key))}: a key must be text")
                continue
            at = place.child(str(key.value), self._prefix(key))
            if key.value in entries:
                first = entries[key.value].place.prefix.split(":")[-3]
                self.problems.append(f"{at}: the key is repeated, it is also on line {first}")
            entries[str(key.value)] = self._node(value, at)
        return entries

    def _scalar(self, node: YamlNode, place: Place) -> bool | int | float | str | None:
        kind = str(node.tag).removeprefix(_TAG)
        if kind in _TEXT:
            return str(node.value)
        if kind not in ("null", "bool", "int", "float"):
            self.problems.append(f"{place}: the tag {node.tag} is not supported")
            return None
        try:
            value: bool | int | float | None = self._scalars.construct_object(node)
        except (ValueError, YAMLError):
            self.problems.append(f"{place}: {node.value!r} is not a valid {kind}")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.append(f"{place}: {node.value} is not a finite number")
        return value
