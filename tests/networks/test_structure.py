"""Whether a network is still the same, by networks of which one thing differs."""

import pytest
import torch
from torch import Tensor, nn

from dynact.networks.structure import structure_of

X = torch.ones(2, 3, 8, 8)


class Scaled(nn.Module):
    """Says where it lies."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x * self.scale)

    def extra_repr(self) -> str:
        return f"at {id(self)}"


def network(act: nn.Module, **of_conv: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, **of_conv), act, Scaled())


def test_the_same_network_made_again_is_the_same() -> None:
    found, again = (structure_of(network(nn.ReLU()), X) for _ in range(2))

    assert found == again
    assert found == {
        "module": "Sequential()",
        "module 0": "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))",
        "module 1": "ReLU()",
        "module 2": "Scaled()",
        "parameter 0.weight": "4x3x3x3",
        "parameter 0.bias": "4",
        "buffer 2.scale": "scalar",
        "activation 1": "relu of 4 channels",
        "activation 2.tanh": "tanh of 4 channels",
    }


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        (network(nn.ReLU(), stride=2), {"module 0"}),
        (network(nn.SiLU()), {"module 1", "activation 1"}),
        (network(nn.ReLU(), groups=1, bias=False), {"module 0", "parameter 0.bias"}),
    ],
)
def test_what_differs_has_a_name(other: nn.Module, parts: set[str]) -> None:
    found, now = structure_of(network(nn.ReLU()), X), structure_of(other, X)

    assert {part for part in {**found, **now} if found.get(part) != now.get(part)} == parts
