"""Files of MTT, PDD, DC, DSA, DM and IDC: trajectories and synthetic sets.

Letters: N images of shape [C, H, W], P parameters, E epochs. Layouts: specification, sections 1.2
and 1.4. Every file is checked against its layout; a FormatError says what is different.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pdd_ray.core.errors import FormatError
from pdd_ray.interop.pickles import load_tensors_only, require_list, require_tensor

Layout = Mapping[str, Sequence[int]]
"""Shape of each parameter by name, in the order of the file."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images float32 [N, C, H, W] and their classes int64 [N]."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class ImportedStage:
    """The new images of one stage (prepared values), their classes, and the learned step size."""

    images: Tensor
    labels: Tensor
    step_size: float


@dataclass(frozen=True, eq=False)
class StagedImages:
    """A union of PDD with IDC: pixels in about [0, 1]; ``stage`` is int64 [N] and 1-based."""

    images: Tensor
    labels: Tensor
    stage: Tensor


@dataclass(frozen=True, eq=False)
class CondensationResult:
    """A result of DC, DSA or DM: one set per experiment, and test accuracies by network."""

    experiments: tuple[LabelledImages, ...]
    accuracies: Mapping[str, tuple[float, ...]]


def find_trajectories(folder: Path) -> tuple[Path, ...]:
    """Return the files ``replay_buffer_K.pt`` of ``folder`` in the order of their experts.

    Raises:
        FormatError: there is none, or a number is missing (the reference would stop there).
    """
    found = _numbered(folder, r"replay_buffer_(\d+)\.pt")
    _check_numbers(folder, "replay_buffer", found, 0)
    return tuple(found[number] for number in sorted(found))


def read_trajectories(path: Path, layout: Layout) -> Tensor:
    """Return the trajectories of a ``replay_buffer_K.pt``, float32 [experts, E + 1, P].

    Args:
        path: the file; it holds lists of experts, snapshots and parameters, without names.
        layout: names and shapes of the network's parameters.

    Raises:
        FormatError: the file has another layout, or an expert that never moves.
    """
    experts = require_list(load_tensors_only(path, lazily=True), f"{path}: the content")
    trajectories = [
        _trajectory(expert, layout, f"{path}: expert {number}")
        for number, expert in enumerate(experts)
    ]
    lengths = sorted({len(trajectory) for trajectory in trajectories})
    if len(lengths) > 1:
        msg = f"{path}: experts have different numbers of snapshots: {lengths}"
        raise FormatError(msg)
    return torch.stack(trajectories)


def read_stages(folder: Path) -> tuple[ImportedStage, ...]:
    """Return the stages of an output folder of PDD with MTT, or the single stage of MTT.

    The files of stage i hold the union of all stages up to i; what is returned for a stage is
    what it added.

    Raises:
        FormatError: files are missing or have another layout, or a stage changed earlier images.
    """
    found = _numbered(folder, r"interval(\d+)_epoch\d+-\d+")
    if not found:
        return (_read_union(folder),)
    _check_numbers(folder, "interval", found, 1)
    stages: list[ImportedStage] = []
    previous = None
    for number in sorted(found):
        union = _read_union(found[number])
        stages.append(union if previous is None else _added(previous, union, found[number]))
        previous = union
    return tuple(stages)


def read_condensation_result(path: Path) -> CondensationResult:
    """Return the content of a ``res_METHOD_DATASET_MODEL_Nipc.pt`` of DC, DSA or DM.

    Images are normalised with the data set's constants; the last experiment is the usual choice.

    Raises:
        FormatError: the file has another layout.
    """
    content = load_tensors_only(path)
    if not isinstance(content, dict) or "data" not in content:
        msg = f"{path} must hold a dict with the key 'data', got {type(content).__name__}"
        raise FormatError(msg)
    experiments = require_list(content["data"], f"{path}: data")
    return CondensationResult(
        tuple(
            _labelled(pair, f"{path}: experiment {number}")
            for number, pair in enumerate(experiments)
        ),
        _accuracies(content.get("accs_all_exps", {}), path),
    )


def read_idc(path: Path) -> LabelledImages:
    """Return the content of IDC's ``data.pt``: stored images before decoding, class-major.

    They are pixels, and can leave [0, 1] a little.

    Raises:
        FormatError: the file has another layout.
    """
    return _labelled(load_tensors_only(path), str(path))


def read_pdd_idc(path: Path) -> StagedImages:
    """Return the content of a ``interval_K_data.pt`` of PDD with IDC (K is 0-based).

    Rows are class-major, then slot, then stage: row r is of stage r mod (K + 1).

    Raises:
        FormatError: the file has another name or layout.
    """
    name = re.fullmatch(r"interval_(\d+)_data\.pt", path.name)
    if name is None:
        msg = f"{path}: the name must be interval_K_data.pt, because K tells the stages"
        raise FormatError(msg)
    stages = int(name[1]) + 1
    union = _labelled(load_tensors_only(path), str(path))
    counts = union.labels.bincount()
    class_major = bool((union.labels.diff() >= 0).all()) and bool((counts == counts[0]).all())
    if not class_major or int(counts[0]) % stages:
        msg = (
            f"{path}: expected rows sorted by class with the same multiple of {stages} images in "
            f"each, got {counts.tolist()} images per class"
        )
        raise FormatError(msg)
    stage = torch.arange(len(union.labels)) % stages + 1
    return StagedImages(union.images, union.labels, stage)


def _trajectory(expert: object, layout: Layout, what: str) -> Tensor:
    snapshots = [
        _snapshot(snapshot, layout, f"{what}, snapshot {number}")
        for number, snapshot in enumerate(require_list(expert, what))
    ]
    if len(snapshots) > 1 and torch.equal(snapshots[0], snapshots[-1]):
        msg = (
            f"{what} ends where it starts; the reference's scripts write such files on machines "
            "without a GPU, and they can't be used: train the experts anew"
        )
        raise FormatError(msg)
    return torch.stack(snapshots)


def _snapshot(snapshot: object, layout: Layout, what: str) -> Tensor:
    values = require_list(snapshot, what, len(layout))
    pieces = []
    for value, (name, shape) in zip(values, layout.items(), strict=True):
        tensor = require_tensor(value, torch.float32, len(shape), f"{what}, {name}")
        if tuple(tensor.shape) != tuple(shape):
            msg = (
                f"{what}: {name} has shape {list(tensor.shape)}, the network needs {list(shape)}; "
                "choose the network that the file was made with"
            )
            raise FormatError(msg)
        pieces.append(tensor.reshape(-1))
    return torch.cat(pieces)


def _read_union(folder: Path) -> ImportedStage:
    images, labels, step_size = (
        load_tensors_only(folder / f"{name}_best.pt") for name in ("images", "labels", "syn_lr")
    )
    union = _labelled([images, labels], str(folder))
    alpha = require_tensor(step_size, torch.float32, 0, f"{folder}: syn_lr_best.pt")
    return ImportedStage(union.images, union.labels, float(alpha))


def _added(previous: ImportedStage, union: ImportedStage, folder: Path) -> ImportedStage:
    """Return what ``union`` adds to ``previous``, whose images come first and are unchanged."""
    count = len(previous.labels)
    unchanged = torch.equal(union.images[:count], previous.images) and torch.equal(
        union.labels[:count], previous.labels
    )
    if not unchanged or len(union.labels) == count:
        msg = f"{folder}: the first {count} images must be those of the stage before, then new ones"
        raise FormatError(msg)
    return ImportedStage(union.images[count:], union.labels[count:], union.step_size)


def _labelled(pair: object, what: str) -> LabelledImages:
    images, labels = require_list(pair, what, 2)
    result = LabelledImages(
        require_tensor(images, torch.float32, 4, f"{what}: images"),
        require_tensor(labels, torch.int64, 1, f"{what}: labels"),
    )
    count = len(result.images)
    num_labels = len(result.labels)
    if count == 0 or count != num_labels or int(result.labels.min()) < 0:
        msg = f"{what}: needs one class >= 0 per image, got {count} images, {num_labels} labels"
        raise FormatError(msg)
    return result


def _accuracies(value: object, path: Path) -> dict[str, tuple[float, ...]]:
    if not isinstance(value, dict):
        msg = f"{path}: accs_all_exps must be a dict, got {type(value).__name__}"
        raise FormatError(msg)
    accuracies = {}
    for name, numbers in value.items():
        what = f"{path}: accuracies of {name}"
        values = require_list(numbers, what)
        if not all(isinstance(number, float) for number in values):
            msg = f"{what} must be numbers"
            raise FormatError(msg)
        accuracies[str(name)] = tuple(number for number in values if isinstance(number, float))
    return accuracies


def _numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Return the entries of ``folder`` whose names match, by the number in the name."""
    if not folder.is_dir():
        msg = f"{folder} is not a folder"
        raise FormatError(msg)
    found: dict[int, Path] = {}
    for entry in sorted(folder.iterdir()):
        match = re.fullmatch(pattern, entry.name)
        if match is None:
            continue
        number = int(match[1])
        if number in found:
            msg = f"{folder} has two entries of number {number}: {found[number].name}, {entry.name}"
            raise FormatError(msg)
        found[number] = entry
    return found


def _check_numbers(folder: Path, what: str, found: Mapping[int, Path], first: int) -> None:
    expected = range(first, first + len(found))
    if not found or sorted(found) != list(expected):
        numbers = ", ".join(str(number) for number in sorted(found)) or "none"
        msg = f"{folder} must have {what} entries numbered {first}, {first + 1}, ...; got {numbers}"
        raise FormatError(msg)
