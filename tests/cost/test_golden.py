"""Known figures at C = 64, 56×56, K = 2, R = 8, and where DY-ReLU's differ from what we count.

The static ones and FReLU are reproduced as they stand. DY-ReLU's known figures are of another
formulation, written out in `WrittenOut`, which counts to them exactly:

- It takes a sigmoid as 1/(1 + exp(−v)), four FLOPs: negate, exponential, add, divide. Our
  convention takes an elementary function as one, so we count 3 fewer for each coefficient:
  2K = 4 of them for A, 2KC = 256 for B and C.
- Variant C multiplies π into each of the K lines before the maximum. The layer multiplies once
  after it, which is the same as π ≥ 0: K − 1 = 1 multiplication fewer for each element.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torchvision.models import get_model

from dynact.activations import create
from dynact.activations._dyrelu import DyReLU
from dynact.activations.dynamic import DyReLUC
from dynact.cost.flops import count_flops, fvcore_default_flops
from dynact.cost.parameters import count_parameters
from tests.cost.witness import witness_flops

C, H, W, K = 64, 56, 56, 2
ELEMENTS = C * H * W
X = torch.randn(1, C, H, W, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "flops"), [("relu", 200_704), ("prelu", 401_408), ("frelu", 4_214_784)]
)
def test_known_figure(name: str, flops: int) -> None:
    assert count_flops(create(name, C), X).total == flops


@pytest.mark.parametrize(
    ("name", "flops", "coefficients", "weighings"),
    [
        ("dyrelu_a", 1_205_352, 2 * K, 0),
        ("dyrelu_b", 1_211_400, 2 * K * C, 0),
        ("dyrelu_c", 2_039_304, 2 * K * C, K - 1),
    ],
)
def test_dyrelu(name: str, flops: int, coefficients: int, weighings: int) -> None:
    layer = create(name, C)
    assert isinstance(layer, DyReLU)
    written_out = WrittenOut(layer).eval()
    with torch.no_grad():
        torch.testing.assert_close(written_out(X), layer(X))

    assert count_flops(written_out, X).total == flops
    assert witness_flops(written_out.to("meta"), X.to("meta")) == flops
    expected = flops - 3 * coefficients - weighings * ELEMENTS
    assert count_flops(create(name, C), X).total == expected


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("relu", 0),
        ("prelu", 0),
        ("frelu", 2_207_744),
        ("dyrelu_a", 544),
        ("dyrelu_b", 2_560),
        ("dyrelu_c", 203_264),
    ],
)
def test_what_fvcore_says_unaided(name: str, flops: int) -> None:
    assert fvcore_default_flops(create(name, C), X) == flops


# All parameters: of ReLU, DY-ReLU-A, B, C, FReLU with and without bias, ACON-C.
NETWORKS = {
    "mobilenet_v2": (3504872, 4847596, 10233344, 10248931, 3691496, 3675944, 3551528),
    "resnet18": (11689512, 11866612, 12578576, 12582497, 11736360, 11732456, 11701224),
    "resnet50": (25557032, 28401252, 39799872, 39822641, 25829672, 25806952, 25625192),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_parameters_of_networks_with_every_activation_call_replaced(network: str) -> None:
    with torch.device("meta"):
        model = get_model(network).eval()
        calls = RectifierCalls()
        with calls, torch.no_grad():
            model(torch.empty(1, 3, 224, 224))
    of_relu, *expected = NETWORKS[network]
    layers: list[tuple[str, dict[str, object]]] = [
        ("dyrelu_a", {}), ("dyrelu_b", {}), ("dyrelu_c", {}),
        ("frelu", {}), ("frelu", {"bias": False}), ("acon_c", {}),
    ]  # fmt: skip

    assert count_parameters(model).learnable == of_relu
    for (name, options), total in zip(layers, expected, strict=True):
        added = (count_parameters(create(name, c, **options)).learnable for c in calls.channels)
        assert of_relu + sum(added) == total


class RectifierCalls(TorchFunctionMode):
    """The channels of each call of a ReLU or ReLU6: one module may serve several widths."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: list[int] = []

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in (functional.relu, functional.relu6, functional.hardtanh):
            self.channels.append(args[0].shape[1])
        return func(*args, **(kwargs or {}))


class WrittenOut(nn.Module):
    """DY-ReLU with a sigmoid of four operators and, for C, each line weighed by π."""

    def __init__(self, layer: DyReLU) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        v = layer.fc2(torch.relu(layer.fc1(x.mean(dim=(2, 3)))))
        sigmoid = ((-v).exp() + 1).reciprocal()
        delta = (2 * sigmoid - 1).reshape(x.shape[0], layer.groups, 2 * K)
        a, b = (layer.alpha_beta + layer.lambdas * delta).chunk(2, dim=-1)
        lines = x.unsqueeze(-1) * a[:, :, None, None] + b[:, :, None, None]
        if isinstance(layer, DyReLUC):
            lines = lines * layer.position_weights(x).unsqueeze(-1)
        return lines.max(dim=-1).values
