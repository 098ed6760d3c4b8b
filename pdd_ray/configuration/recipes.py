"""How networks train on the images of each family of methods: transitions and evaluations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

RecipeName = Literal["mtt", "dc", "dsa", "cafe", "idc", "continual_a", "continual_b"]


@dataclass(frozen=True)
class Recipe:
    """Values of a training on synthetic images, for one family.

    Attributes:
        training: Fields of a SyntheticTrainingSpec that differ from its defaults.
        epochs: Epochs of the evaluation of a single stage.
        transition_epochs: Epochs of a transition on each union.
        source: Where the values come from.
        tests: Tests of which the original code reports the best, for a single stage.
        tests_of_stages: The same for each of several stages.
    """

    training: Mapping[str, Any]
    epochs: int
    transition_epochs: int
    source: str
    tests: int = 1
    tests_of_stages: int = 1


RECIPES: Mapping[RecipeName | str, Recipe] = {
    "mtt": Recipe({}, 1000, 1000, "PDD, appendix A1.1; specification, section 7"),
    "dc": Recipe(
        {"augmentation": "none", "reset_momentum_at_decay": True},
        300,
        300,
        "specification of other methods, section 1.3; transitions are not in any code",
    ),
    "dsa": Recipe(
        {"reset_momentum_at_decay": True},
        1000,
        1000,
        "specification of other methods, section 1.3; transitions are not in any code",
    ),
    "cafe": Recipe(
        {"augmentation": "none", "reset_momentum_at_decay": True},
        600,
        600,
        "specification of other methods, section 6; transitions are not in any code",
    ),
    "idc": Recipe(
        {
            "augmentation": "color_crop_flip_scale_rotate",
            "augmentation_rule": "idc",
            "cutmix": 0.5,
            "batch_size": 64,
            "schedule": "milestones",
        },
        1000,
        200,
        "specification of other methods, sections 3.6, 4.1 and 4.2",
        tests=4,
        tests_of_stages=50,
    ),
    "continual_a": Recipe(
        {"reset_momentum_at_decay": True},
        1000,
        1000,
        "specification of other methods, section 10, protocol A",
    ),
    "continual_b": Recipe(
        {
            "augmentation": "color_crop_flip_scale_rotate",
            "augmentation_rule": "idc",
            "cutmix": 0.5,
            "batch_size": 64,
            "schedule": "late_milestones",
        },
        1000,
        1000,
        "specification of other methods, section 10, protocol B",
    ),
}
