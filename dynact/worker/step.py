"""A training step of a network but for the optimiser, as it is timed."""

from collections.abc import Callable

from torch import nn


def training_step(
    network: nn.Module, forward_and_backward: Callable[[], None]
) -> Callable[[], None]:
    """Return a call of a network's passes that leaves no gradient behind.

    So that each writes its gradients anew, where a further one would add to what is there.
    """
    parameters = list(network.parameters())

    def train() -> None:
        forward_and_backward()
        for parameter in parameters:
            parameter.grad = None

    return train
