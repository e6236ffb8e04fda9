"""LeNet of PyTorch's CIFAR-10 tutorial, layer by layer."""

import torch
from torch.nn import functional

from dynact.cost import count_parameters
from dynact.networks.lenet import LeNet


def test_lenet_is_the_tutorials() -> None:
    convolutions = (6 * 3 * 25 + 6) + (16 * 6 * 25 + 16)
    fully_connected = (400 * 120 + 120) + (120 * 84 + 84) + (84 * 10 + 10)
    assert convolutions + fully_connected == 62_006
    assert count_parameters(LeNet()).learnable == 62_006


def test_it_computes_what_the_tutorial_writes_down() -> None:
    torch.manual_seed(0)
    network, x = LeNet(), torch.randn(2, 3, 32, 32)
    parameters = list(network.parameters())
    weights = list(zip(parameters[::2], parameters[1::2], strict=True))
    y = x
    for weight, bias in weights[:2]:
        y = functional.max_pool2d(functional.relu(functional.conv2d(y, weight, bias)), 2, 2)
    y = torch.flatten(y, 1)
    for weight, bias in weights[2:4]:
        y = functional.relu(functional.linear(y, weight, bias))
    expected = functional.linear(y, *weights[4])

    torch.testing.assert_close(network(x), expected)
