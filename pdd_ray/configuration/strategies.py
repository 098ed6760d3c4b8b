"""The rules by which augmentation operations are combined, and the operations each one knows."""

from collections.abc import Mapping
from typing import Literal

Rule = Literal["dsa", "idc", "dc"]

RULES: Mapping[str, tuple[str, ...]] = {
    "dsa": ("color", "crop", "cutout", "flip", "scale", "rotate"),
    "idc": ("color", "crop", "cutout", "flip", "scale", "rotate"),
    "dc": ("crop", "scale", "rotate", "noise"),
}
"""Operations by rule (specification of other methods, sections 0.3 and 1.3)."""


def check_rule_strategy(rule: str, strategy: str) -> str:
    """Return ``strategy`` if it is ``none`` or names of operations of ``rule`` joined by ``_``.

    Raises:
        ValueError: if the rule does not know an operation.
    """
    if strategy != "none":
        allowed = RULES[rule]
        unknown = [name for name in strategy.split("_") if name not in allowed]
        if unknown:
            msg = (
                f"unknown augmentation {unknown[0]!r} in {strategy!r}; allowed: 'none' or any of "
                f"{', '.join(allowed)} joined by '_'"
            )
            raise ValueError(msg)
    return strategy
