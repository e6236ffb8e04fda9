"""What a training step of a network goes back from."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.activations.user_code import find
from dynact.cost import tensors_in
from dynact.networks import architectures

Loss = Callable[[Any], Tensor]
Backward = Callable[[Any], None]


def training_loss(name: str, model: nn.Module, images: Tensor) -> Tensor:
    """Return the loss of a network on images with made-up targets, ready for its backward pass.

    Cross-entropy for classification and segmentation. For a detector's backbone, whose loss would
    hang on what is detected, the sum over its feature maps of their means: linear, so that the
    backward pass starts from the same gradients whatever the features are.

    Parameters
    ----------
    name
        The network that the model was made from: a declared one.
    model
        In train mode.
    images
        As `architectures.example_input` makes them.

    Raises
    ------
    ValueError
        If there is no such network, or its task is not known.
    """
    return loss_of(name)(model(images))


def loss_of(name: str) -> Loss:
    """Return the loss of a declared network's output, see `training_loss`.

    Raises
    ------
    ValueError
        If there is no such network, or its task is not known.
    """
    task = architectures.architecture(name).task
    if task not in _LOSSES:
        raise ValueError(f"{name} is of no task whose loss is known")
    return _LOSSES[task]


def backward_of(name: str, place: str = "") -> Backward:
    """Return what goes back from the output of a network in training.

    From the loss of its task, see `training_loss`; from `RandomGradients` where that is not known,
    as of a network of the user's own.

    Parameters
    ----------
    name
        A network.
    place
        ``"pkg.mod:function"`` for a loss of the user's own in its stead.

    Raises
    ------
    ValueError
        If there is no such network or function; when it is called, if no gradient leads back.
    """
    if place:
        return backward_from(find(place), f"the loss {place}")
    has_loss = architectures.architecture(name).task in _LOSSES
    return backward_from(loss_of(name)) if has_loss else RandomGradients()


def backward_from(loss: Loss, named: str = "the loss") -> Backward:
    """Return what goes back from a loss of the output.

    It raises ValueError, one line with what the loss is named, where that is no scalar.
    """

    def backward(output: Any) -> None:
        found: object = loss(output)
        if not isinstance(found, Tensor):
            raise ValueError(f"{named} is of type {type(found).__name__}, not a scalar tensor")
        if found.numel() != 1:
            shape = tuple(found.shape)
            raise ValueError(f"{named} is a tensor of shape {shape}, not a scalar tensor")
        torch.autograd.backward(found)

    return backward


class RandomGradients:
    """Goes back from a gradient of each output whose elements were drawn once from N(0, 1).

    As from the sum of all outputs, each element times such a number, whatever the outputs are: the
    tensors of floating point, in nested lists, tuples, dicts and dataclasses, that lead back into
    the network. No such sum is made, so that nothing is timed but the network. Another one draws
    the same numbers.
    """

    def __init__(self) -> None:
        self._drawn: dict[tuple[Any, ...], Tensor] = {}

    def __call__(self, output: Any) -> None:
        """Go back from an output.

        Raises
        ------
        ValueError
            If no tensor of it leads back into the network.
        """
        found = [y for y in tensors_in(output) if y.is_floating_point() and y.requires_grad]
        if not found:
            raise ValueError(
                f"no tensor in the output, a {type(output).__name__}, has a gradient in training; "
                "name a loss of your own"
            )
        torch.autograd.backward(found, [self._gradient(*each) for each in enumerate(found)])

    def _gradient(self, number: int, y: Tensor) -> Tensor:
        key = number, y.shape, y.dtype, y.device
        if key not in self._drawn:
            generator = torch.Generator().manual_seed(number)
            drawn = torch.randn(y.shape, generator=generator) if y.device.type != "meta" else y
            self._drawn[key] = drawn.detach().to(y.device, y.dtype)
        return self._drawn[key]


def _of_classes(logits: Tensor) -> Tensor:
    shape = logits.shape[:1] + logits.shape[2:]
    classes = torch.arange(prod(shape), device=logits.device) % logits.shape[1]
    return functional.cross_entropy(logits, classes.reshape(shape))


def _of_features(output: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([features.mean() for features in output.values()]).sum()


_LOSSES: dict[str, Loss] = {
    "classification": _of_classes,
    "segmentation": lambda output: _of_classes(output["out"]),
    "detection": _of_features,
    "keypoints": _of_features,
}
