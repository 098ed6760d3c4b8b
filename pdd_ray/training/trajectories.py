"""Files of experts: trajectories (parameters after every epoch) and single parameter vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from pdd_ray.core.artifact_files import PARAMETERS, TRAJECTORY
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.core.transfers import moved_network
from pdd_ray.models.batch_norm import set_statistics
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from pdd_ray.models.registry import ModelSpec


def save_trajectory(
    folder: Path, snapshots: Sequence[Tensor], network: FlatModel, storage: str
) -> None:
    """Write ``snapshots`` (each [P], in the order of ``network.names``) as [E + 1, P].

    ``storage`` is ``float32`` or ``float16``.
    """
    stacked = torch.stack(list(snapshots)).to(getattr(torch, storage))
    save_tensors(folder / TRAJECTORY, {"snapshots": stacked}, _layout(network))


@dataclass(frozen=True)
class Trajectory:
    """One expert's file, of which single snapshots are read."""

    path: Path

    @property
    def length(self) -> int:
        """Number of snapshots, epochs + 1."""
        with safe_open(self.path, framework="pt") as file:
            shape: list[int] = file.get_slice("snapshots").get_shape()
        return shape[0]

    def snapshots(self, *epochs: int) -> list[Tensor]:
        """Return the parameters after ``epochs`` epochs each, float32 [P], without the rest."""
        with safe_open(self.path, framework="pt") as file:
            rows = file.get_slice("snapshots")
            return [rows[epoch].float() for epoch in epochs]


def open_trajectory(folder: Path) -> Trajectory:
    """Return the trajectory in the artifact ``folder``."""
    return Trajectory(folder / TRAJECTORY)


def last_network(
    trajectory: Trajectory, spec: ModelSpec, images: Tensor, num_classes: int
) -> nn.Sequential:
    """Return the network ``spec`` with the last parameters of ``trajectory``, in evaluation mode.

    Trajectories hold parameters only: the running statistics of batch norm are those of ``images``.

    Args:
        trajectory: Of an expert.
        spec: The expert's network.
        images: Prepared images on which it was trained, [N, C, H, W]; the network is on their
            device.
        num_classes: Its outputs.
    """
    channels, height, width = images.shape[1:]
    model = create_model(spec, (channels, height, width), num_classes, torch.Generator())
    last = trajectory.length - 1
    FlatModel(model).load(model, trajectory.snapshots(last, last)[0])
    model = moved_network(model, images.device)
    set_statistics(model, images)
    return model.eval()


def save_parameters(folder: Path, parameters: Tensor, network: FlatModel) -> None:
    """Write one parameter vector [P]."""
    save_tensors(folder / PARAMETERS, {"parameters": parameters}, _layout(network))


def load_parameters(folder: Path) -> Tensor:
    """Return the parameter vector [P] written by :func:`save_parameters`."""
    return load_tensors(folder / PARAMETERS)[0]["parameters"]


def _layout(network: FlatModel) -> dict[str, list[list[int] | str]]:
    return {
        "names": list(network.names),
        "shapes": [list(shape) for shape in network.shapes],
    }
