"""Parameters of IDC's ConvNet, which is the ConvNet of the others in another order."""

from collections.abc import Mapping

from torch import Tensor

from pdd_ray.core.errors import FormatError
from pdd_ray.models.networks.convnet import ConvNetSpec


def idc_convnet_names(spec: ConvNetSpec) -> dict[str, str]:
    """Return the name here of every parameter of IDC's ConvNet, in IDC's order.

    There all convolutions come first, then all normalisations, then the classifier; here and in
    the files of MTT, DC and PDD they come block by block.
    """
    layers = 2 + (spec.norm != "none") + (spec.pooling != "none")
    parts = ("conv",) if spec.norm == "none" else ("conv", "norm")
    names = {
        f"layers.{part}.{block}.{kind}": f"features.{layers * block + position}.{kind}"
        for position, part in enumerate(parts)
        for block in range(spec.depth)
        for kind in ("weight", "bias")
    }
    return names | {name: name for name in ("classifier.weight", "classifier.bias")}


def convnet_from_idc(spec: ConvNetSpec, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the ``parameters`` of IDC's ConvNet under the names here, in the order here.

    Raises:
        FormatError: they are not those of the ConvNet ``spec``.
    """
    names = idc_convnet_names(spec)
    if wrong := sorted(names.keys() ^ parameters.keys()):
        msg = (
            f"not the parameters of IDC's ConvNet with depth {spec.depth} and norm "
            f"'{spec.norm}': {wrong[0]} is {'missing' if wrong[0] in names else 'unknown'}"
        )
        raise FormatError(msg)
    ours = {names[name]: value for name, value in parameters.items()}
    return {name: ours[name] for name in sorted(ours, key=_position)}


def _position(name: str) -> tuple[bool, int, bool]:
    """Return the place of a parameter: classifier last, by layer, weight before bias."""
    number = name.split(".")[1]
    return name.startswith("classifier"), int(number) if number.isdigit() else 0, "bias" in name
