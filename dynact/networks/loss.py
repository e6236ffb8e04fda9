"""What a training step of a network minimises."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.cost import tensors_in
from dynact.networks import architectures, own
from dynact.networks.passes import Example, call_with

Loss = Callable[[Any], Tensor]


def training_loss(
    name: str, model: nn.Module, example: Example, loss: Loss | None = None
) -> Tensor:
    """Return the loss of a network on an example with made-up targets, ready for its backward pass.

    Parameters
    ----------
    name
        The network that the model was made from.
    model
        In train mode.
    example
        As `architectures.example_input` makes it.
    loss
        Of the output, by default that of `loss_of`.

    Raises
    ------
    ValueError
        If there is no such network, or no gradient leads into it.
    """
    return (loss or loss_of(name))(call_with(model, example))


def loss_of(name: str, place: str = "") -> Loss:
    """Return the loss of a network's output, the same for any model of that name.

    Cross-entropy for classification and segmentation. For a detector's backbone, whose loss would
    hang on what is detected, the sum over its feature maps of their means: linear, so that the
    backward pass starts from the same gradients whatever the features are. For a network of the
    user's own, `RandomGradients`.

    Parameters
    ----------
    name
        A network.
    place
        ``"pkg.mod:function"`` for a loss of the user's own in its stead.

    Raises
    ------
    ValueError
        If there is no such network or function.
    """
    task = architectures.architecture(name).task
    if place:
        return own.loss(place)
    return _LOSSES.get(task) or RandomGradients()


class RandomGradients:
    """The sum of all outputs, each element times a number drawn once from N(0, 1).

    The backward pass starts from these numbers, whatever the outputs are: the tensors of floating
    point, in nested lists, tuples, dicts and dataclasses, that lead back into the network. Another
    one draws the same numbers.
    """

    def __init__(self) -> None:
        self._drawn: dict[tuple[Any, ...], Tensor] = {}

    def __call__(self, output: Any) -> Tensor:
        """Return the loss of an output.

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
        sums = [(y * self._gradient(number, y)).sum() for number, y in enumerate(found)]
        return torch.stack([each.to(sums[0]) for each in sums]).sum()

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
