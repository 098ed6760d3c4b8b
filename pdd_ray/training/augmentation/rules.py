"""How operations of a strategy become the augmentation of a batch: the rules of DSA, DC and IDC."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pdd_ray.configuration.strategies import check_rule_strategy
from pdd_ray.training.augmentation import dc, dsa
from pdd_ray.training.augmentation.mixture import Mixture

IDC_FIRST = ("flip", "color")
IDC_ONE_OF = ("crop", "scale", "rotate")
IDC_LAST = ("cutout",)


@dataclass(frozen=True, eq=False)
class Augmentation:
    """What is done to the images of a batch, with all its random numbers.

    Attributes:
        draws: Applied in this order; none leaves the images alone. One operation per image (DC's
            rule) may be a mixture, which is ready for the images of a device.
        align_corners: Sampling convention of scale and rotate, as in :func:`dsa.apply`.
    """

    draws: tuple[dsa.Draw | Mixture, ...]
    align_corners: bool = True

    def apply(self, images: Tensor) -> Tensor:
        """Return ``images`` [N, C, H, W] after all draws; differentiable in the images."""
        for draw in self.draws:
            if isinstance(draw, Mixture):
                images = draw.apply(images)
            elif draw.operation == dc.MIXTURE:
                images = dc.apply(images, draw.values)
            else:
                images = dsa.apply(images, draw, align_corners=self.align_corners)
        return images

    def ready_for(self, shape: Sequence[int], dtype: torch.dtype) -> "Augmentation":
        """Return the same with all computed that needs no pixels, still on the CPU.

        Args:
            shape: (N, C, H, W) of the images.
            dtype: Of the images.
        """
        ready = tuple(
            dc.mixture_of(draw.values, shape, dtype)
            if isinstance(draw, dsa.Draw) and draw.operation == dc.MIXTURE
            else draw
            for draw in self.draws
        )
        return replace(self, draws=ready)


def draw_augmentation(
    rule: str,
    strategy: str,
    batch_size: int,
    height: int,
    width: int,
    source: torch.Generator,
    *,
    shared: bool = False,
) -> Augmentation:
    """Draw the augmentation of one batch (specification of other methods, sections 0.3 and 1.3).

    Args:
        rule: ``dsa`` applies one operation of the strategy, drawn for the whole batch; ``idc``
            flip, colour, one of crop, scale and rotate, and cutout, in this order, as far as the
            strategy names them; ``dc`` one operation per image, for evaluation.
        strategy: operations of the rule joined by ``_``, or ``none``.
        batch_size: N.
        height: H.
        width: W.
        source: a CPU generator, the only source of randomness.
        shared: draw one set of numbers, which holds for batches of any size: siamese matching
            augments real and synthetic images with it.

    Raises:
        ValueError: the strategy names an operation that the rule does not know.
    """
    if check_rule_strategy(rule, strategy) == "none":
        return Augmentation(())
    size = (1 if shared else batch_size, height, width)
    if rule == "dc":
        return Augmentation((dc.draw(strategy, size[0], source),))
    if rule == "idc":
        # IDC was written for a torch version whose default is not to align the corners
        return Augmentation(_idc_draws(strategy.split("_"), size, source), align_corners=False)
    draw = dsa.draw(strategy, *size, source)
    return Augmentation(() if draw is None else (draw,))


def _idc_draws(
    names: list[str], size: tuple[int, int, int], source: torch.Generator
) -> tuple[dsa.Draw, ...]:
    draws = []
    for group in (IDC_FIRST, IDC_ONE_OF, IDC_LAST):
        named = [name for name in group if name in names]
        if group is IDC_ONE_OF and named:
            named = [named[int(torch.randint(len(named), (), generator=source))]]
        draws += [dsa.draw_operation(name, *size, source) for name in named]
    return tuple(draws)
