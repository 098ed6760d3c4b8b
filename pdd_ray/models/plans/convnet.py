"""The layers of the ConvNet."""

from pdd_ray.configuration.model import ConvNetSpec
from pdd_ray.core.errors import ConfigError
from pdd_ray.models.plans.parts import GROUPS, Convolution, NetworkPlan, Shape, norm_parameters


def plan_convnet(spec: ConvNetSpec, shape: Shape) -> NetworkPlan:
    """Return the layers of a ConvNet for images of ``shape``.

    Raises:
        ConfigError: nothing is left of such images, or norm `group` does not fit the width.
    """
    if spec.norm == "group" and spec.width % GROUPS:
        msg = f"norm 'group' needs a width divisible by {GROUPS}, got width {spec.width}"
        raise ConfigError(msg)
    channels, height, width = shape
    convolutions = []
    for block in range(spec.depth):
        padding = 3 if block == 0 and channels == 1 else 1
        height, width = height + 2 * padding - 2, width + 2 * padding - 2
        convolutions.append(Convolution(channels, spec.width, 3, 1, padding, height, width, True))
        channels = spec.width
        if spec.pooling != "none":
            height, width = height // 2, width // 2
        if height < 1 or width < 1:
            raise ConfigError(_too_deep(spec, shape, block))
    return NetworkPlan(
        tuple(convolutions), channels * height * width, norm_parameters(spec.norm, convolutions)
    )


def _too_deep(spec: ConvNetSpec, shape: Shape, blocks: int) -> str:
    return (
        f"a ConvNet of depth {spec.depth} is too deep for images of shape {shape}: "
        f"nothing is left after block {blocks + 1}; use depth <= {blocks}"
    )
