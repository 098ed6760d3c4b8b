"""A network as a function of one flat parameter vector."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pdd_ray.models.batch_norm import mixes_images


class FlatModel:
    """``network(parameters, images)`` gives logits, twice differentiable in both arguments.

    P is the number of parameters, N the number of images. The vector is the concatenation of the
    parameters in the order of ``named_parameters``, each flattened in C order (specification,
    section 2.1). The function is pure: running statistics of batch normalisation are read (in
    evaluation mode) and never updated.

    Attributes:
        names: names of the parameters.
        shapes: their shapes.
        numel: P.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = dict(model.named_parameters())
        self.names = tuple(parameters)
        self.shapes = tuple(tuple(value.shape) for value in parameters.values())
        self._sizes = [value.numel() for value in parameters.values()]
        self.numel = sum(self._sizes)
        self._model = model
        self._has_buffers = next(model.buffers(), None) is not None

    def __call__(self, parameters: Tensor, images: Tensor) -> Tensor:
        """Return the logits [N, classes] of ``images`` [N, C, H, W] under ``parameters`` [P]."""
        state = self.unflatten(parameters)
        if self._has_buffers:
            state.update(_copies(self._model, parameters.dtype))
        return cast("Tensor", functional_call(self._model, state, (images,)))

    @property
    def mixes_images(self) -> bool:
        """Whether the images of a batch change each other's logits."""
        return mixes_images(self._model)

    def unflatten(self, parameters: Tensor) -> dict[str, Tensor]:
        """Return the parameters by name, as views of ``parameters`` [P]."""
        pieces = torch.split(parameters, self._sizes)
        return {
            name: piece.view(shape)
            for name, shape, piece in zip(self.names, self.shapes, pieces, strict=True)
        }

    def flatten(self, model: nn.Module) -> Tensor:
        """Return the parameters of ``model`` as a new vector [P], detached from it."""
        return torch.cat([value.detach().reshape(-1) for value in model.parameters()])

    def load(self, model: nn.Module, parameters: Tensor) -> None:
        """Copy ``parameters`` [P] into ``model``, in place."""
        values = self.unflatten(parameters.detach())
        with torch.no_grad():
            for name, target in model.named_parameters():
                target.copy_(values[name])


def _copies(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: value.to(dtype if value.is_floating_point() else value.dtype, copy=True)
        for name, value in model.named_buffers()
    }
