"""Closed forms of what autograd keeps of a forward pass, in bytes, for float32 and defaults.

Written from the formulas of the derivatives alone: a product keeps each factor whose partner
needs a gradient, a maximum of two tensors keeps both, a maximum along a dimension keeps int64
indices, relu, sigmoid, tanh, exp, expm1, square root, reciprocal and softmax keep their result,
hardsigmoid, the absolute value, softplus, erf and a power their input, a norm both, a quotient both
its terms, a choice its condition of one byte, batch normalisation keeps its input and two
statistics a channel, a linear layer and a convolution keep their input. Sums, means and products
with a number keep nothing; parameters and buffers are there anyway.
"""

from collections.abc import Callable

FLOAT, INDEX, BOOL = 4, 8, 1

# Of n, c, h, w to the bytes of input, output and rest.
Form = Callable[[int, int, int, int], tuple[int, int, int]]


def keeps_input(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    return FLOAT * n * c * h * w, 0, 0


def keeps_output(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    return 0, FLOAT * n * c * h * w, 0


def identity(_n: int, _c: int, _h: int, _w: int) -> tuple[int, int, int]:
    return 0, 0, 0


def frelu(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    convolved, condition, statistics = x, x, FLOAT * 2 * c
    return x, 0, convolved + condition + statistics


def frelu_light(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    convolved, condition, statistics = 2 * x, x, FLOAT * 4 * c
    return x, 0, convolved + condition + statistics


def dwconv_bn_relu(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    convolved, statistics = x, FLOAT * 2 * c
    return x, x, convolved + statistics


def funnel_maxpool(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    pooled, indices = x, INDEX * n * c * h * w
    return x, 0, pooled + indices


def funnel_avgpool(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    pooled = x
    return x, 0, pooled


def squeezed(n: int, c: int, hidden: int) -> int:
    """Two linear layers after global average pooling."""
    return FLOAT * (n * c + n * hidden)


def se(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    gate = FLOAT * n * c
    return FLOAT * n * c * h * w, 0, squeezed(n, c, max(1, c // 16)) + gate


def acon_c(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    d, sigmoid, p1_minus_p2 = x, x, FLOAT * c
    return x, 0, d + sigmoid + p1_minus_p2


def meta_acon_c(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x, _, acon = acon_c(n, c, h, w)
    beta = FLOAT * n * c
    return x, 0, acon + squeezed(n, c, max(16, c // 16)) + beta


def dyrelu(n: int, c: int, h: int, w: int, groups: int) -> tuple[int, int, int]:
    coefficients = FLOAT * n * groups * 2 * 2
    sigmoid, lines = coefficients, coefficients
    indices = INDEX * n * c * h * w
    return FLOAT * n * c * h * w, 0, squeezed(n, c, max(1, c // 8)) + sigmoid + lines + indices


def dyrelu_c(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x, _, rest = dyrelu(n, c, h, w, groups=c)
    largest = x
    softmax = unclamped = pi = FLOAT * n * h * w
    return x, 0, rest + largest + softmax + unclamped + pi


def maxout(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    return FLOAT * n * c * h * w, 0, INDEX * n * c * h * w


def dyrelu_dyhead(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    coefficients = FLOAT * n * c * 2 * 2
    hard_sigmoid, lines, both = coefficients, coefficients, 2 * x
    return x, 0, squeezed(n, c, max(1, c // 4)) + hard_sigmoid + lines + both


def eca(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    pooled = gate = FLOAT * n * c
    return FLOAT * n * c * h * w, 0, pooled + gate


def grn(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x, norm = FLOAT * n * c * h * w, FLOAT * n * c
    divisor, response, scaled = FLOAT * n, norm, x
    return x, 0, norm + divisor + response + scaled


def group_rational(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    # Horner's rule multiplies four sums above and three below by x; the last is below's all.
    above, below, absolute, quotient = 4 * x, 3 * x, x, 2 * x
    return x, 0, above + below + absolute + quotient


def dy_shift_max(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    coefficients = FLOAT * n * c * 4
    # Two slopes, with 1 added, and the tensor that has the other two.
    hard_sigmoid, slopes, others = coefficients, coefficients // 2, coefficients
    shifted, mixtures = x, 2 * x
    rest = squeezed(n, c, max(4, c // 8)) + hard_sigmoid + slopes + others + shifted + mixtures
    return x, 0, rest


def series_act(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    rectified, convolved, statistics = x, x, FLOAT * 2 * c
    return 0, 0, rectified + convolved + statistics


def meta_acon_c_bn(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x, _, plain = meta_acon_c(n, c, h, w)
    channels = max(16, c // 16) + c
    normalised, statistics = FLOAT * n * channels, FLOAT * 2 * channels
    return x, 0, plain + normalised + statistics


def quick_gelu(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    sigmoid = x
    return x, 0, sigmoid


def squared_relu(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    rectified = FLOAT * n * c * h * w
    return 0, 0, rectified


def star_relu(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    rectified = square = FLOAT * n * c * h * w
    return 0, 0, rectified + square


def apa(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    before_softplus = softplus = x
    # λ that is at least 10⁻⁴, its reciprocal, and that times 1.
    shape = 3 * FLOAT
    return x, x, before_softplus + softplus + shape


def aglu(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x, gate, rest = apa(n, c, h, w)
    return x, 0, gate + rest


def xielu(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    elements = n * c * h * w
    line = exponential = FLOAT * elements
    condition, coefficients = BOOL * elements, 2 * FLOAT
    return FLOAT * elements, 0, line + exponential + condition + coefficients


def dyt(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    tanh = x
    return x, 0, tanh


def derf(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    x = FLOAT * n * c * h * w
    before_erf = erf = x
    return x, 0, before_erf + erf


def layer_norm(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    # x − mean is computed twice, and each is kept.
    for_variance = for_output = normalised = FLOAT * n * c * h * w
    deviation = FLOAT * n * h * w
    return 0, 0, for_variance + for_output + normalised + deviation


def gate(n: int, c: int, h: int, w: int) -> tuple[int, int, int]:
    """Both halves of the input, and the first one's curve."""
    half = FLOAT * n * c * h * w
    return 2 * half, 0, half


SAVED_FORMS: dict[str, Form] = {
    **dict.fromkeys(("relu", "sigmoid"), keeps_output),
    **dict.fromkeys(
        ("leaky_relu", "prelu", "relu6", "silu", "gelu", "mish", "hardswish"), keeps_input
    ),
    **dict.fromkeys(("gelu_tanh", "elu", "softplus"), keeps_input),
    "quick_gelu": quick_gelu,
    "squared_relu": squared_relu,
    "star_relu": star_relu,
    "apa": apa,
    "aglu": aglu,
    "xielu": xielu,
    "dyt": dyt,
    "derf": derf,
    "layer_norm": layer_norm,
    "identity": identity,
    "frelu": frelu,
    "frelu_light": frelu_light,
    "dwconv_bn_relu": dwconv_bn_relu,
    "funnel_maxpool": funnel_maxpool,
    "funnel_avgpool": funnel_avgpool,
    "se": se,
    "acon_c": acon_c,
    "meta_acon_c": meta_acon_c,
    "dyrelu_a": lambda n, c, h, w: dyrelu(n, c, h, w, groups=1),
    "dyrelu_b": lambda n, c, h, w: dyrelu(n, c, h, w, groups=c),
    "dyrelu_c": dyrelu_c,
    "maxout": maxout,
    "dyrelu_dyhead": dyrelu_dyhead,
    "eca": eca,
    "grn": grn,
    "group_rational": group_rational,
    "dy_shift_max": dy_shift_max,
    "series_act": series_act,
    "meta_acon_c_bn": meta_acon_c_bn,
    **dict.fromkeys(("swiglu", "geglu"), gate),
    # The output, which is where the input was.
    "relu_inplace": keeps_input,
}
