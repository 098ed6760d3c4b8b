"""The shape of images after preparation, from what the data set holds and its configuration."""

from pdd_ray.core.errors import DataError
from pdd_ray.data.content import Content
from pdd_ray.data.source_registry import SOURCES
from pdd_ray.data.spec import DataSpec


def prepared_shape(spec: DataSpec, content: Content) -> tuple[int, int, int]:
    """Return (C, H, W) after channels, resize and pool.

    Raises:
        DataError: if images differ and the configuration does not make them agree, or their size
            is not a multiple of ``pool``.
    """
    height, width = _size(spec, content)
    if height % spec.pool or width % spec.pool:
        msg = (
            f"{height}x{width} images can't be pooled by data.pool = {spec.pool}; give a common "
            "divisor of height and width, or set data.resize"
        )
        raise DataError(msg)
    return prepared_channels(spec, content), height // spec.pool, width // spec.pool


def prepared_channels(spec: DataSpec, content: Content) -> int:
    """Return the number of channels after preparation: 1 or 3.

    A source with some gray images (Tiny-ImageNet) is read as RGB if ``channels`` is ``keep``.

    Raises:
        DataError: if images differ and ``channels`` is ``keep``, or have alpha.
    """
    if spec.channels == "gray":
        return 1
    if spec.channels == "rgb" or SOURCES[spec.source].as_rgb:
        return 3
    first, *others = content.channels
    if others:
        msg = (
            f"images of {spec.root} differ in channels: {first.example} has {first.count}, "
            f"{others[0].example} has {others[0].count}; set data.channels to rgb or gray"
        )
        raise DataError(msg)
    if first.count not in (1, 3):
        msg = f"{first.example} of {spec.root} has alpha; set data.channels to rgb or gray"
        raise DataError(f"{msg}, which drops it")
    return first.count


def _size(spec: DataSpec, content: Content) -> tuple[int, int]:
    if spec.resize is not None:
        height, width = spec.resize
        if height < 1 or width < 1:
            msg = f"data.resize is {[height, width]}; allowed are two sizes of at least 1"
            raise DataError(msg)
        return height, width
    first, *others = content.sizes
    if others:
        msg = (
            f"images of {spec.root} differ in size: {first.example} is {first.height}x"
            f"{first.width}, {others[0].example} is {others[0].height}x{others[0].width} (height x "
            "width); set data.resize: [height, width]"
        )
        raise DataError(msg)
    return first.height, first.width
