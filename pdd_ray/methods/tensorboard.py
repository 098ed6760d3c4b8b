"""The writer of a stage's TensorBoard event files, into the store while the stage runs.

Every stage is a run of TensorBoard, and a quantity has the same tag in the runs of all methods::

    loss                     the method's objective after each update (or drawn network)
    step_size                the learned step size; one value where it is not learned
    validation/accuracy      of networks trained on a candidate; the last value is the chosen one's
    student/loss             of the student after its inner steps (mtt)
    network/updates          image updates with a drawn network (cafe)
    network/epochs           epochs that a drawn network was trained for (cafe)
    network/query_accuracy   on the images that say when a drawn network is left (cafe)
    images                   the new images, a row per class; the last picture is handed on

Hyper-parameters are written when the stage begins, so that the HParams tab has them while it runs;
its metrics are the last values of the tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tensorboard.plugins.hparams import summary_v2
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from pdd_ray.core.dotted import flat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from torch import Tensor

    from pdd_ray.core.identities import Json

SECONDS_BETWEEN_FLUSHES = 5
IMAGES = "images"
TAGS = {
    "loss": "loss",
    "step_size": "step_size",
    "validation_accuracy": "validation/accuracy",
    "student_loss": "student/loss",
    "updates": "network/updates",
    "network_epochs": "network/epochs",
    "query_accuracy": "network/query_accuracy",
}
"""The tag of every scalar that methods tell, by the name of its curve; others keep their name."""


class StageWriter:
    """Writes scalars, pictures and hyper-parameters of one stage; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._run = folder.name
        self._writer = SummaryWriter(folder, flush_secs=SECONDS_BETWEEN_FLUSHES)

    def __enter__(self) -> StageWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def hyper_parameters(self, values: Mapping[str, Json]) -> None:
        """Write ``values`` as the hyper-parameters of the run; nested ones get dotted names.

        ``SummaryWriter.add_hparams`` would make a second run per call.
        """
        shown = {name: _shown(value) for name, value in flat(values).items() if value != {}}
        summary = summary_v2.hparams_pb(shown, trial_id=self._run)
        writer = self._writer._get_file_writer()
        writer.add_summary(summary)
        writer.flush()

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Write scalars after ``iteration`` updates, by the name of their curves."""
        for name, value in values.items():
            self._writer.add_scalar(TAGS.get(name, name), value, iteration)

    def images(self, iteration: int, pixels: Tensor, images_per_class: int) -> None:
        """Write pixel images [N, C, H, W] in [0, 1], class by class, one row per class."""
        grid = make_grid(pixels, nrow=images_per_class, padding=1, pad_value=0.5)
        rounded = grid.mul(255).round().to(torch.uint8)  # it would cut decimals off
        self._writer.add_image(IMAGES, rounded, iteration)


def _shown(value: Json) -> bool | float | str:
    """Return what TensorBoard can hold of ``value``: numbers and truth values, others as text."""
    if isinstance(value, bool | int | float | str):
        return value
    return "none" if value is None else str(value)
