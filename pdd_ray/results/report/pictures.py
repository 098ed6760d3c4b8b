"""Pictures of the stages of experiments, as data URIs in the page."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_ray.core.artifact_files import PICTURE
from pdd_ray.core.labels import name_within_experiment
from pdd_ray.core.operations import IMAGE_KINDS
from pdd_ray.data.set_header import class_names
from pdd_ray.results.report.settings import setting_title

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdd_ray.results.report.budget import Budget
    from pdd_ray.results.report.snapshot import Snapshot
    from pdd_ray.results.saved_sweeps import SavedStep

SHOWN_HEIGHT = 400
"""Pictures are enlarged as long as they are no higher than this, in CSS pixels."""
_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Picture:
    """An image that lies in the page itself.

    Attributes:
        title: What it shows.
        uri: Its data URI.
        width: Width at which it is shown, in CSS pixels; None if the page decides.
        height: The same for its height.
        classes: Names of the classes of its rows, from the top; empty if it has no such rows.
    """

    title: str
    uri: str
    width: int | None = None
    height: int | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureRow:
    """The pictures of the stages of one experiment."""

    title: str
    pictures: tuple[Picture, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the rows, from the top; empty if they are not always the same."""
        found = {picture.classes for picture in self.pictures}
        return found.pop() if len(found) == 1 else ()


def read_pictures(snapshot: Snapshot, budget: Budget) -> list[PictureRow]:
    """Return the stages' images of the first seed of each variant and point of its grid.

    Settings that share all their stages are one row.
    """
    settings: set[tuple[str, str]] = set()
    titles: dict[tuple[str, ...], list[str]] = {}
    for (variant, axes, seed), steps in snapshot.steps_by_experiment.items():
        stages = [step.key for step in steps if _has_picture(step, snapshot)]
        if stages and (variant, axes) not in settings:
            settings.add((variant, axes))
            title = f"{setting_title(variant, json.loads(axes))}, seed {seed}"
            titles.setdefault(tuple(stages), []).append(title)
    rows = [
        PictureRow("; ".join(names), tuple(_embedded(keys, snapshot, budget)))
        for keys, names in titles.items()
    ]
    return [row for row in rows if row.pictures]


def data_uri(path: Path) -> str:
    """Return the content of a PNG or SVG file as a data URI."""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{_TYPES[path.suffix]};base64,{content}"


def _has_picture(step: SavedStep, snapshot: Snapshot) -> bool:
    return (
        step.kind in IMAGE_KINDS
        and step.key in snapshot.makings
        and (snapshot.store.folder(step.key) / PICTURE).is_file()
    )


def _embedded(keys: tuple[str, ...], snapshot: Snapshot, budget: Budget) -> Iterator[Picture]:
    for key in keys:
        path = snapshot.store.folder(key) / PICTURE
        uri = data_uri(path)
        if budget.take(len(uri)):
            title = name_within_experiment(snapshot.steps[key].label)
            yield Picture(title, uri, *_shown_size(path), class_names(key, path.parent))


def _shown_size(path: Path) -> tuple[int, int]:
    """Return the width and height of a PNG, enlarged by a whole factor if it is small.

    Stages with as many classes are enlarged by the same factor.
    """
    with path.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    factor = max(1, SHOWN_HEIGHT // height)
    return factor * width, factor * height
