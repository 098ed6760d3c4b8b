"""Every conformance vector that the folder given by --vectors holds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.conformance import augmentation, evaluation, files, matching, networks, whitening
from tests.conformance.reading import Vector, read_entries, sha256

CHECKS: dict[str, Callable[[Vector], None]] = {
    "convnet": networks.check_convnet,
    "network_variants": networks.check_variants,
    "resnet": networks.check_resnet,
    "dsa": augmentation.check_dsa,
    "zca": whitening.check_whitening,
    "mtt_step": matching.check_matching,
    "mtt_masked": matching.check_matching,
    "mtt_outer": matching.check_matching,
    "tesla_step": matching.check_tesla,
    "evaluation": evaluation.check_evaluation,
    "files": files.check_files,
}
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = metafunc.config.getoption("vectors")
    if not (folder / "vectors.json").is_file():
        reason = f"no conformance vectors in {folder}; give their folder with --vectors"
        missing = pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")
        metafunc.parametrize("vector", [missing])
        return
    vectors = [Vector(entry, folder) for entry in read_entries(folder)]
    if metafunc.function is test_agrees_with_the_reference:
        params = [param for vector in vectors for param in _by_precision(vector)]
    else:
        params = [pytest.param(vector, id=vector.entry["id"]) for vector in vectors]
    metafunc.parametrize("vector", params)


def _by_precision(vector: Vector) -> list[Any]:
    entry = vector.entry
    if entry["kind"] not in CHECKS:
        skip = pytest.mark.skip(reason=f"kind {entry['kind']} is not in this version")
        return [pytest.param(vector, marks=skip, id=entry["id"])]
    stated = [name for name in PRECISIONS if name in entry["tolerance"]]
    return [
        pytest.param(
            Vector(entry, vector.folder, PRECISIONS[name]), id="-".join([entry["id"], name])
        )
        for name in stated or ["float64"]
    ]


def test_the_file_is_the_one_described(vector: Vector):
    assert sha256(vector.folder / vector.entry["file"]) == vector.entry["sha256"]


def test_agrees_with_the_reference(vector: Vector):
    CHECKS[vector.entry["kind"]](vector)
