"""A second count of FLOPs, of the operators that torch dispatches rather than of a trace.

It shares nothing with dynact.cost, runs on the meta device, and refuses what it does not know.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten

Shape = torch.Size
Formula = Callable[..., int]

BUILT_IN = (aten.convolution, aten.addmm, aten.mm, aten.bmm, aten.baddbmm)

FREE = {
    aten._reshape_alias,
    aten._to_copy,
    aten._unsafe_view,
    aten.alias,
    aten.as_strided,
    aten.as_strided_,
    aten.cat,
    aten.clone,
    aten.detach,
    aten.empty,
    aten.empty_like,
    aten.expand,
    aten.index,
    aten.new_empty,
    aten.permute,
    aten.repeat,
    aten.select,
    aten.slice,
    aten.split,
    aten.squeeze,
    aten.t,
    aten.transpose,
    aten.unbind,
    aten.unsqueeze,
    aten.view,
    aten.where,
}


def each(flops: int) -> Formula:
    def formula(*_args: object, out_shape: Shape, **_kwargs: object) -> int:
        return flops * prod(out_shape)

    return formula


def scaled_sum(*_args: object, out_shape: Shape, alpha: float = 1) -> int:
    return prod(out_shape) * (1 if alpha == 1 else 2)


def clamp(
    _x: Shape, low: object = None, high: object = None, *, out_shape: Shape, **_kwargs: object
) -> int:
    return prod(out_shape) * ((low is not None) + (high is not None))


def gelu(_x: Shape, *, out_shape: Shape, approximate: str = "none") -> int:
    return prod(out_shape) * {"none": 5, "tanh": 9}[approximate]


def elu(
    _x: Shape, _alpha: float = 1, scale: float = 1, input_scale: float = 1, *, out_shape: Shape
) -> int:
    return prod(out_shape) * (4 + (scale != 1) + (input_scale != 1))


def softplus(_x: Shape, beta: float = 1, _threshold: float = 20, *, out_shape: Shape) -> int:
    return prod(out_shape) * (1 if beta == 1 else 3)


def mean(x: Shape, *_args: object, out_shape: Shape, **_kwargs: object) -> int:
    adds, divisions = prod(x) - prod(out_shape), prod(out_shape)
    return adds + divisions


def reduction(x: Shape, *_args: object, out_shape: Any, **_kwargs: object) -> int:
    # max over a dimension has two outputs, values and indices.
    first = out_shape[0] if isinstance(out_shape, tuple) and not is_shape(out_shape) else out_shape
    return prod(x) - prod(first)


def euclidean_norm(x: Shape, *_args: object, out_shape: Shape, **_kwargs: object) -> int:
    squares, adds, roots = prod(x), prod(x) - prod(out_shape), prod(out_shape)
    return squares + adds + roots


def is_shape(value: Any) -> bool:
    return isinstance(value, torch.Size)


def batch_norm(x: Shape, *_args: object, **_kwargs: object) -> int:
    scales, shifts = prod(x), prod(x)
    return scales + shifts


def normalised(elements: int, rows: int, affine: tuple[object, ...]) -> int:
    centred = elements + elements
    variance = elements + elements
    inverse_deviations = 2 * rows
    given = sum(parameter is not None for parameter in affine)
    return centred + variance + inverse_deviations + elements + given * elements


def batch_norm_of_the_batch(
    x: Shape,
    weight: Shape | None,
    bias: Shape | None,
    _mean: object,
    _var: object,
    training: bool,
    *_args: object,
    **_kwargs: object,
) -> int:
    if not training:
        return 2 * prod(x)
    return normalised(prod(x), x[1], (weight, bias))


def batch_norm_without_statistics(
    x: Shape, weight: Shape | None, bias: Shape | None, *_args: object, **_kwargs: object
) -> int:
    return normalised(prod(x), x[1], (weight, bias))


def group_norm(
    x: Shape,
    weight: Shape | None,
    bias: Shape | None,
    n: int,
    _c: int,
    _hw: int,
    groups: int,
    _eps: float,
    **_kwargs: object,
) -> int:
    return normalised(prod(x), n * groups, (weight, bias))


def layer_norm(
    x: Shape,
    normalized: list[int],
    weight: Shape | None,
    bias: Shape | None,
    _eps: float,
    **_kwargs: object,
) -> int:
    return normalised(prod(x), prod(x) // prod(normalized), (weight, bias))


def max_pool(_x: Shape, kernel: list[int], *_args: object, out_shape: tuple[Shape, Shape]) -> int:
    values = out_shape[0]
    return prod(values) * (kernel[0] * kernel[-1] - 1)


def avg_pool(_x: Shape, kernel: list[int], *_args: object, out_shape: Shape) -> int:
    return prod(out_shape) * kernel[0] * kernel[-1]


def adaptive_avg_pool(x: Shape, _size: object, *, out_shape: Shape) -> int:
    total = 0
    for i in range(out_shape[2]):
        rows = range(i * x[2] // out_shape[2], ((i + 1) * x[2] + out_shape[2] - 1) // out_shape[2])
        for j in range(out_shape[3]):
            first = j * x[3] // out_shape[3]
            last = ((j + 1) * x[3] + out_shape[3] - 1) // out_shape[3]
            total += len(rows) * (last - first)
    return total * x[0] * x[1]


FORMULAS: dict[Any, Formula] = {
    aten.relu: each(1),
    aten.relu_: each(1),
    aten.sigmoid: each(1),
    aten.exp: each(1),
    aten.expm1: each(1),
    aten.log: each(1),
    aten.erf: each(1),
    aten.tanh: each(1),
    aten.sqrt: each(1),
    aten.pow: each(1),
    aten.neg: each(1),
    aten.reciprocal: each(1),
    aten.maximum: each(1),
    aten.minimum: each(1),
    aten.mul: each(1),
    aten.div: each(1),
    aten.gt: each(1),
    aten.abs: each(1),
    aten.hardtanh: each(2),
    aten.hardtanh_: each(2),
    aten.leaky_relu: each(2),
    aten._prelu_kernel: each(2),
    aten.silu: each(2),
    aten.mish: each(3),
    aten.hardsigmoid: each(4),
    aten.hardswish: each(5),
    aten.hardswish_: each(5),
    aten._softmax: each(5),
    aten.upsample_bilinear2d: each(7),
    aten.add: scaled_sum,
    aten.add_: scaled_sum,
    aten.sub: scaled_sum,
    aten.rsub: scaled_sum,
    aten.clamp: clamp,
    aten.gelu: gelu,
    aten.elu: elu,
    aten.softplus: softplus,
    aten.mean: mean,
    aten.sum: reduction,
    aten.linalg_vector_norm: euclidean_norm,
    aten.max: reduction,
    aten.amax: reduction,
    aten.native_batch_norm: batch_norm_of_the_batch,
    aten._native_batch_norm_legit_no_training: batch_norm,
    aten._native_batch_norm_legit: batch_norm_without_statistics,
    aten.native_group_norm: group_norm,
    aten.native_layer_norm: layer_norm,
    aten.max_pool2d_with_indices: max_pool,
    aten.avg_pool2d: avg_pool,
    aten._adaptive_avg_pool2d: adaptive_avg_pool,
}


def witness_flops(module: nn.Module, x: Tensor) -> int:
    """Return the FLOPs of module(x) in eval mode, both on the meta device."""
    module.eval()
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    with torch.no_grad(), _Strict(), counter:
        module(x)
    return counter.get_total_flops()


class _Strict(TorchDispatchMode):
    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        packet = func.overloadpacket
        if packet not in FREE and packet not in BUILT_IN and packet not in FORMULAS:
            raise AssertionError(f"the witness does not know {func}")
        return func(*args, **(kwargs or {}))
