"""Stable identities: canonical JSON and the digests made from it or from file contents."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

DIGEST_BYTES = 16
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
)

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""A value with one canonical text."""


def canonical_json(value: Json) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, no NaN.

    Raises:
        TypeError: for anything without a stable text (sets, paths, arrays, ...).
        ValueError: for NaN and infinities.
    """
    return _ENCODER.encode(value)


def digest(value: Json) -> str:
    """Return the hexadecimal BLAKE2b digest (32 characters) of the canonical JSON of ``value``."""
    text = canonical_json(value).encode("ascii")
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).hexdigest()


def bytes_digest(data: bytes) -> str:
    """Return the hexadecimal BLAKE2b digest (32 characters) of ``data``."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def file_digest(path: Path) -> str:
    """Return the hexadecimal BLAKE2b digest (32 characters) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)
        ).hexdigest()
