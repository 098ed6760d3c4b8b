"""The configuration of class-incremental continual learning."""

from typing import Literal

from pydantic import Field

from pdd_ray.configuration.recipes import RecipeName
from pdd_ray.core.frozen_model import FrozenModel


class ContinualSpec(FrozenModel):
    """Classes that come in phases, of which only distilled images are kept (PDD, Table 7).

    Each phase distils its own classes from its own real images; after it networks are trained on
    the memory, which holds the sets of all phases so far, and tested on all classes seen
    (specification of other methods, section 10).
    """

    phases: int = Field(default=5, ge=2)
    """Phases into which the classes are divided equally."""
    protocol: Literal["A", "B"] = "B"
    """A: a fresh network is trained on the whole memory after each phase (DM's protocol). B: one
    network is kept, its head grows, and it is distilled from its former self (IDC's)."""
    order: Literal["permuted", "sorted", "as_is"] = "permuted"
    """Order of the classes: permuted by the seed of the run; `sorted`: the same phases with their
    classes in order, as IDC has it; `as_is`: that of the data set."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Learning rate at the start of each training, for the images of every method."""
    temperature: float = Field(default=2.0, gt=0)
    """Temperature of the distillation from the former network (protocol B)."""
    distillation_weight: float = Field(default=1.0, ge=0)
    """Weight of that distillation in the loss (protocol B)."""

    @property
    def recipe(self) -> RecipeName:
        """How networks train on the memory unless the evaluation says otherwise."""
        return "continual_a" if self.protocol == "A" else "continual_b"
