"""Work: what a computation asks of a device, counted in operators, arithmetic and bytes."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields


@dataclass(frozen=True)
class Work:
    """Counts that add up; what they take on a device is said by its rates.

    Attributes:
        operators: Operators that the CPU starts, on itself or on a GPU; views are none.
        flops: Floating-point operations of convolutions and products, two per multiply-add.
        products: Bytes that convolutions and products read and write.
        normalisation: Bytes of normalisations that are one operator.
        pooling: Bytes of poolings.
        other: Bytes of everything else: activations, sums, copies, augmentation, optimisers.
    """

    operators: float = 0.0
    flops: float = 0.0
    products: float = 0.0
    normalisation: float = 0.0
    pooling: float = 0.0
    other: float = 0.0

    @property
    def bytes(self) -> float:
        """Bytes that all operators read and write."""
        return self.products + self.normalisation + self.pooling + self.other

    def __add__(self, more: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(more), strict=True)))

    def __mul__(self, times: float) -> Work:
        return Work(*(times * value for value in astuple(self)))


NOTHING = Work()
"""No work at all."""
QUANTITIES = tuple(field.name for field in fields(Work))
"""Names of the counts."""
