"""Reading files of ``torch.save`` without running code that they may hold."""

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdd_ray.core.errors import FormatError

_Global = Callable[..., Any]
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    pickle.UnpicklingError,
)
"""What torch.load raises for files that are missing, cut off or of another kind."""


def load_tensors_only(path: Path, *, lazily: bool = False) -> object:
    """Return the content of ``path``: containers, tensors on the CPU, numbers and strings.

    The numpy numbers that result files of DC, DSA and DM hold are read as Python floats. Nothing
    else is allowed, so that no code of the file can run.

    Args:
        path: a file written by ``torch.save``.
        lazily: map the tensors into memory; they are valid as long as the file is unchanged.

    Raises:
        FormatError: the file cannot be read, or asks for anything else.
    """
    try:
        with torch.serialization.safe_globals(_numpy_numbers()):
            content: object = torch.load(
                path,
                map_location="cpu",
                weights_only=True,
                mmap=lazily and zipfile.is_zipfile(path),
            )
    except _UNREADABLE as error:
        msg = f"{path} can't be read: {_reason(error)}"
        raise FormatError(msg) from error
    return content


def require_tensor(value: object, dtype: torch.dtype, dimensions: int, what: str) -> Tensor:
    """Return ``value`` if it is a dense tensor of ``dtype`` with ``dimensions`` axes.

    Raises:
        FormatError: it is anything else; the text begins with ``what``.
    """
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        msg = f"{what} must be a dense tensor, got {type(value).__name__}"
        raise FormatError(msg)
    if value.dtype != dtype or value.dim() != dimensions:
        msg = (
            f"{what} must be {dtype} with {dimensions} axes, "
            f"got {value.dtype} of shape {list(value.shape)}"
        )
        raise FormatError(msg)
    return value.detach()


def require_list(value: object, what: str, length: int | None = None) -> list[object]:
    """Return ``value`` as a list if it is one (or a tuple), not empty and of ``length``.

    Raises:
        FormatError: it is anything else; the text begins with ``what``.
    """
    if not isinstance(value, list | tuple) or not value:
        msg = f"{what} must be a list with entries, got {type(value).__name__}"
        raise FormatError(msg)
    if length is not None and len(value) != length:
        msg = f"{what} must have {length} entries, got {len(value)}"
        raise FormatError(msg)
    return list(value)


def _numpy_numbers() -> list[_Global | tuple[_Global, str]]:
    """Return the globals that a pickled numpy float needs, by the names of numpy 1 and 2."""
    return [
        (_number, "numpy.core.multiarray.scalar"),
        (_number, "numpy._core.multiarray.scalar"),
        (np.dtype, "numpy.dtype"),
        type(np.dtype(np.float64)),
        type(np.dtype(np.float32)),
    ]


def _number(dtype: np.dtype[np.floating], data: bytes) -> float:
    """Return a float; stands in for numpy's own function, which accepts any type."""
    if dtype.kind != "f" or len(data) != dtype.itemsize:
        msg = f"a numpy value of type {dtype}"
        raise pickle.UnpicklingError(msg)
    return float(np.frombuffer(data, dtype)[0])


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked:
        return f"it holds a {asked[1]}, and nothing but tensors and numbers is accepted"
    return f"it is damaged or not a file of torch.save ({type(error).__name__})"
