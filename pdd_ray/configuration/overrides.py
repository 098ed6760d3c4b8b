"""Changes of a sweep from the command line: ``method.iterations=20``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdd_ray.configuration import yaml
from pdd_ray.configuration.document import Node, Place, nest, split_path
from pdd_ray.configuration.merge import canonical_variant, merge, merge_experiment
from pdd_ray.core.dotted import axis_of
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERRIDE = "override "
"""Prefix of the places of overrides."""


def apply_overrides(root: Node, overrides: Sequence[str]) -> Node:
    """Return the sweep document ``root`` changed by ``overrides``, one after the other.

    ``KEY=VALUE``: the key has dots (``method.iterations``, ``stages[0].images_per_class``,
    ``grid.method.iterations``, ``variants.NAME.method.iterations``), the value is YAML.

    Raises:
        ConfigError: if one has no ``=`` or its value is not YAML.
    """
    for text in overrides:
        root = _apply(root, text)
    return root


def _apply(root: Node, text: str) -> Node:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        msg = f"override {text!r}: expected KEY=VALUE, such as method.iterations=20"
        raise ConfigError(msg)
    place = Place(OVERRIDE, key)
    leaf = _placed(_parse_value(value, place), place)
    first, _, rest = key.partition(".")
    axis = axis_of(key)
    if axis:
        return merge(root, _axis(axis, leaf))
    if first == "variants" and rest:
        return _change_variant(root, rest, leaf)
    return merge_experiment(root, nest(split_path(key, place), leaf))


def _change_variant(root: Node, key: str, leaf: Node) -> Node:
    """Return ``root`` with ``leaf`` at NAME or NAME.KEY below `variants`."""
    name, _, rest = key.partition(".")
    axis = axis_of(rest)
    if not rest:
        patch = leaf.with_value(canonical_variant(leaf)) if leaf.mapping() else leaf
    elif axis:
        patch = _axis(axis, leaf)
    else:
        patch = nest(split_path(rest, leaf.place), leaf)
    variants = root.get("variants")
    old = variants.get(name) if variants else None
    new = merge_experiment(old, patch) if old else patch
    return merge(root, nest(["variants"], nest([name], new)))


def _axis(axis: str, leaf: Node) -> Node:
    return nest(["grid"], nest([axis], leaf))


def _parse_value(text: str, place: Place) -> Node:
    try:
        return yaml.parse(text, str(place))
    except ConfigError as error:
        problem = str(error).splitlines()[0].rpartition(": ")[2]
        msg = f"{place}: {text!r} is not a YAML value ({problem}); quote it if it is text"
        raise ConfigError(msg) from error


def _placed(node: Node, place: Place) -> Node:
    """Return ``node`` with its places below ``place`` instead of lines of the override."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _placed(child, place.child(key)) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_placed(child, place.child(index)) for index, child in enumerate(value)]
    return replace(node, value=value, place=place)
