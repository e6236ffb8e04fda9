"""How much arithmetic each operator of a trace does, from the shapes of its inputs and outputs.

A count takes an operator's inputs and outputs as they are in the trace. It raises
`UnknownError` where they do not tell enough.
"""

from collections.abc import Callable
from math import inf, log2, prod
from typing import Any

import torch

from dynact.cost._einsum import Einsum, einsum_arithmetic
from dynact.cost._fvcore import get_shape

Values = list[torch._C.Value]
Count = Callable[[Values, Values], int]


class UnknownError(Exception):
    """An operator whose arithmetic the trace does not tell."""


def none(_inputs: Values, _outputs: Values) -> int:
    """Count nothing."""
    return 0


def unknown(_inputs: Values, _outputs: Values) -> int:
    """Refuse to count."""
    raise UnknownError


def is_of_sizes(value: torch._C.Value) -> bool:
    """Whether a value comes from sizes of tensors alone.

    A trace has x.shape[1] / 2 as an operator on a tensor without dimensions, where it is Python's
    arithmetic otherwise.
    """
    sources = [value]
    found = False
    while sources:
        source = sources.pop()
        kind = source.node().kind()
        if kind == "prim::NumToTensor":
            found = True
        elif kind == "prim::Constant":
            pass
        elif not get_shape(source) and kind != "prim::Param":
            sources += source.node().inputs()
        else:
            return False
    return found


def _elements(value: torch._C.Value) -> int:
    return prod(_shape(value))


def _shape(value: torch._C.Value) -> list[int]:
    shape: list[int] | None = get_shape(value)
    if shape is None:
        raise UnknownError
    return shape


def _given(value: torch._C.Value) -> bool:
    return value.type().kind() != "NoneType"


def _constant(value: torch._C.Value) -> Any:
    """Return a constant's value; None for whatever is no constant."""
    return value.toIValue()


def _integers(value: torch._C.Value) -> list[int]:
    """Return a list's constants, or one constant; none of what is not given."""
    if not _given(value):
        return []
    constant = _constant(value)
    found = [*map(_constant, value.node().inputs())] if constant is None else [constant]
    if None in found:
        raise UnknownError
    return found


def _is_complex(value: torch._C.Value) -> bool:
    return "Complex" in (value.type().scalarType() or "")


def _is_not_one(value: torch._C.Value) -> bool:
    return bool(_constant(value) != 1)


def _convolution(inputs: Values, outputs: Values) -> int:
    transposed = _constant(inputs[6])
    return _elements(inputs[0] if transposed else outputs[0]) * prod(_shape(inputs[1])[1:])


def _each_output_by_a_window(inputs: Values, outputs: Values) -> int:
    return _elements(outputs[0]) * prod(_shape(inputs[1])[1:])


def _product(inputs: Values, outputs: Values) -> int:
    return _elements(outputs[0]) * _shape(inputs[0])[-1]


def _product_added_to(inputs: Values, outputs: Values) -> int:
    return _product(inputs[1:], outputs)


def _einsum(inputs: Values) -> Einsum:
    path = [_constant(position) for position in inputs[2].node().inputs()]
    return einsum_arithmetic(
        _constant(inputs[0]), list(map(_shape, inputs[1].node().inputs())), path
    )


def _scores(inputs: Values) -> int:
    """Count the pairs of a query and a key, in all heads, hidden by a mask or not."""
    query, key = _shape(inputs[0]), _shape(inputs[1])
    return prod(query[:-1]) * key[-2]


def _attention(inputs: Values, outputs: Values) -> int:
    return _scores(inputs) * (_shape(inputs[0])[-1] + _shape(outputs[0])[-1])


_ATTENTIONS = [
    f"aten::{name}"
    for name in (
        "scaled_dot_product_attention",
        "_scaled_dot_product_attention_math",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
    )
]

# Operators of multiply-accumulates, which are two FLOPs each; a bias starts the accumulator.
# What some do besides is among the others.
MULTIPLY_ACCUMULATES: dict[str, Count] = {
    "aten::_convolution": _convolution,
    "aten::_convolution_mode": _each_output_by_a_window,
    "aten::linear": _product,
    "aten::matmul": _product,
    "aten::mm": _product,
    "aten::bmm": _product,
    "aten::mv": _product,
    "aten::dot": _product,
    "aten::addmm": _product_added_to,
    "aten::addmv": _product_added_to,
    "aten::baddbmm": _product_added_to,
    "aten::affine_grid_generator": _product,
    "aten::einsum": lambda inputs, _outputs: _einsum(inputs).multiply_accumulates,
    **dict.fromkeys(_ATTENTIONS, _attention),
    "torchvision::deform_conv2d": _each_output_by_a_window,
}


def _per_output(flops: int) -> Count:
    return lambda _inputs, outputs: flops * _elements(outputs[0])


def _reduction(inputs: Values, outputs: Values) -> int:
    return _elements(inputs[0]) - _elements(outputs[0])


def _mean(inputs: Values, _outputs: Values) -> int:
    """Count n − 1 additions and one division for each output."""
    return _elements(inputs[0])


def _vector_norm(inputs: Values, outputs: Values) -> int:
    """Count n absolutes or squares, n − 1 additions or compares, and the root of each output."""
    order = _constant(inputs[1])
    if order in (0, 1, inf, -inf):  # 0 counts what is not 0
        return 2 * _elements(inputs[0]) - _elements(outputs[0])
    if order == 2:
        return 2 * _elements(inputs[0])
    if order is None:
        raise UnknownError
    return 3 * _elements(inputs[0])  # an absolute and its power


def _norm(inputs: Values, _outputs: Values) -> int:
    if _given(inputs[1]):  # some are of matrices
        raise UnknownError
    return 2 * _elements(inputs[0])


def _variance(inputs: Values, _outputs: Values) -> int:
    """Count a mean, a subtraction and a square for each element, and a mean of those."""
    return 4 * _elements(inputs[0])


def _deviation(inputs: Values, outputs: Values) -> int:
    return _variance(inputs, outputs) + _elements(outputs[0])


def _weighing(inputs: Values, _outputs: Values) -> int:
    """Count scale and softmax of each score, and the addition of a mask that is no choice."""
    masks = [value for value in inputs[3:] if value.isCompleteTensor()]
    added = any(mask.type().scalarType() != "Bool" for mask in masks)
    return (6 + added) * _scores(inputs)


def _sampling(inputs: Values, outputs: Values) -> int:
    """Count a weighted sum of neighbours, whose weights are shared by all channels."""
    a_side: int = {0: 2, 1: 1, 2: 4}[_constant(inputs[2])]
    neighbours = prod([a_side] * (len(_shape(inputs[0])) - 2))
    return (2 * neighbours - 1) * _elements(outputs[0])


def _sampled_windows(inputs: Values, outputs: Values) -> int:
    """Count four neighbours of each value that a deformed window has, and its modulation."""
    n, _, *positions = _shape(outputs[0])
    channels = _shape(inputs[0])[1]
    sampled = n * channels * prod(_shape(inputs[1])[2:]) * prod(positions)
    return (7 + bool(_constant(inputs[13]))) * sampled


def _aligned_pool(inputs: Values, outputs: Values) -> int:
    """Count four neighbours of each sample, and the mean of a bin's."""
    a_side: int = _constant(inputs[5])
    if a_side <= 0:  # as many as the box is large
        raise UnknownError
    return 8 * a_side * a_side * _elements(outputs[0])


def _fourier(flops: float, real: bool = False) -> Count:
    """Count so many FLOPs times log₂ n for each of n points: 5 of complex ones, as FFTW states."""

    def count(inputs: Values, outputs: Values) -> int:
        shape = list(_shape(inputs[0] if real else outputs[0]))
        lengths = _integers(inputs[1])
        dimensions = _integers(inputs[2]) or range(-len(lengths or shape), 0)
        for dimension, length in zip(dimensions, lengths, strict=False):
            shape[dimension] = length
        points = prod(shape[dimension] for dimension in dimensions)
        return round(flops * prod(shape) * log2(points))

    return count


def _multiply(_inputs: Values, outputs: Values) -> int:
    # Of complex numbers: four products and two sums.
    return (6 if _is_complex(outputs[0]) else 1) * _elements(outputs[0])


def _extremum(inputs: Values, outputs: Values) -> int:
    """Tell max(x, y) from max(x) and max(x, dim, keepdim), which share a name."""
    return _elements(outputs[0]) if len(inputs) == 2 else _reduction(inputs, outputs)


def _with_factor(flops: int, position: int) -> Count:
    """One FLOP more for each output where the factor at `position` is not 1."""

    def count(inputs: Values, outputs: Values) -> int:
        return (flops + _is_not_one(inputs[position])) * _elements(outputs[0])

    return count


def _divide(inputs: Values, outputs: Values) -> int:
    rounds = len(inputs) == 3 and _given(inputs[2])
    return (1 + rounds) * _elements(outputs[0])


def _clamp(inputs: Values, outputs: Values) -> int:
    return sum(map(_given, inputs[1:3])) * _elements(outputs[0])


def _elu(inputs: Values, outputs: Values) -> int:
    """Compare, exponential, subtract, ·α, and each scale that is not 1."""
    return (4 + sum(map(_is_not_one, inputs[2:4]))) * _elements(outputs[0])


def _softplus(inputs: Values, outputs: Values) -> int:
    """Count an elementary function, and of a β that is not 1 the product and the division."""
    return (1 + 2 * _is_not_one(inputs[1])) * _elements(outputs[0])


def _gelu(inputs: Values, outputs: Values) -> int:
    # tanh: ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x·x·x))); erf: ½·x·(1 + erf(x/√2)).
    return (9 if _constant(inputs[1]) == "tanh" else 5) * _elements(outputs[0])


def _dropout(inputs: Values, _outputs: Values) -> int:
    # In training it takes random numbers, which are no arithmetic with a formula.
    if _constant(inputs[2]):
        raise UnknownError
    return 0


def _window(inputs: Values) -> int:
    kernel = [_constant(size) for size in inputs[1].node().inputs()]
    dimensions = len(_shape(inputs[0])) - 2
    if not kernel or None in kernel:
        raise UnknownError
    return prod(kernel * dimensions if len(kernel) == 1 else kernel)


def _average_pool(inputs: Values, outputs: Values) -> int:
    return _window(inputs) * _elements(outputs[0])


def _largest_pool(inputs: Values, outputs: Values) -> int:
    return (_window(inputs) - 1) * _elements(outputs[0])


def _adaptive_average_pool(inputs: Values, outputs: Values) -> int:
    """Count the elements of all windows: output i of m spans inputs ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉."""
    x, y = _shape(inputs[0]), _shape(outputs[0])
    spans = [
        sum(-(-(i + 1) * n // m) - i * n // m for i in range(m))
        for n, m in zip(x[2:], y[2:], strict=True)
    ]
    return prod(x[:2]) * prod(spans)


def _adaptive_largest_pool(inputs: Values, outputs: Values) -> int:
    return _adaptive_average_pool(inputs, outputs) - _elements(outputs[0])


def _normalisation(x: torch._C.Value, statistics: int, affine: Values) -> int:
    """Count mean, subtract, square, mean and multiply for each element, then the affine part.

    For each pair of statistics, adding ε and the inverse square root.
    """
    return (5 + sum(map(_given, affine))) * _elements(x) + 2 * statistics


def _batch_norm(inputs: Values, _outputs: Values) -> int:
    if _constant(inputs[5]):
        return _normalisation(inputs[0], _shape(inputs[0])[1], inputs[1:3])
    # With fixed statistics it is one scale and one shift for each channel, affine or not.
    return 2 * _elements(inputs[0])


def _instance_norm(inputs: Values, outputs: Values) -> int:
    if _constant(inputs[5]):
        return _normalisation(inputs[0], prod(_shape(inputs[0])[:2]), inputs[1:3])
    return _batch_norm(inputs, outputs)


def _group_norm(inputs: Values, _outputs: Values) -> int:
    groups = _constant(inputs[1])
    if groups is None:
        raise UnknownError
    return _normalisation(inputs[0], _shape(inputs[0])[0] * groups, inputs[2:4])


def _rows(inputs: Values) -> int:
    """Count the rows that layer_norm and rms_norm normalise, each over the last dimensions."""
    dimensions = len(list(inputs[1].node().inputs()))
    return prod(_shape(inputs[0])[:-dimensions])


def _layer_norm(inputs: Values, _outputs: Values) -> int:
    return _normalisation(inputs[0], _rows(inputs), inputs[2:4])


def _rms_norm(inputs: Values, _outputs: Values) -> int:
    """Count square, mean and multiply for each element; + ε and inverse square root a row."""
    return (3 + _given(inputs[2])) * _elements(inputs[0]) + 2 * _rows(inputs)


_ELEMENTARY = """
    abs acos acosh asin asinh atan atan2 atanh ceil cos cosh erf erfc erfinv exp exp2 expm1 floor
    log log10 log1p log2 neg pow reciprocal round rsqrt sigmoid sign sin sinh sqrt square
    tan tanh trunc
    eq ge gt le lt ne maximum minimum fmax fmin clamp_max clamp_min relu threshold outer ger
"""

_BY_FORMULA = {
    "addcdiv": _with_factor(2, 3),
    "addcmul": _with_factor(2, 3),
    "celu": _per_output(5),  # compare, divide by α, exponential, subtract, multiply by α
    "elu": _elu,
    "floor_divide": _per_output(2),
    "fmod": _per_output(4),  # x − y·trunc(x/y)
    "frac": _per_output(2),
    "glu": _per_output(2),
    "hardshrink": _per_output(2),  # two compares
    "hardsigmoid": _per_output(4),  # min(max(x + 3, 0), 6)/6
    "hardswish": _per_output(5),
    "hardtanh": _per_output(2),
    "leaky_relu": _per_output(2),  # compare, multiply
    "lerp": _per_output(3),
    "log_sigmoid": _per_output(2),
    "logit": _per_output(3),
    "mul": _multiply,
    "mish": _per_output(3),  # softplus, tanh, multiply
    "prelu": _per_output(2),
    "relu6": _per_output(2),
    "remainder": _per_output(4),  # x − y·floor(x/y)
    "rrelu": _per_output(2),
    "selu": _per_output(5),  # compare, exponential, subtract, multiply by α and by the scale
    "silu": _per_output(2),
    "softplus": _softplus,
    "softshrink": _per_output(3),  # two compares, add
    "xlogy": _per_output(2),
    "add": _with_factor(1, 2),
    "sub": _with_factor(1, 2),
    "rsub": _with_factor(1, 2),
    "div": _divide,
    "clamp": _clamp,
    "gelu": _gelu,
    "softmax": _per_output(5),  # max, subtract, exponential, sum, divide
    "log_softmax": _per_output(5),  # as log(softmax), but for a subtraction in place of a division
}

_POINTWISE: dict[str, Count] = {**dict.fromkeys(_ELEMENTARY.split(), _per_output(1)), **_BY_FORMULA}

# FLOPs of every other operator. One for each add, subtract, multiply, divide, compare or max of an
# element, and one for each elementary function; others by the formula of what they compute. A
# constant is computed once, and choosing between two values is free.
OTHER_FLOPS: dict[str, Count] = {
    **{f"aten::{name}": count for name, count in _POINTWISE.items()},
    **{f"aten::{name}_": count for name, count in _POINTWISE.items()},
    **dict.fromkeys(("aten::max", "aten::min"), _extremum),
    **dict.fromkeys(
        ("aten::amax", "aten::amin", "aten::argmax", "aten::argmin", "aten::sum", "aten::prod"),
        _reduction,
    ),
    "aten::mean": _mean,
    "aten::linalg_norm": _norm,
    "aten::linalg_vector_norm": _vector_norm,
    **dict.fromkeys(("aten::var", "aten::var_mean"), _variance),
    **dict.fromkeys(("aten::std", "aten::std_mean"), _deviation),
    "aten::einsum": lambda inputs, _outputs: _einsum(inputs).other_flops,
    **dict.fromkeys(_ATTENTIONS, _weighing),
    **{f"aten::fft_{i}fft{d}": _fourier(5) for i in ("", "i") for d in ("", "2", "n")},
    **{f"aten::fft_rfft{d}": _fourier(2.5, real=True) for d in ("", "2", "n")},
    **{f"aten::fft_irfft{d}": _fourier(2.5) for d in ("", "2", "n")},
    "aten::col2im": lambda inputs, _outputs: _elements(inputs[0]),
    "aten::batch_norm": _batch_norm,
    "aten::instance_norm": _instance_norm,
    "aten::group_norm": _group_norm,
    "aten::layer_norm": _layer_norm,
    "aten::rms_norm": _rms_norm,
    **dict.fromkeys(("aten::avg_pool1d", "aten::avg_pool2d", "aten::avg_pool3d"), _average_pool),
    **dict.fromkeys(
        (f"aten::max_pool{d}d{end}" for d in (1, 2, 3) for end in ("", "_with_indices")),
        _largest_pool,
    ),
    **{f"aten::adaptive_avg_pool{d}d": _adaptive_average_pool for d in (1, 2, 3)},
    **{f"aten::adaptive_max_pool{d}d": _adaptive_largest_pool for d in (1, 2, 3)},
    # A weighted sum of n neighbours, n multiplications and n − 1 additions; the weights depend
    # on the row and the column only, and are not counted. Nor are those of what follows.
    "aten::upsample_linear1d": _per_output(3),
    "aten::upsample_bilinear2d": _per_output(7),
    "aten::upsample_trilinear3d": _per_output(15),
    "aten::upsample_bicubic2d": _per_output(31),
    "aten::grid_sampler": _sampling,
    "torchvision::deform_conv2d": _sampled_windows,
    "torchvision::roi_align": _aligned_pool,
    **{
        f"aten::{name}": _dropout
        for drop in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
        for name in (drop, f"{drop}_")
    },
}

_FREE = """
    Bool Float FloatImplicit Int IntImplicit ScalarImplicit
    _shape_as_tensor dim is_floating_point item numel scalar_tensor size
    arange empty empty_like eye fill_ full full_like lift_fresh linspace new_empty new_full
    new_ones new_zeros ones ones_like zero_ zeros zeros_like
    alias as_strided broadcast_tensors broadcast_to channel_shuffle chunk diagonal expand
    expand_as flatten mT meshgrid moveaxis movedim narrow numpy_T permute reshape reshape_as
    select slice split split_with_sizes squeeze squeeze_ swapaxes t tensor_split transpose unbind
    unflatten unfold unsqueeze unsqueeze_ view view_as view_as_complex view_as_real
    cat clone concat contiguous copy_ detach detach_ flip im2col pixel_shuffle pixel_unshuffle
    repeat repeat_interleave roll stack tile to tril triu type_as
    constant_pad_nd pad reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d
    argsort gather index index_fill_ index_put_ index_select masked_fill masked_fill_ nonzero
    scatter scatter_ sort topk where
    upsample_nearest1d upsample_nearest2d upsample_nearest3d
    __and__ __or__ __xor__ bitwise_and bitwise_not bitwise_or logical_and logical_not logical_or
"""

# Operators that read sizes, create, reshape, move, sort or choose elements, or combine booleans.
FREE = frozenset(f"aten::{name}" for name in _FREE.split())
