"""Published accuracies of the PDD paper: the only place of the project that holds any.

Source: X. Chen, Y. Yang, Z. Wang, B. Mirzasoleiman, "Data Distillation Can Be Like Vodka:
Distilling More Times For Better Quality" (PDD), ICLR 2024, Tables 1, 3 and 5. Only what this
project can show beside its own results: random selection, MTT (one stage), PDD with MTT (several
stages) and training on all images; with ConvNetD3, or ConvNetD4 for Tiny-ImageNet.

How to read them: means and standard deviations of five networks (Section 5.1). The published code
computes the standard deviation with ddof = 0, which is 0.894 of what this project's tables give,
and keeps the iteration with the best *test* accuracy, where this project chooses on validation.
So the published numbers are for orientation, not for a test.
"""

from __future__ import annotations

from dataclasses import dataclass

PAPER = "PDD (Chen et al., ICLR 2024)"
FULL_DATA = "full data"
"""The method name of training on all real images."""


@dataclass(frozen=True)
class PublishedResult:
    """One cell of a published table.

    Attributes:
        table: The table of the paper, e.g. ``Table 1``.
        dataset: Name of the data set, as records have it.
        method: ``random``, ``mtt`` or ``FULL_DATA``; PDD with MTT is ``mtt`` in several stages.
        stages: Number of stages, P.
        images_per_class: Images per class of one stage; None for all of them.
        mode: Mode of evaluation; None where there is one stage only.
        mean: Test accuracy in percent, as printed.
        std: Its standard deviation in percent (ddof = 0), as printed; None if not printed.
    """

    table: str
    dataset: str
    method: str
    stages: int
    images_per_class: int | None
    mode: str | None
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


def published(
    dataset: str, method: str, stages: int, images_per_class: int | None, mode: str = "progressive"
) -> PublishedResult | None:
    """Return the published result of a setting, or None if there is none.

    Where several tables print the same setting the first of them counts; they agree.

    Args:
        dataset: As in records, e.g. ``cifar10``.
        method: As in records, or ``FULL_DATA``.
        stages: Number of stages.
        images_per_class: Images per class of one stage; None with ``FULL_DATA``.
        mode: Mode of evaluation; the modes are one and the same for one stage.
    """
    wanted = (dataset, method, stages, images_per_class, None if stages == 1 else mode)
    for result in RESULTS:
        setting = (result.dataset, result.method, result.stages, result.images_per_class)
        if (*setting, result.mode) == wanted:
            return result
    return None


def _table_1() -> tuple[PublishedResult, ...]:
    """Return Table 1: 10 and 50 images per class in total, PDD in five stages."""
    # data set: random 10, 50; MTT 10, 50; PDD + MTT 10, 50 (mean, standard deviation); all images
    printed: dict[str, tuple[tuple[tuple[float, float], ...], float]] = {
        "cifar10": (
            ((26.0, 1.2), (43.4, 1.0), (65.3, 0.7), (71.9, 0.2), (66.9, 0.4), (74.2, 0.5)),
            88.1,
        ),
        "cifar100": (
            ((14.6, 0.5), (30.0, 0.4), (39.6, 0.3), (47.7, 0.2), (43.1, 0.7), (52.0, 0.5)),
            56.2,
        ),
        "tiny_imagenet": (
            ((5.0, 0.2), (15.0, 0.4), (23.2, 0.3), (28.0, 0.3), (27.3, 0.5), (29.2, 0.6)),
            37.6,
        ),
    }
    settings = (
        ("random", 1, 10, None),
        ("random", 1, 50, None),
        ("mtt", 1, 10, None),
        ("mtt", 1, 50, None),
        ("mtt", 5, 2, "progressive"),
        ("mtt", 5, 10, "progressive"),
    )
    results: list[PublishedResult] = []
    for dataset, (cells, full) in printed.items():
        results += [
            PublishedResult("Table 1", dataset, *setting, *cell)
            for setting, cell in zip(settings, cells, strict=True)
        ]
        results.append(PublishedResult("Table 1", dataset, FULL_DATA, 1, None, None, full, None))
    return tuple(results)


def _table_3() -> tuple[PublishedResult, ...]:
    """Return Table 3: modes of evaluation on CIFAR-10, ten images per class and stage."""
    printed = {
        2: {"union": (60.4, 0.6), "sequential": (64.1, 1.0), "progressive": (68.7, 0.8)},
        3: {"union": (65.4, 0.7), "sequential": (67.4, 1.1), "progressive": (71.5, 0.4)},
        4: {"union": (63.2, 0.7), "sequential": (66.0, 0.9), "progressive": (73.1, 0.6)},
        5: {"union": (65.9, 0.4), "sequential": (67.4, 0.8), "progressive": (74.2, 0.5)},
    }
    one_stage = PublishedResult("Table 3", "cifar10", "mtt", 1, 10, None, 65.3, 0.7)
    return one_stage, *(
        PublishedResult("Table 3", "cifar10", "mtt", stages, 10, mode, *cell)
        for stages, cells in printed.items()
        for mode, cell in cells.items()
    )


def _table_5() -> tuple[PublishedResult, ...]:
    """Return Table 5: ten images per class in total on CIFAR-10, in 1 to 10 stages."""
    printed = {1: (65.3, 0.7), 2: (65.5, 0.9), 5: (66.9, 0.4), 10: (64.4, 0.6)}
    return tuple(
        PublishedResult(
            "Table 5",
            "cifar10",
            "mtt",
            stages,
            10 // stages,
            None if stages == 1 else "progressive",
            *cell,
        )
        for stages, cell in printed.items()
    )


RESULTS = (*_table_1(), *_table_3(), *_table_5())
"""All published results, in the order of the paper's tables."""
