"""What the checks of a machine find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was found of one subject; ``advice`` says what to do about it."""

    level: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.level:<5} {self.subject:<10} {self.text}{advice}"
