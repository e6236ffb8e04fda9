"""Work that operators do not show is noticed, and nothing else is taken for it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from dynact.cost import HiddenWork, is_all_shown


def _relu(x: Tensor, y: Tensor) -> Tensor:
    """Write into y's memory as a kernel of one's own does."""
    np.maximum(x.detach().numpy(), 0, out=y.detach().numpy())
    return y


class _HiddenBackward(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: FunctionCtx, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(_ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return _relu(gradient, torch.empty_like(gradient))


def _is_noticed(make: Callable[[Tensor], Tensor]) -> bool:
    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad(), HiddenWork() as hidden:
        hidden.read([make(x)], [x])
    return hidden.found


@pytest.mark.parametrize(
    "make",
    [
        lambda x: _relu(x, torch.empty_like(x)),
        lambda x: _relu(x, torch.empty(x.shape)),
        lambda x: _relu(x, x.new_empty(x.shape)).view(2, 3, 16),
        lambda x: _relu(x, torch.empty_strided(x.shape, x.stride())) + 1,
        lambda x: _relu(x + 1, torch.empty_like(x)).relu().sum(),
        lambda x: torch.from_numpy(np.maximum(x.numpy(), 0)),
    ],
)
def test_what_no_operator_computed_is_noticed(make: Callable[[Tensor], Tensor]) -> None:
    assert _is_noticed(make)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x,
        lambda x: x.view(2, 3, 16),
        lambda x: x.relu(),
        lambda x: torch.empty_like(x).copy_(x),
        lambda x: torch.empty_like(x).fill_(3) * x,
        lambda x: x + torch.zeros_like(torch.empty(x.shape)),
        lambda x: x + torch.empty(3).new_ones(x.shape),
        lambda x: torch.add(x, x, out=torch.empty_like(x)),
        lambda x: torch.relu_(x),
        lambda x: functional.dropout(x, 0.5),
        lambda x: functional.rrelu(x, training=True),
        lambda x: torch.empty(3, 0).sum() + x,
        lambda x: x[:0] + torch.empty(0, 3, 4, 4),
        lambda x: x * torch.tensor([1.0, 2.0, 3.0, 4.0]),
        lambda x: _filled_by_parts(x),
        lambda x: torch.empty_like(x).scatter_(0, torch.zeros(2, 3, 4, 4, dtype=torch.int64), x),
    ],
)
def test_what_operators_computed_is_not(make: Callable[[Tensor], Tensor]) -> None:
    assert not _is_noticed(make)


def _filled_by_parts(x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[:, :1] = x[:, :1].relu()
    y[:, 1:] = x[:, 1:]
    return y + 1


def test_a_gradient_that_no_operator_computed_is_noticed() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    with HiddenWork() as hidden:
        x.register_hook(lambda gradient: hidden.read([gradient], [x]))
        y = _HiddenBackward.apply(x)
        hidden.read([y], [x])
        assert not hidden.found
        y.backward(torch.ones(2, 3))
    assert hidden.found


class _Hidden(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _relu(x, torch.empty_like(x))


class _Shown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


@pytest.mark.parametrize(("layer", "is_shown"), [(_Hidden(), False), (_Shown(), True)])
def test_a_module_is_looked_at_and_stays_as_it_is(layer: nn.Module, is_shown: bool) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), layer, nn.Linear(3, 3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.randn(2, 3, requires_grad=True)

    assert is_all_shown(module, x) == is_shown

    assert module.training
    assert x.grad is None
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
