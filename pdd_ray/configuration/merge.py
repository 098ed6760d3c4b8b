"""Changing one document by another: deep merge, dotted keys, and what a new method replaces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pdd_ray.configuration.document import Node, Value, nest, split_path
from pdd_ray.configuration.experiment import ExperimentSpec
from pdd_ray.configuration.stages import as_equal_stages, as_list, without_changes
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDEX = re.compile(r"\[(\d+)\]")

DEFAULT_NAMES: dict[str, str] = {
    key: field.get_default().name
    for key, field in ExperimentSpec.model_fields.items()
    if field.discriminator == "name"
}
"""Keys of an experiment whose `name` says which other keys they have, with the default name."""


def undot(entries: Mapping[str, Node]) -> dict[str, Node]:
    """Return ``entries`` with dotted keys nested: ``method.name: x`` is ``method: {name: x}``.

    Raises:
        ConfigError: if a key is given both ways, or is no key.
    """
    nested = {key: node for key, node in entries.items() if len(split_path(key, node.place)) == 1}
    for key, node in entries.items():
        if key in nested:
            continue
        segments = split_path(key, node.place)
        root = Node(nested, node.place)
        if _clash(root, nest(segments, node)):
            raise ConfigError(f"{node.place}: the key is repeated, nested and with dots")
        nested = merge(root, nest(segments, node)).mapping()
    return nested


def canonical_variant(variant: Node) -> Value:
    """Return the value of a variant with dotted keys nested, except those of its grid."""
    if not isinstance(variant.value, dict):
        return {} if variant.value is None else variant.value
    grid = {key: node for key, node in variant.value.items() if key == "grid"}
    others = {key: node for key, node in variant.value.items() if key != "grid"}
    return {**undot(others), **grid}


def merge_experiment(base: Node, patch: Node) -> Node:
    """Return the experiment (or sweep) ``base`` changed by ``patch``.

    Mappings are merged key by key, everything else is replaced; an empty mapping empties. Where
    ``patch`` names another method or model, the keys of the old one are dropped, and with another
    method the stages' changes of it too.
    """
    kept = dict(base.mapping())
    for key in DEFAULT_NAMES:
        if _renames(kept.get(key), patch.get(key), DEFAULT_NAMES[key]):
            kept.pop(key, None)
            if key == "method" and "stages" in kept:
                kept["stages"] = without_changes(kept["stages"])
    return merge(base.with_value(dict(kept)), patch)


def merge(base: Node, patch: Node, key: str = "") -> Node:
    """Return ``base`` changed by ``patch``, mapping by mapping; ``key`` is the key of both."""
    changes = patch.mapping()
    if not changes:
        return patch
    if all(_INDEX.fullmatch(name) for name in changes):
        return _merge_items(base if key != "stages" else as_list(base), patch)
    if key == "stages" and isinstance(base.value, list):
        base = as_equal_stages(base)
    if not isinstance(base.value, dict):
        base = Node({}, patch.place)
    merged = dict(base.mapping())
    for name, child in changes.items():
        merged[name] = merge(merged[name], child, name) if name in merged else child
    return base.with_value(merged)


def with_names(experiment: Node) -> Node:
    """Return ``experiment`` with the default name in every method or model that gives none."""
    entries = dict(experiment.mapping())
    for key, name in DEFAULT_NAMES.items():
        if key in entries:
            entries[key] = _named(entries[key], name)
    evaluation = entries.get("evaluation")
    models = evaluation.get("models") if evaluation else None
    if evaluation and models and isinstance(models.value, list):
        named = [_named(model, DEFAULT_NAMES["model"]) for model in models.value]
        entries["evaluation"] = evaluation.with_value(
            {**evaluation.mapping(), "models": models.with_value(named)}
        )
    return experiment.with_value(entries)


def _named(node: Node, name: str) -> Node:
    if not isinstance(node.value, dict) or "name" in node.value:
        return node
    return node.with_value({"name": Node(name, node.place), **node.value})


def _clash(one: Node, other: Node) -> bool:
    """Return whether a value is given in both."""
    if not isinstance(one.value, dict) or not isinstance(other.value, dict):
        return True
    common = one.value.keys() & other.value.keys()
    return any(_clash(one.value[key], other.value[key]) for key in common)


def _renames(base: Node | None, patch: Node | None, default: str) -> bool:
    new = patch.get("name") if patch else None
    old = base.get("name") if base else None
    return new is not None and new.value != (old.value if old else default)


def _merge_items(base: Node, patch: Node) -> Node:
    if not isinstance(base.value, list):
        return patch
    items = list(base.value)
    for name, child in patch.mapping().items():
        index = int(name.strip("[]"))
        if index >= len(items):
            msg = f"{child.key_place or child.place}: there is no {name}; the list has {len(items)}"
            raise ConfigError(f"{msg} entries, counted from [0]")
        items[index] = merge(items[index], child)
    return base.with_value(items)
