"""The fused funnels: statistics, what was changed of their parts, and second derivatives."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynact.activations import create
from tests.activations.samples import EXACT, layer, normal, outcome

pytestmark = [
    pytest.mark.usefixtures("without_code"),
    pytest.mark.parametrize("name", ["frelu", "frelu_light"]),
]


def same(size: tuple[int, ...], times: int = 1) -> tuple[int, int]:
    """Return the padding that keeps a map's size."""
    height, width = (side // 2 * times for side in size)
    return height, width


CHANGED_CONVOLUTIONS: dict[str, Callable[[Any], nn.Module]] = {
    "dilated": lambda k: nn.Conv2d(3, 3, k, groups=3, padding=same(k, 2), dilation=2),
    "reflected": lambda k: nn.Conv2d(
        3, 3, k, groups=3, padding=same(k), padding_mode="reflect", bias=False
    ),
    "of groups": lambda k: nn.Conv2d(3, 3, k, padding=same(k)),
}


def test_second_derivatives_are_those_of_the_reference(name: str) -> None:
    fused, plain = (layer(name, 3, impl=impl).train() for impl in ("fused", "reference"))
    x = normal(2, 3, 3, 2).requires_grad_()
    second = []
    for module in (fused, plain):
        given = [x, *module.parameters()]
        first = torch.autograd.grad(module(x).square().sum(), given, create_graph=True)
        norm = torch.stack([each.square().sum() for each in first]).sum()
        second.append(torch.autograd.grad(norm, given, materialize_grads=True))
    for ours, theirs in zip(*second, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.float64])
def test_another_dtype_is_refused(name: str, dtype: torch.dtype) -> None:
    for impl in ("fused", "reference"):
        with pytest.raises(RuntimeError, match=r"same|not implemented|type|dtype"):
            create(name, 4, impl=impl)(torch.ones(2, 4, 3, 3, dtype=dtype))


def test_one_value_a_channel_is_refused(name: str) -> None:
    for impl in ("fused", "reference"):
        with pytest.raises(ValueError, match=r"^Expected more than 1 value per channel"):
            create(name, 4, impl=impl).train()(torch.randn(1, 4, 1, 1))


def test_what_is_remembered_without_momentum_is_the_mean_of_all(name: str) -> None:
    fused, plain = (layer(name, 3, impl=impl).train() for impl in ("fused", "reference"))
    for module in (fused, plain):
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None
        for seed in range(3):
            module(normal(2, 3, 4, 4, seed=seed))
    torch.testing.assert_close(fused.state_dict(), plain.state_dict(), **EXACT)


@pytest.mark.parametrize(
    "change",
    [
        *("another layer", "one in eval", "nothing remembered", "no γ and β", "a hook"),
        *("dilated", "reflected", "of groups"),
    ],
)
def test_parts_that_were_changed_are_called(name: str, change: str) -> None:
    class Twice(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    outcomes = []
    for impl in ("fused", "reference"):
        module = layer(name, 3, impl=impl).train()
        key, bn = next((k, b) for k, b in module.named_children() if k.startswith("bn"))
        at, conv = next((k, c) for k, c in module.named_children() if k.startswith("conv"))
        assert isinstance(conv, nn.Conv2d)
        if change == "another layer":
            setattr(module, key, Twice(3).double())
        elif change == "one in eval":
            bn.eval()
        elif change in CHANGED_CONVOLUTIONS:
            torch.manual_seed(0)
            changed = CHANGED_CONVOLUTIONS[change](conv.kernel_size)
            setattr(module, at, changed.double())
        elif change == "a hook":
            bn.register_forward_hook(lambda _bn, _given, y: 3 * y)
        elif change == "no γ and β":
            setattr(module, key, nn.BatchNorm2d(3, affine=False).double())
        else:
            setattr(module, key, nn.BatchNorm2d(3, track_running_stats=False).double())
        outcomes.append(outcome(module, normal(2, 3, 4, 4)))
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_an_empty_batch_leaves_what_is_remembered(name: str) -> None:
    module = layer(name, 3, impl="fused").train()
    before = copy.deepcopy(module.state_dict())
    assert module(torch.empty(0, 3, 4, 4, dtype=torch.float64)).shape == (0, 3, 4, 4)
    for key, value in module.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_a_batch_between_an_evaluation_and_its_gradient_is_no_matter(name: str) -> None:
    module, x = layer(name, 3, impl="fused"), normal(2, 3, 4, 4).requires_grad_()
    expected = torch.autograd.grad(module(x).sum(), x)[0]
    y = module(x)
    module.train()(normal(2, 3, 4, 4, seed=5))
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], expected, **EXACT)


def test_gradients_are_apart_and_each_in_its_parameters_dtype(name: str) -> None:
    module = layer(name, 3, impl="fused").float().train()
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(normal(2, 3, 4, 4, dtype=torch.float32))
    gradients = torch.autograd.grad(y.sum(), list(module.parameters()))
    dtypes = [p.dtype for p in module.parameters()]
    assert [g.dtype for g in gradients] == dtypes
    assert len({g.data_ptr() for g in gradients}) == len(gradients)
    assert any(
        not torch.equal(g, g.bfloat16().float()) for g in gradients if g.dtype == torch.float32
    )


def test_second_derivatives_under_autocast(name: str) -> None:
    second = []
    for impl in ("fused", "reference"):
        module = layer(name, 3, impl=impl).float().train()
        x = normal(2, 3, 4, 4, dtype=torch.bfloat16).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x)
        first = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)[0]
        second.append(torch.autograd.grad(first.float().square().sum(), x)[0].float())
    ours, theirs = second
    # The reference convolves in bfloat16.
    assert (ours - theirs).abs().mean() <= 0.1 * theirs.abs().mean()


def test_nothing_is_remembered_of_a_batch_in_eval(name: str) -> None:
    module = layer(name, 3, impl="fused")
    before = copy.deepcopy(module.state_dict())
    module(normal(2, 3, 4, 4).requires_grad_()).sum().backward()
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


def test_equal_ones_share_the_gradient(name: str) -> None:
    """T(x) = x = 0 everywhere: half of each gradient is x's."""
    x = torch.zeros(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    gradients = []
    for impl in ("fused", "reference"):
        module = layer(name, 3, impl=impl).train()
        with torch.no_grad():
            for key, parameter in module.named_parameters():
                if key.endswith("bias"):
                    parameter.zero_()
        gradients.append(torch.autograd.grad(module(x).sum(), x)[0])
    torch.testing.assert_close(*gradients, **EXACT)
