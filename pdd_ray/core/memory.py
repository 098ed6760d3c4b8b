"""The memory of a process: what is freed is used again, not given back and mapped anew."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
USUAL = {M_TRIM_THRESHOLD: 128 * 1024, M_MMAP_MAX: 65536}
"""Parameters of glibc's malloc with their defaults (mallopt(3))."""
KEEPING = {M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_MAX: 0}


@contextmanager
def freed_memory_is_reused() -> Iterator[None]:
    """Keep what is freed in the process until the end, and give it back then.

    glibc gives large tensors back as soon as they are freed, and training on a CPU frees the same
    ones in every step: up to a third of its time went into page faults (``benchmarks/README.md``).
    Results stay as they are; up to a quarter more memory was needed. Does nothing where the C
    library is another one.
    """
    library = _glibc()
    if library is None:
        yield
        return
    _set(library, KEEPING)
    try:
        yield
    finally:
        _set(library, USUAL)
        library.malloc_trim(0)


def _glibc() -> Any:  # noqa: ANN401 - a library is untyped
    """Return the C library of this process if it has glibc's malloc, else None."""
    import ctypes

    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _set(library: Any, parameters: dict[int, int]) -> None:  # noqa: ANN401 - see above
    for parameter, value in parameters.items():
        library.mallopt(parameter, value)
