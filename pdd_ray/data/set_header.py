"""What a stored synthetic set says of itself, read without torch."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from pdd_ray.core.artifact_files import SYNTHETIC_SET
from pdd_ray.core.errors import DamagedArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def class_names(key: str, folder: Path) -> tuple[str, ...]:
    """Return the names of the classes of the stage ``key``, whose artifact is ``folder``.

    Raises:
        DamagedArtifactError: if the header of its safetensors file can't be read.
    """
    try:
        with (folder / SYNTHETIC_SET).open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size))
        return tuple(json.loads(header["__metadata__"]["pdd"])["classes"])
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise DamagedArtifactError(key, f"{SYNTHETIC_SET} can't be read ({error})") from error
