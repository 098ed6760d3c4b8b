"""Networks of the distillation literature, and their costs; imports ``pdd_ray.core``.

``create_model`` is loaded at its first use, because plans need the costs and not torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdd_ray.models.factory import create_model, parameter_shapes

__all__ = ["create_model", "parameter_shapes"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from pdd_ray.models import factory

        return getattr(factory, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
