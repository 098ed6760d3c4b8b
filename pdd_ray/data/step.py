"""The data step: reads, splits and prepares a data set once for all experiments that use it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from pdd_ray.core.errors import DataError
from pdd_ray.data.content import read_entry
from pdd_ray.data.dataset import Dataset, load_dataset, only_classes, save_dataset
from pdd_ray.data.facts import DataFacts, location_path, read_facts
from pdd_ray.data.pixels import fit_pixel_transform, transform_in_chunks
from pdd_ray.data.preparation import prepare_pixels
from pdd_ray.data.spec import DataSpec
from pdd_ray.data.split import validation_split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.source import RawSplit

logger = logging.getLogger(__name__)


def run(context: StepContext) -> None:
    """Make the artifact of the data set that the configuration names (see ``step_config``).

    Raises:
        DataError: if it can't be read, or has changed since the plan was made.
    """
    spec, facts = _locate(context.config, context.facts)
    train, test = spec.open().read()
    _check_counts("training", train, facts.train_counts)
    _check_counts("test", test, facts.test_counts)
    context.progress({"fraction": 0.1})
    dataset = _prepare(train, test, spec, facts)
    context.progress({"fraction": 0.9})
    logger.info(
        "%d train, %d validation and %d test images of shape %s",
        len(dataset.train_labels),
        len(dataset.validation_labels),
        len(dataset.test_labels),
        dataset.shape,
    )
    save_dataset(dataset, context.output)


def run_classes(context: StepContext) -> None:
    """Make the artifact of some classes of a prepared data set, numbered from 0.

    Input: ``data``.
    """
    dataset = load_dataset(context.inputs["data"])
    save_dataset(only_classes(dataset, context.config["classes"]), context.output)


def _locate(config: Mapping[str, Any], cache: Path) -> tuple[DataSpec, DataFacts]:
    """Return the specification with this machine's root, and its facts, checked."""
    fingerprint = config["fingerprint"]
    location = read_entry(location_path(fingerprint, cache))
    if location is None:
        msg = (
            f"{location_path(fingerprint, cache)} should say where the images of this data set "
            "lie; plan or run its sweep again on this store"
        )
        raise DataError(msg)
    spec = DataSpec.model_validate(
        {**config["spec"], "root": location["root"], "download": location["download"]}
    )
    facts = read_facts(spec, cache)
    if facts.fingerprint != fingerprint:
        msg = f"the images in {spec.root} have changed since the run was planned; run it again"
        raise DataError(msg)
    return spec, facts


def _check_counts(name: str, split: RawSplit, counts: tuple[int, ...]) -> None:
    labels = torch.from_numpy(split.labels)
    found = tuple(torch.bincount(labels, minlength=len(counts)).tolist())
    if found != counts:
        msg = (
            f"the data set has {list(found)} {name} images per class instead of {list(counts)}; "
            "remove it and download it again"
        )
        raise DataError(msg)


def _prepare(train: RawSplit, test: RawSplit, spec: DataSpec, facts: DataFacts) -> Dataset:
    images, labels = prepare_pixels(train, spec, facts.shape), torch.from_numpy(train.labels)
    kept, held_out = validation_split(
        train.labels.tolist(), len(facts.classes), spec.validation_fraction, spec.split_seed
    )
    train_slice, validation_slice = images[kept], images[held_out]
    del images  # as large as the two slices together
    test_images = prepare_pixels(test, spec, facts.shape)
    transform = fit_pixel_transform(train_slice, spec)
    for pixels in (train_slice, validation_slice, test_images):
        transform_in_chunks(transform, pixels)
    return Dataset(
        train_images=train_slice,
        train_labels=labels[kept],
        validation_images=validation_slice,
        validation_labels=labels[held_out],
        test_images=test_images,
        test_labels=torch.from_numpy(test.labels),
        classes=facts.classes,
        pixels=transform,
        fingerprint=facts.fingerprint,
        source=spec.source,
    )
