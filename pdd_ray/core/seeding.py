"""Named random streams: every draw belongs to a seed and a name, never to a worker or a time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """Return the 63-bit seed of the stream ``names`` under ``seed``.

    Different names give independent streams: ``derive_seed(0, "expert", 3, "batches")``.
    Integers and their decimal strings are different names.
    """
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in (seed, *names))
    value = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(value, "big") >> 1


def generator(seed: int, *names: str | int, device: str = "cpu") -> torch.Generator:
    """Return a fresh torch generator for the stream ``names`` under ``seed``.

    Draws are made on the CPU by default, so that they are the same for every device that
    computes with them.
    """
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(seed, *names))
