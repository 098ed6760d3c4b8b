"""What keys of a sweep mean, as text for people and as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

from pdd_ray.configuration.describe import describe

if TYPE_CHECKING:
    from pdd_ray.configuration.describe import DescribedKey, Description
    from pdd_ray.core.identities import Json

__all__ = ["describe", "description_as_json", "description_lines"]

SCHEMA = "pdd-ray/keys/1"
_WIDTH = 96


def description_lines(description: Description) -> list[str]:
    """Return a description as lines: each key with its default, then what it may be and means."""
    lines = textwrap.wrap(description.text, _WIDTH)
    if description.choices:
        longest = max(len(name) for name, _ in description.choices)
        lines += ["", *(f"{name:{longest}}  {text}" for name, text in description.choices)]
        lines += ["", f"Keys of one: pdd-ray config describe {description.key}.NAME"]
    for key in description.keys:
        lines += ["", *_key_lines(key)]
    return lines if description.text else lines[1:]


def description_as_json(description: Description) -> dict[str, Json]:
    """Return a description in JSON types."""
    return {
        "schema": SCHEMA,
        "key": description.key,
        "text": description.text,
        "keys": [asdict(key) for key in description.keys],
        "choices": [{"name": name, "text": text} for name, text in description.choices],
    }


def _key_lines(key: DescribedKey) -> list[str]:
    below = [*textwrap.wrap(key.allowed, _WIDTH - 4), *textwrap.wrap(key.text, _WIDTH - 4)]
    return [f"{key.name}: {key.default}", *(f"    {line}" for line in below)]
