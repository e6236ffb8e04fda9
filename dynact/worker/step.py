"""What is timed of a network: a forward pass, or a training step but for the optimiser."""

from collections.abc import Callable

from torch import nn

from dynact import timing
from dynact.networks.loss import Backward
from dynact.networks.passes import Example, call_with
from dynact.schema.cases import AnyCase
from dynact.worker.device import Device
from dynact.worker.layer import warm_up
from dynact.worker.modes import grad_mode


def step_of(
    network: nn.Module, example: Example, backward: Backward | None = None
) -> Callable[[], None]:
    """Return a call that goes `backward` from the network's output; forward alone if that is None.

    It leaves no gradient behind: each writes its own anew, where it would add to what is there.
    """
    if backward is None:

        def infer() -> None:
            call_with(network, example)

        return infer

    parameters = list(network.parameters())

    def train() -> None:
        backward(call_with(network, example))
        for parameter in parameters:
            parameter.grad = None

    return train


def warm_pair(
    target: Callable[[], None], baseline: Callable[[], None], case: AnyCase, device: Device
) -> timing.Pair:
    """Return both calls to be timed, warm."""
    with grad_mode(case):
        for call in (target, baseline):
            warm_up(call)
    return timing.Pair(target, baseline, device.clock)
