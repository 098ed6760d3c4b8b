"""Writing files so that a reader sees the old content or the new one, never a part."""

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from pdd_ray.core.identities import Json


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call ``write`` with a temporary path beside ``path``, then move the result into place.

    The content is on disk before the move, so that a crash leaves the old file or the new one. The
    file gets the user's default permissions, also where ``write`` sets its own (safetensors does).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)
        flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8."""
    write_atomically(path, lambda temporary: _write(temporary, text))


def write_json(path: Path, value: Json) -> None:
    """Write ``value`` to ``path`` atomically, as indented JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def flush_to_disk(path: Path) -> None:
    """Make sure that the content of the file or folder ``path`` is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def empty_folder(folder: Path) -> None:
    """Remove everything in ``folder``."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
