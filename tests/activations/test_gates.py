"""The gates: which half of the channels scales which, as common code has them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.activations.samples import layer, normal


@pytest.mark.parametrize("shape", [(3, 8), (2, 8, 5), (2, 8, 4, 3)])
def test_of_a_sigmoid_it_would_be_torchs_with_its_halves_exchanged(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    gate, value = x[:, :4], x[:, 4:]
    # SiLU(a)·b is a·(σ(a)·b), and torch's glu is the first half times σ of the second.
    expected = gate * functional.glu(torch.cat([value, gate], dim=1), dim=1)
    torch.testing.assert_close(layer("swiglu", 4)(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "gate"), [("swiglu", nn.SiLU()), ("geglu", nn.GELU())])
def test_two_projections_are_one_that_is_twice_as_wide(name: str, gate: nn.Module) -> None:
    """The paper's W and V, without biases."""
    w, v = (nn.Conv2d(3, 5, 1, bias=False).double() for _ in range(2))
    both = nn.Conv2d(3, 10, 1, bias=False).double()
    both.load_state_dict({"weight": torch.cat([w.weight, v.weight])})
    x = normal(2, 3, 4, 6)
    torch.testing.assert_close(layer(name, 5)(both(x)), gate(w(x)) * v(x), rtol=1e-12, atol=1e-12)
