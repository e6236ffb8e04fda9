"""A network case's two networks: made, prepared and called as the case says."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dynact.networks.architectures import create, example_input
from dynact.networks.loss import training_loss
from dynact.networks.swap import Swap, swap_activations
from dynact.schema.network_cases import NetworkCase
from dynact.worker.device import Device
from dynact.worker.workload import SEED


@dataclass(frozen=True)
class Pair:
    """A network as it is, and with another activation; equal in all that they share."""

    original: nn.Module
    swapped: nn.Module
    swaps: tuple[Swap, ...]
    """What became of each activation, in order of depth."""


def pair_of(case: NetworkCase, device: Device) -> Pair:
    """Return both networks on the device, in the case's dtype and mode, with random weights.

    Raises
    ------
    PlacementError
        If neither the activation's paper nor its code has it in this network, as asked for.
    ValueError
        If the network cannot take such images, the activation cannot be made, or nothing can be
        replaced in it.
    """
    torch.manual_seed(SEED)
    original = create(case.network)
    images = example_input(case.network, 1, case.image_size)
    swapped, swaps = swap_activations(
        original, case.activation, case.placement, example_input=images
    )
    for network in (original, swapped):
        network.to(device.torch_device, getattr(torch, case.dtype))
        network.train(case.phase == "training")
    return Pair(original, swapped, tuple(swaps))


def draw_images(case: NetworkCase, batch: int, device: Device) -> Tensor:
    """Return a batch of images (batch, 3, H, W), the same for every activation."""
    images = example_input(case.network, batch, case.image_size)
    return images.to(device.torch_device, getattr(torch, case.dtype))


def call_of_network(case: NetworkCase, network: nn.Module, images: Tensor) -> Callable[[], None]:
    """Return what is timed: a forward pass, or a training step but for the optimiser."""
    if case.phase == "inference":

        def infer() -> None:
            network(images)

        return infer

    parameters = list(network.parameters())

    def train() -> None:
        torch.autograd.backward(training_loss(case.network, network, images))
        for parameter in parameters:
            parameter.grad = None

    return train
