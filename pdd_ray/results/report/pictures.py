"""Plots and pictures of distilled images, as data URIs."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_ray.core.artifact_files import PICTURE
from pdd_ray.core.operations import IMAGE_KINDS
from pdd_ray.data.set_header import class_names
from pdd_ray.results.report.snapshot import name_within_experiment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdd_ray.results.report.budget import Budget
    from pdd_ray.results.report.snapshot import Results
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


def read_pictures(results: Results, budget: Budget) -> list[PictureRow]:
    """Return the stages' images of the first seed of each variant and point of its grid.

    Settings that share all their stages are one row.
    """
    settings: set[tuple[str, str]] = set()
    titles: dict[tuple[str, ...], list[str]] = {}
    for (variant, axes, seed), steps in results.experiments().items():
        stages = [step.key for step in steps if _has_picture(step, results)]
        if stages and (variant, axes) not in settings:
            settings.add((variant, axes))
            titles.setdefault(tuple(stages), []).append(_title(variant, axes, seed))
    rows = [
        PictureRow("; ".join(names), tuple(_embedded(keys, results, budget)))
        for keys, names in titles.items()
    ]
    return [row for row in rows if row.pictures]


def data_uri(path: Path) -> str:
    """Return the content of a PNG or SVG file as a data URI."""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{_TYPES[path.suffix]};base64,{content}"


def _has_picture(step: SavedStep, results: Results) -> bool:
    return (
        step.kind in IMAGE_KINDS
        and step.key in results.manifests
        and (results.store.folder(step.key) / PICTURE).is_file()
    )


def _title(variant: str, axes: str, seed: int) -> str:
    values = [f"{name} = {value}" for name, value in json.loads(axes).items()]
    return ", ".join([variant, *values, f"seed {seed}"])


def _embedded(keys: tuple[str, ...], results: Results, budget: Budget) -> Iterator[Picture]:
    for key in keys:
        path = results.store.folder(key) / PICTURE
        uri = data_uri(path)
        if budget.take(len(uri)):
            title = name_within_experiment(results.steps[key].label)
            yield Picture(title, uri, *_shown_size(path), class_names(key, path.parent))


def _shown_size(path: Path) -> tuple[int, int]:
    """Return the width and height of a PNG, enlarged by a whole factor if it is small.

    Stages with as many classes are enlarged by the same factor.
    """
    with path.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    factor = max(1, SHOWN_HEIGHT // height)
    return factor * width, factor * height
