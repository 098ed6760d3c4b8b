"""Published accuracies of the PDD paper, and which of them a result can be shown beside.

``published.json`` is the only place of the project that holds any. Source: X. Chen, Y. Yang,
Z. Wang, B. Mirzasoleiman, "Data Distillation Can Be Like Vodka: Distilling More Times For Better
Quality" (PDD), ICLR 2024; Tables 1 to 7, A8 and A9, and the text of A3.2, in the paper's terms.

How to read them: means and standard deviations of five networks (Section 5.1). The published code
computes the standard deviation with ddof = 0, which is 0.894 of what this project's tables give,
and keeps the iteration with the best *test* accuracy. So the published numbers are for
orientation, not for a test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.core.identities import Json

PAPER = "PDD (Chen et al., ICLR 2024)"

DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "tiny_imagenet": "Tiny-ImageNet"}
"""The paper's names of data sets, by those of records."""

METHODS = {
    "random": "Random",
    "herding": "Herding",
    "k_center": "K-Center",
    "forgetting": "Forgetting",
    "dc": "DC",
    "dsa": "DSA",
    "dm": "DM",
    "cafe": "CAFE",
    "cafe_dsa": "CAFE + DSA",
    "mtt": "MTT",
    "idc": "IDC",
    "dream": "DREAM",
    "full": "Full Data",
}
"""The paper's names of methods, by those of records; several stages are ``PDD+`` one of them."""

MODES = {"progressive": "P", "union": "U", "sequential": "S"}

MODELS = {
    ("ConvNetD3", None): "convnet-w128-d3",
    ("ConvNetD4", None): "convnet-w128-d4",
    ("ResNet-10", "batchnorm"): "resnet10-idc-batch",
    ("ResNet-18", "batchnorm"): "resnet18-idc-batch",
    ("ResNet-10", "instancenorm"): "resnet10-mtt-instance",
    ("ResNet-18", "instancenorm"): "resnet18-mtt-instance",
}
"""Labels of records by the paper's architecture and normalisation."""

UPDATED = " update-previous"
"""How ``published.json`` marks the method of A3.2."""


@dataclass(frozen=True)
class PublishedResult:
    """One cell of a published table, in the paper's terms; None where it says nothing.

    Attributes:
        table: The table of the paper, e.g. ``Table 1``; ``A3.2`` for the text of that section.
        dataset: Name of the data set.
        method: Name of the method, e.g. ``PDD+MTT``.
        arch: Architecture evaluated; None: the ConvNet of the data set.
        norm: Its normalisation, where that tells networks apart.
        ipc: Images per class in total.
        per_stage_ipc: Images per class of one stage.
        P: Number of stages.
        training_mode: ``P``, ``U``, ``S``, or words.
        variant: Column of Table 4.
        forgetting_filter: Whether stages see real images by their forgetting score (Table 6).
        phase: Phase of continual learning (Table 7).
        classes_seen: Classes of that phase and all before.
        mean: Test accuracy in percent, as printed.
        std: Its standard deviation in percent (ddof = 0), as printed.
    """

    table: str
    dataset: str
    method: str
    arch: str | None
    norm: str | None
    ipc: int | None
    per_stage_ipc: int | None
    P: int | None
    training_mode: str | None
    variant: str | None
    forgetting_filter: bool | None
    phase: int | None
    classes_seen: int | None
    mean: float
    std: float | None

    @property
    def source(self) -> str:
        """Paper and table."""
        return f"{PAPER}, {self.table}"

    @property
    def text(self) -> str:
        """Mean and standard deviation as printed."""
        return f"{self.mean:.1f}" if self.std is None else f"{self.mean:.1f} ± {self.std:.1f}"

    @property
    def base_method(self) -> str:
        """The method inside PDD, or the method itself."""
        name = self.method.removesuffix(UPDATED).removeprefix("PDD+")
        return METHODS["full"] if name == "Full" else name

    @property
    def several_stages(self) -> bool:
        """Whether there are several stages, also where their number is not printed."""
        return self.method.startswith("PDD+") and self.P != 1

    @property
    def model(self) -> str:
        """Label of the network, as records have it."""
        usual = "ConvNetD4" if self.dataset == DATASETS["tiny_imagenet"] else "ConvNetD3"
        arch = usual if self.arch in (None, "ConvNet") else self.arch
        return MODELS[str(arch), self.norm]


@dataclass(frozen=True)
class SettingComparison:
    """What a record does not say of its configuration, and a look-up has to know.

    Attributes:
        differs: Settings that are not the paper's, as ``key: own (paper's)``.
        update_previous: Whether stages update earlier images too (A3.2).
        easy_to_hard: Whether stages see real images by their forgetting score (Table 6).
        continual_protocol: ``A`` or ``B`` in continual learning.
    """

    differs: tuple[str, ...] = ()
    update_previous: bool = False
    easy_to_hard: bool = False
    continual_protocol: str | None = None


@dataclass(frozen=True)
class Published:
    """The table of the paper beside which a table is shown.

    Attributes:
        table: The table of the paper.
        reference: Name of what has the paper's settings, for readers.
        settings: Every setting of the sweep, by ``pdd_analysis.fields.setting_key``.
    """

    table: str
    reference: str
    settings: Mapping[str, SettingComparison]

    def beside(self, key: str, fields: Mapping[str, Json]) -> PublishedResult | None:
        """Return the published result of the setting ``key``, None unless all of it is the paper's.

        Args:
            key: A key of ``settings``.
            fields: The record's fields that say what was evaluated.
        """
        setting = self.settings.get(key)
        if setting is None or setting.differs:
            return None
        return find(self.table, fields, setting)


@lru_cache
def results() -> tuple[PublishedResult, ...]:
    """Return all published results, in the order of the paper's tables."""
    text = resources.files("pdd_analysis").joinpath("published.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return tuple(
        PublishedResult(**dict(zip(content["columns"], row, strict=True)))
        for row in content["rows"]
    )


def find(
    table: str, fields: Mapping[str, Json], setting: SettingComparison | None = None
) -> PublishedResult | None:
    """Return the result that ``table`` prints for an evaluation, or None if it prints none.

    Stages that a record evaluates count, not those of its experiment: a prefix of five stages of
    ten images is what the paper calls P = 3.

    Args:
        table: The table of the paper.
        fields: A record's fields: dataset, method, model, mode, stages, images_per_class,
            total_images_per_class, phase, phases, classes, conditioning, transition.
        setting: What records don't say; a plain setting if not given.
    """
    setting = setting or SettingComparison()
    for result in results():
        if result.table == table and _matches(result, fields, setting):
            return result
    return None


def _matches(
    result: PublishedResult, fields: Mapping[str, Json], setting: SettingComparison
) -> bool:
    same = (
        DATASETS.get(str(fields["dataset"])) == result.dataset,
        METHODS.get(str(fields["method"])) == result.base_method,
        fields["model"] == result.model,
        setting.update_previous == result.method.endswith(UPDATED),
        setting.easy_to_hard == bool(result.forgetting_filter),
    )
    return (
        all(same)
        and _same_stages(result, fields)
        and _same_ablation(result, fields)
        and _same_phase(result, fields, setting)
    )


def _same_stages(result: PublishedResult, fields: Mapping[str, Json]) -> bool:
    if fields["mode"] == "full" or result.ipc is None:
        return fields["mode"] == "full" and result.ipc is None
    stages, size = fields["stages"], fields["images_per_class"]
    if fields["total_images_per_class"] != result.ipc or not isinstance(stages, int):
        return False
    if not result.several_stages:
        return stages == 1
    return (
        stages > 1
        and result.P in (None, stages)
        and result.per_stage_ipc in (None, size)
        and _same_mode(result, str(fields["mode"]))
    )


def _same_mode(result: PublishedResult, mode: str) -> bool:
    if result.training_mode == "final set only":
        return mode == "union"
    # where nothing else is said PDD is evaluated progressively (paper, sections 4.1 and 5.1)
    usual = result.training_mode if result.training_mode in MODES.values() else "P"
    return MODES.get(mode) == usual


def _same_ablation(result: PublishedResult, fields: Mapping[str, Json]) -> bool:
    """Whether transition and conditioning are as in the result; they mean nothing at stage 1."""
    if not result.several_stages:
        return result.variant in (None, "PDD") or _ablation(fields) == result.variant
    return _ablation(fields) == (result.variant or "PDD")


def _ablation(fields: Mapping[str, Json]) -> str:
    names = {
        (True, True): "PDD",
        (False, True): "w/o conditioning",
        (True, False): "w/o transition",
    }
    return names.get((bool(fields["conditioning"]), bool(fields["transition"])), "w/o both")


def _same_phase(
    result: PublishedResult, fields: Mapping[str, Json], setting: SettingComparison
) -> bool:
    if result.phase is None:
        return fields["phases"] == 0
    # Table 7 is of protocol B (specification of other methods, section 10)
    return (fields["phase"], fields["classes"], setting.continual_protocol) == (
        result.phase,
        result.classes_seen,
        "B",
    )
