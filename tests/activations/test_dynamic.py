"""DY-ReLU A, B, C: their special cases, their options, and the weights over positions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from dynact.activations import create
from dynact.cost import saved_for_backward
from tests.activations.oracles import ORACLES
from tests.activations.samples import layer, normal, state_of

variants = pytest.mark.parametrize("name", ["dyrelu_a", "dyrelu_b", "dyrelu_c"])
without_positions = pytest.mark.parametrize("name", ["dyrelu_a", "dyrelu_b"])

EXACT = {"rtol": 1e-11, "atol": 1e-11}


def fix_deltas(module: nn.Module, deltas: torch.Tensor) -> None:
    """Make fc2 answer the same Δ, one a row, whatever the input."""
    with torch.no_grad():
        module.fc2.weight.zero_()
        module.fc2.bias.copy_(torch.log((1 + deltas) / (1 - deltas)).flatten())


@variants
@pytest.mark.parametrize(
    "options",
    [
        {"k": 1},
        {"k": 3},
        {"reduction": 2},
        {"lambda_a": 0.25, "lambda_b": 2.0},
        {"gate": "hardsigmoid"},
        {"gate": "hardsigmoid", "k": 4, "reduction": 1, "lambda_b": 0},
    ],
)
def test_options(name: str, options: dict[str, object]) -> None:
    module, x = layer(name, 5, **options), normal(3, 5, 4, 3)
    # R is in the shapes of fc1 and fc2 already.
    formula = {key: value for key, value in options.items() if key != "reduction"}
    expected = torch.from_numpy(ORACLES[name](x.numpy(), state_of(module), **formula))
    torch.testing.assert_close(module(x), expected, **EXACT)


@pytest.mark.parametrize("options", [{"tau": 0.5}, {"gamma": 1}, {"tau": 1, "gamma": 0.1}])
def test_options_of_the_weights_over_positions(options: dict[str, object]) -> None:
    module, x = layer("dyrelu_c", 5, **options), normal(3, 5, 4, 3)
    expected = torch.from_numpy(ORACLES["dyrelu_c"](x.numpy(), state_of(module), **options))
    torch.testing.assert_close(module(x), expected, **EXACT)


@variants
@pytest.mark.parametrize("k", [1, 2, 3])
def test_hidden_and_output_widths(name: str, k: int) -> None:
    module = create(name, 24, reduction=5, k=k)
    assert module.fc1.weight.shape == (4, 24)
    assert module.fc2.weight.shape == (2 * k * (1 if name == "dyrelu_a" else 24), 4)


@without_positions
@pytest.mark.parametrize("gate", ["sigmoid", "hardsigmoid"])
@pytest.mark.parametrize("k", [2, 3])
def test_with_no_delta_it_is_relu(name: str, gate: str, k: int) -> None:
    module, x = layer(name, 5, gate=gate, k=k), normal(2, 5, 4, 3)
    nn.init.zeros_(module.fc2.weight)
    nn.init.zeros_(module.fc2.bias)
    torch.testing.assert_close(module(x), functional.relu(x), rtol=0, atol=0)


@without_positions
def test_with_a_fixed_slope_it_is_leaky_relu(name: str) -> None:
    module, x = layer(name, 5), normal(2, 5, 4, 3)
    deltas = torch.tensor([0, 0.01, 0, 0], dtype=torch.float64)
    fix_deltas(module, deltas.expand(module.fc2.out_features // 4, 4))
    torch.testing.assert_close(module(x), functional.leaky_relu(x, 0.01), **EXACT)


def test_with_a_slope_a_channel_it_is_prelu() -> None:
    module, x = layer("dyrelu_b", 5), normal(2, 5, 4, 3)
    slopes = torch.tensor([-0.5, -0.1, 0.0, 0.25, 0.9], dtype=torch.float64)
    deltas = torch.zeros(5, 4, dtype=torch.float64)
    deltas[:, 1] = slopes
    fix_deltas(module, deltas)
    torch.testing.assert_close(module(x), functional.prelu(x, slopes), **EXACT)


def test_one_line_through_zero_is_squeeze_and_excitation() -> None:
    module, x = layer("dyrelu_b", 16, k=1, lambda_b=0), normal(2, 16, 4, 3)
    gate = layer("se", 16, reduction=8)
    with torch.no_grad():
        gate.fc1.load_state_dict(module.fc1.state_dict())
        gate.fc2.weight.copy_(module.fc2.weight[::2])
        gate.fc2.bias.copy_(module.fc2.bias[::2])
    # 1 + (2σ − 1) is 2σ: SE's gate, up to 2.
    torch.testing.assert_close(module(x), 2 * gate(x), **EXACT)


def test_fixed_lines_are_maxout_over_them() -> None:
    channels, k = 4, 3
    module, x = layer("dyrelu_b", channels, k=k), normal(2, channels, 5, 3)
    deltas = normal(channels, 2 * k, seed=5).tanh()
    fix_deltas(module, deltas)
    lines = layer("maxout", channels, k=k)
    with torch.no_grad():
        lines.conv.weight.zero_()
        for c in range(channels):
            for j in range(k):
                lines.conv.weight[c * k + j, c] = deltas[c, j] + (j == 0)
                lines.conv.bias[c * k + j] = 0.5 * deltas[c, k + j]
    torch.testing.assert_close(module(x), lines(x), **EXACT)


@pytest.mark.parametrize("row", range(12))
def test_row_of_channel_and_coefficient(row: int) -> None:
    channels, k = 3, 2
    module, x = layer("dyrelu_b", channels, k=k), normal(2, channels, 4, 3)
    deltas = torch.zeros(channels * 2 * k, dtype=torch.float64)
    deltas[row] = 0.5
    fix_deltas(module, deltas)

    a, b = module.coefficients(x)

    channel, coefficient = divmod(row, 2 * k)
    lines = torch.zeros(2, channels, 2 * k, dtype=torch.float64)
    lines[:, :, 0] = 1
    lines[:, channel, coefficient] += 0.5 if coefficient < k else 0.25
    torch.testing.assert_close(torch.cat([a, b], dim=-1), lines, **EXACT)


def test_samples_do_not_see_each_other() -> None:
    module, x = layer("dyrelu_c", 5), normal(3, 5, 4, 3)
    alone = torch.cat([module(sample[None]) for sample in x])
    torch.testing.assert_close(module(x), alone, **EXACT)


def twins(**options: object) -> tuple[nn.Module, nn.Module]:
    """Return a DY-ReLU-C and the DY-ReLU-B with the same lines."""
    c, b = layer("dyrelu_c", 5, **options), layer("dyrelu_b", 5)
    b.load_state_dict({k: v for k, v in c.state_dict().items() if "spatial" not in k})
    return c, b


def test_where_every_position_weighs_one_c_is_b() -> None:
    c, b = twins(gamma=1e9)
    x = normal(2, 5, 4, 3)
    torch.testing.assert_close(c(x), b(x), rtol=0, atol=0)


def test_positions_do_not_all_weigh_one() -> None:
    c, b = twins()
    x = normal(2, 5, 7, 6)
    weights = c.position_weights(x)

    assert weights.shape == (2, 1, 7, 6)
    assert (weights > 0).all()
    assert (weights < 1).all()
    assert weights.flatten(1).std(dim=1).min() > 0.01
    # A softmax sums to 1, and nothing here is cut off.
    torch.testing.assert_close(
        weights.mean(dim=(1, 2, 3)), torch.full((2,), 1 / 3, dtype=torch.float64), **EXACT
    )
    torch.testing.assert_close(c(x), weights * b(x), **EXACT)
    assert not torch.allclose(c(x), b(x))


def test_a_loud_position_weighs_one_and_silences_the_others() -> None:
    module, x = layer("dyrelu_c", 5), torch.zeros(1, 5, 4, 3, dtype=torch.float64)
    nn.init.ones_(module.spatial.weight)
    x[0, :, 2, 1] = 1000
    weights = module.position_weights(x)
    assert weights[0, 0, 2, 1] == 1
    assert weights.sum() - 1 < 1e-30


def test_weights_over_positions_hold_in_half_precision_on_a_large_map() -> None:
    module = create("dyrelu_c", 1).half()
    weights = module.position_weights(torch.zeros(1, 1, 600, 600, dtype=torch.float16))
    # Each share is 1/360,000: a subnormal float16, with 6 of its 11 bits.
    expected = torch.full_like(weights, 1 / 3)
    torch.testing.assert_close(weights, expected, rtol=torch.finfo(torch.float16).eps, atol=0)


def test_the_hard_gate_is_another_function() -> None:
    soft, hard = layer("dyrelu_b", 5), layer("dyrelu_b", 5, gate="hardsigmoid")
    x = normal(2, 5, 4, 3)
    assert (soft(x) - hard(x)).abs().max() > 0.01


@pytest.mark.parametrize("options", [{}, {"reduction": 2}])
def test_the_form_of_dyhead_is_b_with_a_hard_gate(options: dict[str, object]) -> None:
    module, x = layer("dyrelu_dyhead", 12, **options), normal(2, 12, 4, 3)
    same = layer("dyrelu_b", 12, **{"reduction": 4, **options}, gate="hardsigmoid")
    assert module.fc1.out_features == same.fc1.out_features
    torch.testing.assert_close(module(x), same(x), **EXACT)
    # Two lines and the larger, without a dimension of lines or its indices.
    x = normal(4, 12, 20, 20, dtype=torch.float32).requires_grad_()
    assert saved_for_backward(create("dyrelu_dyhead", 12), x).total < 3.1 * x.nbytes
