"""Every conformance vector that the folder given by --vectors holds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.conformance import (
    augmentation,
    distribution,
    evaluation,
    files,
    gradient_matching,
    idc,
    matching,
    multi_formation,
    networks,
    selection,
    whitening,
)
from tests.conformance.reading import Vector, read_entries, sha256

CHECKS: dict[str, Callable[[Vector], None]] = {
    "convnet": networks.check_convnet,
    "network_variants": networks.check_variants,
    "idc_network": networks.check_idc_network,
    "resnet": networks.check_resnet,
    "dsa": augmentation.check_dsa,
    "idc_augmentation": augmentation.check_idc_augmentation,
    "dc_augmentation": augmentation.check_dc_augmentation,
    "cutmix": augmentation.check_cutmix,
    "idc_decode": multi_formation.check_decode,
    "idc_init": multi_formation.check_mix_initial,
    "zca": whitening.check_whitening,
    "mtt_step": matching.check_matching,
    "mtt_masked": matching.check_matching,
    "mtt_outer": matching.check_matching,
    "tesla_step": matching.check_tesla,
    "dc_distance": gradient_matching.check_distance,
    "dc_step": gradient_matching.check_loop,
    "dc_loop": gradient_matching.check_loop,
    "dsa_loop": gradient_matching.check_loop,
    "evaluation": evaluation.check_evaluation,
    "files": files.check_files,
    "dm_step": distribution.check_dm,
    "cafe_step": distribution.check_cafe,
    "coreset": selection.check_coreset,
    "forgetting": selection.check_forgetting,
    "idc_match": idc.check_match,
    "idc_cycle": idc.check_cycle,
    "pdd_idc_union": idc.check_union,
    "idc_training": idc.check_training,
    "dream_selection": selection.check_dream_selection,
}
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
SLOW = (
    "zca_cifar_256",
    "dc_pool_nets_ch3",
    "resnetap10_idc_in_size64",
    "resnet18_in_c10",
    "resnet18_idc_bn_c10",
    "resnet10_bn_c10",
    "densenet_cifar_c10",
    "mtt_masked_outer2_dsa",
)
"""Vectors of large networks and of 3072 dimensions; smaller ones of their kind are quick."""


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
    marks = [pytest.mark.slow] if entry["id"] in SLOW else []
    stated = [name for name in PRECISIONS if name in entry["tolerance"]]
    return [
        pytest.param(
            Vector(entry, vector.folder, PRECISIONS[name]),
            id="-".join([entry["id"], name]),
            marks=marks,
        )
        for name in stated or ["float64"]
    ]


def test_the_file_is_the_one_described(vector: Vector):
    assert sha256(vector.folder / vector.entry["file"]) == vector.entry["sha256"]


def test_agrees_with_the_reference(vector: Vector):
    CHECKS[vector.entry["kind"]](vector)
