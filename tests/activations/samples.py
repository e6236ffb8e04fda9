"""Layers and inputs to test with, and which names they go for."""

import torch
from torch import Tensor, nn

from dynact.activations import create, names
from tests.activations.oracles import State

# float64, in another order of summing.
EXACT = {"rtol": 1e-10, "atol": 1e-10}

OWN = tuple(n for n in names() if type(create(n, 4)).__module__.startswith("dynact"))
# Of our own, those that act on each element alone and so take any shape, as torch.nn's do.
PER_ELEMENT = ("quick_gelu", "squared_relu", "star_relu", "apa", "aglu", "xielu")
CHECKED = tuple(n for n in OWN if n not in PER_ELEMENT)
CHECKED_OF_ANY_DIMS = {
    *("dyrelu_a", "dyrelu_b", "se", "dyrelu_dyhead", "eca", "group_rational"),
    *("dyt", "derf", "layer_norm", "swiglu", "geglu"),
}
ANY_DIMS = tuple(n for n in names() if n not in CHECKED or n in CHECKED_OF_ANY_DIMS)


def dims_of(name: str) -> tuple[int, ...]:
    """Return the numbers of dimensions that an activation takes; a new one takes 4."""
    return (2, 3, 4) if name in ANY_DIMS else (4,)


def channels_in(name: str, channels: int) -> int:
    """Return the channels of the input of an activation whose output has `channels`."""
    return 2 * channels if name in ("swiglu", "geglu") else channels


def layer(name: str, channels: int, seed: int = 0, **options: object) -> nn.Module:
    """Return an activation in float64 and eval mode with every parameter and statistic random."""
    generator = torch.Generator().manual_seed(seed)
    module = create(name, channels, **options).double().eval()
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                value.normal_(generator=generator)
            if key.endswith("running_var"):
                value.square_().add_(0.1)
    return module


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def state_of(module: nn.Module) -> State:
    return {key: value.numpy() for key, value in module.state_dict().items()}


def outcome(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return output and gradients of one step, the input's first."""
    x = x.clone().requires_grad_()
    y = module(x)
    gradient = normal(*y.shape, seed=9).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], gradient)]
