"""Calls of activations to count."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dynact.activations import create
from dynact.cost import not_a_leaf
from tests.activations.samples import channels_in

_OF_DYRELU: list[dict[str, object]] = [
    {"k": 1},
    {"k": 3, "reduction": 2},
    {"gate": "hardsigmoid"},
]
# What else a name's layer may be made with.
OPTIONS: dict[str, list[dict[str, object]]] = {
    "leaky_relu": [{"negative_slope": 0.3}],
    "prelu": [{"shared": True}],
    "gelu": [{"approximate": "tanh"}],
    "elu": [{"alpha": 0.5}],
    "softplus": [{"beta": 2.0}],
    "frelu": [{"kernel_size": 5}, {"bias": False}],
    "dyrelu_a": _OF_DYRELU,
    "dyrelu_b": _OF_DYRELU,
    "dyrelu_c": _OF_DYRELU,
    "se": [{"reduction": 2}],
    "maxout": [{"k": 1}, {"k": 3}],
    "meta_acon_c": [{"reduction": 2}, {"batch_norm": True}],
    "dyrelu_dyhead": [{"reduction": 2}],
    "group_rational": [{"groups": 1}],
    "dy_shift_max": [{"reduction": 2, "groups": 2}],
    "series_act": [{"n": 1}],
    "meta_acon_c_bn": [{"reduction": 2}],
}


@dataclass(frozen=True)
class Call:
    module: nn.Module
    x: Tensor
    gradient: Tensor
    run: Callable[[], None]

    @property
    def there_anyway(self) -> list[Tensor]:
        return [self.x, self.gradient, *self.module.parameters(), *self.module.buffers()]


def call_of(
    name: str,
    shape: tuple[int, ...],
    training: bool,
    device: str = "cpu",
    layout: torch.memory_format = torch.contiguous_format,
    **options: object,
) -> Call:
    """Return a call of an activation whose output has that shape.

    Forward alone under no_grad, or forward and backward.
    """
    torch.manual_seed(0)
    module = create(name, shape[1], **options).to(device).train(training)
    of_input = shape[0], channels_in(name, shape[1]), *shape[2:]
    x = torch.randn(of_input, device=device).to(memory_format=layout).requires_grad_(training)
    gradient = torch.randn(shape, device=device).to(memory_format=layout)

    def infer() -> None:
        with torch.no_grad():
            module(x)

    def train() -> None:
        given = not_a_leaf(x) if name == "relu_inplace" else x
        module(given).backward(gradient)
        x.grad = None
        module.zero_grad()

    run = train if training else infer
    # The first call sets up what stays, such as a library's handles.
    run()
    return Call(module, x, gradient, run)
