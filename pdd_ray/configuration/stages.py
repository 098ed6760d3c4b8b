"""The two ways in which a document gives stages: a list, or a count of equal ones."""

from __future__ import annotations

from pdd_ray.configuration.document import Node


def as_list(stages: Node) -> Node:
    """Return stages given as {count, images_per_class} as a list; others as they are."""
    count, size = stages.get("count"), stages.get("images_per_class")
    if count is None or size is None or not isinstance(count.value, int):
        return stages
    stage = Node({"images_per_class": size}, stages.place)
    return stages.with_value([stage] * count.value)


def as_equal_stages(stages: Node) -> Node:
    """Return a list of equal stages as {count, images_per_class}; other lists as they are."""
    items = stages.value if isinstance(stages.value, list) else []
    sizes = [item.get("images_per_class") for item in items]
    first = sizes[0] if sizes else None
    if first is None or not all(_is_plain(item, first) for item in items):
        return stages
    count = Node(len(items), stages.place)
    return stages.with_value({"count": count, "images_per_class": first})


def without_changes(stages: Node) -> Node:
    """Return a list of stages without what they change of the method."""
    if not isinstance(stages.value, list):
        return stages
    return stages.with_value([_unchanged(stage) for stage in stages.value])


def changes(stages: Node | None) -> list[Node]:
    """Return what each stage of a list changes of the method, where it changes something."""
    items = stages.value if stages is not None and isinstance(stages.value, list) else []
    methods = [item.get("method") for item in items]
    return [method for method in methods if method is not None and method.mapping()]


def _is_plain(stage: Node, size: Node) -> bool:
    entries = dict(stage.mapping())
    own, method = entries.pop("images_per_class", None), entries.pop("method", None)
    return (
        own is not None
        and own.value == size.value
        and not entries
        and (method is None or method.value == {})
    )


def _unchanged(stage: Node) -> Node:
    entries = stage.mapping()
    method = entries.get("method")
    if method is None or not isinstance(method.value, dict):
        return stage
    return stage.with_value({key: node for key, node in entries.items() if key != "method"})
