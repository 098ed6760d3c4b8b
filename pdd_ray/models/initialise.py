"""First values of parameters, drawn from a given generator only."""

import math

import torch
from torch import nn
from torch.nn import init

_NORMS = (nn.GroupNorm, nn.BatchNorm2d, nn.LayerNorm)


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Give ``model`` the values of PyTorch's default initialisation, in place.

    Weights and biases of convolutions and linear layers are uniform on +-1/sqrt(fan_in); scales
    are 1, shifts 0, running statistics those of an untrained layer.

    Args:
        model: a network whose values may be undefined.
        generator: the only source of randomness, on the device of the parameters.

    Raises:
        TypeError: the model holds parameters of a layer that is not known here.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _initialise_weights(module, generator)
        elif isinstance(module, _NORMS):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            msg = f"no initialisation is known for the parameters of {type(module).__name__}"
            raise TypeError(msg)


def initialise_he(model: nn.Module, generator: torch.Generator) -> None:
    """Initialise as IDC's ResNets: convolutions N(0, sqrt(2 / (k k channels_out))), rest default.

    Source: specification, section 2.2 (the rule of He et al. 2015, equation 14).
    """
    initialise(model, generator)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels
            init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out), generator=generator)


def _initialise_weights(layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(layer.weight[0].numel())
    init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        init.uniform_(layer.bias, -bound, bound, generator=generator)
