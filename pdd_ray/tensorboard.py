"""TensorBoard event files of a stage, written into the store while the stage runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorboard.plugins.hparams import summary_v2
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from torch import Tensor

SECONDS_BETWEEN_FLUSHES = 5


class StageWriter:
    """Writes scalars, pictures and hyper-parameters of one stage; a context manager."""

    def __init__(self, folder: Path) -> None:
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

    def hyper_parameters(self, values: Mapping[str, Any]) -> None:
        """Write ``values`` at the start, so that the HParams tab has it while it runs.

        ``SummaryWriter.add_hparams`` would make a second run per call.
        """
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in values.items()
        }
        self._writer._get_file_writer().add_summary(summary_v2.hparams_pb(plain))

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Write scalars after ``iteration`` updates."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)

    def images(self, iteration: int, pixels: Tensor, images_per_class: int) -> None:
        """Write pixel images [N, C, H, W] in [0, 1], class by class, one row per class."""
        grid = make_grid(pixels, nrow=images_per_class, padding=1, pad_value=0.5)
        self._writer.add_image("images", grid, iteration)
