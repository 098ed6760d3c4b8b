"""Reading conformance vectors: a JSON description and one tensor file each."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Vector:
    """One entry of vectors.json; floating-point inputs are given in ``dtype``."""

    entry: dict[str, Any]
    folder: Path
    dtype: torch.dtype = torch.float64

    @property
    def values(self) -> dict[str, Any]:
        return self.entry["values"]

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def tolerance(self) -> dict[str, Any]:
        return self.entry["tolerance"][self.precision]

    @property
    def rounded(self) -> list[str]:
        return self.entry.get("rounded_to_float32", [])

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.folder / self.entry["file"])

    def has(self, name: str) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> Tensor:
        """Return a stored tensor in ``dtype`` if it is an input of floating-point numbers."""
        value = self.tensors[name]
        return value.to(self.dtype) if value.is_floating_point() else value

    def expected(self, name: str) -> Tensor:
        """Return a stored output, floating-point numbers in float64."""
        value = self.tensors[name]
        return value.double() if value.is_floating_point() else value


def read_entries(folder: Path) -> list[dict[str, Any]]:
    index = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    if index["format"] != 1:
        msg = f"vectors.json has format {index['format']}; this test suite reads format 1"
        raise ValueError(msg)
    return index["vectors"]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_values(seed: int, number: int, count: int) -> np.ndarray:
    """Return u(seed, number, i) for i < count, by the rule `hash_values` of the conventions."""
    mask = np.uint64(0xFFFFFFFF)
    start = (number * 2246822519 + seed * 3266489917 + 374761393) % 2**32
    x = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(start)) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(2146121005)) & mask
    x ^= x >> np.uint64(15)
    x = (x * np.uint64(2221713035)) & mask
    x ^= x >> np.uint64(16)
    return x.astype(np.float64) / 2**32


def hash_tensor(seed: int, number: int, shape: Shape, low: float, high: float) -> Tensor:
    """Return a tensor of hash values in [low, high), rounded to float32 but stored as float64."""
    values = low + (high - low) * hash_values(seed, number, int(np.prod(shape, dtype=int)))
    return torch.from_numpy(values).float().double().reshape(shape)


def formula_weight(name: str, shape: Shape, seed: int, number: int) -> Tensor:
    """Return parameter ``number`` by the rule `formula_weights`."""
    q = 2 * hash_values(seed, number, int(np.prod(shape, dtype=int))) - 1
    if name.endswith("weight") and len(shape) in {2, 4}:
        q = q / np.sqrt(float(np.prod(shape[1:])))
    elif name.endswith("weight") and len(shape) in {1, 3}:
        q = 1 + 0.2 * q
    else:
        q = 0.2 * q
    return torch.from_numpy(q).float().reshape(shape)


def formula_buffer(name: str, shape: Shape, seed: int, number: int) -> Tensor:
    """Return batch norm statistic ``number`` by the rule `formula_weights`."""
    u = hash_values(seed, 1000 + number, int(np.prod(shape, dtype=int)))
    value = 0.2 * (2 * u - 1) if name.endswith("running_mean") else 0.5 + u
    return torch.from_numpy(value).float().reshape(shape)
