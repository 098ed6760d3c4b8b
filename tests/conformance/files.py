"""Checks of the import of files that the reference implementations wrote."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pdd_ray.interop.reference_files import (
    LabelledImages,
    StagedImages,
    find_trajectories,
    read_condensation_result,
    read_idc,
    read_pdd_idc,
    read_stages,
    read_trajectories,
)
from tests.conformance.closeness import assert_digest
from tests.conformance.reading import Vector, sha256

Described = dict[str, Any]
PARTS = ("images_best.pt", "labels_best.pt", "syn_lr_best.pt")


def check_files(vector: Vector) -> None:
    """Dispatch on the structure described for each file; files of one stage come together."""
    for item in vector.values["files"]:
        path = vector.folder / item["path"]
        assert path.stat().st_size == item["bytes"]
        assert sha256(path) == item["sha256"]
        kind = item["structure"].get("type", "stage")
        if kind.startswith("list of experts"):
            _check_trajectories(vector, path, item)
        elif kind == "dict":
            _check_condensation(vector, path, item)
        elif kind.startswith("list of 2 tensors"):
            _check_idc(vector, path, item)
    parts = [vector.folder / item["path"] for item in vector.values["files"]]
    by_output: dict[Path, list[Path]] = {}
    for path in parts:
        if path.name == PARTS[0]:
            staged = path.parent.name.startswith("interval")
            by_output.setdefault(path.parents[int(staged)], []).append(path.parent)
    for output, stage_folders in by_output.items():
        _check_stages(vector, output, sorted(stage_folders, key=_stage_number))


def _stage_number(folder: Path) -> int:
    number = re.match(r"interval(\d+)_", folder.name)
    return int(number[1]) if number else 1


def _digest_name(vector: Vector, path: Path) -> str:
    (name,) = [
        name
        for name in vector.entry["outputs"]
        if name.startswith("digest.") and path.as_posix().endswith(name.removeprefix("digest."))
    ]
    return name


def _check_digest(vector: Vector, name: str, got: Tensor) -> None:
    relative = vector.entry["tolerance"]["digest"]["rtol"]
    assert_digest(name, got, vector.expected(name), relative)


def _check_trajectories(vector: Vector, path: Path, item: Described) -> None:
    structure = item["structure"]
    layout = dict(zip(structure["names"], structure["shapes"], strict=True))
    trajectories = read_trajectories(path, layout)
    name = _digest_name(vector, path)
    expected = vector.expected(name)
    assert trajectories.shape[:2] == expected.shape[:2]
    assert path in find_trajectories(path.parent)
    relative = vector.entry["tolerance"]["digest"]["rtol"]
    for got, want in zip(trajectories.flatten(0, 1), expected.flatten(0, 1), strict=True):
        assert_digest(name, got, want, relative)


def _check_stages(vector: Vector, output: Path, folders: list[Path]) -> None:
    """Check that the sets of all stages so far make the union that each stage's files hold."""
    stages = read_stages(output)
    assert len(folders) == len(stages)
    for number, (stage, stage_folder) in enumerate(zip(stages, folders, strict=True), 1):
        union = [
            torch.cat([part.images for part in stages[:number]]),
            torch.cat([part.labels for part in stages[:number]]),
            torch.tensor(stage.step_size),
        ]
        for part, value in zip(PARTS, union, strict=True):
            _check_digest(vector, _digest_name(vector, stage_folder / part), value)


def _check_condensation(vector: Vector, path: Path, item: Described) -> None:
    result = read_condensation_result(path)
    assert len(result.experiments) == item["structure"]["experiments"]
    for number, experiment in enumerate(result.experiments):
        shapes = [list(experiment.images.shape), list(experiment.labels.shape)]
        assert shapes == item["structure"]["shapes"]
        _check_digest(vector, f"digest.exp{number}", experiment.images)
        assert torch.equal(experiment.labels, vector[f"labels.exp{number}"])
    accuracies = [value for values in result.accuracies.values() for value in values]
    assert accuracies == vector.expected("accuracies").tolist()


def _check_idc(vector: Vector, path: Path, item: Described) -> None:
    stem = path.stem.removesuffix("_data")
    union: LabelledImages | StagedImages
    if stem.startswith("interval"):
        union = read_pdd_idc(path)
        assert torch.equal(union.stage - 1, vector[f"stage.{stem}"])
        labels = f"labels.{stem}"
        _check_earlier_rows(vector, path, stem, union)
    else:
        union = read_idc(path)
        labels = "labels"
        ends = torch.stack([union.images.min(), union.images.max()])
        assert torch.equal(ends.double(), vector.expected("range"))
    assert [list(union.images.shape), list(union.labels.shape)] == item["structure"]["shapes"]
    _check_digest(vector, f"digest.{stem}", union.images)
    assert torch.equal(union.labels, vector[labels])


def _check_earlier_rows(vector: Vector, path: Path, stem: str, union: StagedImages) -> None:
    """Check by how much the rows of earlier stages differ from the file before."""
    name = f"old_rows_max_change.{stem}"
    if not vector.has(name):
        return
    last = int(union.stage.max())
    before = read_pdd_idc(path.with_name(f"interval_{last - 2}_data.pt"))
    change = (union.images[union.stage < last] - before.images).abs().max()
    assert float(change) == float(vector.expected(name))
