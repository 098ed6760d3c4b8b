"""Tensors on disk: safetensors files whose metadata is one key, so that their bytes are stable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pdd_ray.core.errors import FormatError
from pdd_ray.core.files import write_atomically
from pdd_ray.core.identities import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from torch import Tensor

    from pdd_ray.core.identities import Json

METADATA_KEY = "pdd"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Json]) -> None:
    """Write ``tensors`` and ``metadata`` to ``path``, atomically.

    The metadata is one key of canonical JSON: with several keys the bytes would differ from save
    to save.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = {METADATA_KEY: canonical_json(metadata)}
    write_atomically(path, lambda temporary: save_file(plain, temporary, metadata=text))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata written by :func:`save_tensors`.

    Raises:
        FormatError: if the file is not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        msg = f"{path} is not a safetensors file of pdd-ray ({error})"
        raise FormatError(msg) from error
    return tensors, metadata
