"""What each activation's formula asks of arithmetic and parameters, by hand.

From the published formulas for an input (n, c, h, w) and default options: R = 8 for DY-ReLU and
DY-Shift-Max, 4 for DyHead's, 16 for SE and Meta-ACON, K = 2. FLOPs are those of one forward pass in
eval mode.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

K = 2


class Costs(NamedTuple):
    flops: int
    weights: int = 0
    normalisation: int = 0
    buffers: int = 0


def per_element(flops: int) -> Callable[[int, int, int, int], Costs]:
    return lambda n, c, h, w: Costs(flops * n * c * h * w)


def batch_norm_buffers(c: int) -> int:
    """Mean and variance a channel, and the number of batches."""
    return 2 * c + 1


def prelu(n: int, c: int, h: int, w: int) -> Costs:
    compare = slope = n * c * h * w
    return Costs(compare + slope, weights=c)


def frelu(n: int, c: int, h: int, w: int) -> Costs:
    elements = n * c * h * w
    conv, bn, largest = 2 * 9 * elements, 2 * elements, elements
    return Costs(
        conv + bn + largest,
        weights=9 * c + c,
        normalisation=2 * c,
        buffers=batch_norm_buffers(c),
    )


def frelu_light(n: int, c: int, h: int, w: int) -> Costs:
    elements = n * c * h * w
    convs, bns, add, largest = 2 * (2 * 3 * elements), 2 * (2 * elements), elements, elements
    return Costs(
        convs + bns + add + largest,
        weights=6 * c,
        normalisation=4 * c,
        buffers=2 * batch_norm_buffers(c),
    )


def dwconv_bn_relu(n: int, c: int, h: int, w: int) -> Costs:
    elements = n * c * h * w
    return Costs(
        (18 + 2 + 1) * elements,
        weights=9 * c,
        normalisation=2 * c,
        buffers=batch_norm_buffers(c),
    )


def dyrelu(n: int, c: int, h: int, w: int, groups: int) -> Costs:
    """Lines for each of `groups` channels: 1 for A, c for B."""
    elements, hidden, outputs = n * c * h * w, max(1, c // 8), 2 * K * groups
    pooling = elements
    fc1, relu, fc2 = 2 * n * c * hidden, n * hidden, 2 * n * hidden * outputs
    # σ, 2·, −1, λ· and α +.
    coefficients = 5 * n * outputs
    lines = 2 * K * elements
    largest = (K - 1) * elements
    return Costs(
        pooling + fc1 + relu + fc2 + coefficients + lines + largest,
        weights=c * hidden + hidden + hidden * outputs + outputs,
        # α and β, λa and λb.
        buffers=2 * K + 2 * K,
    )


def dyrelu_a(n: int, c: int, h: int, w: int) -> Costs:
    return dyrelu(n, c, h, w, groups=1)


def dyrelu_b(n: int, c: int, h: int, w: int) -> Costs:
    return dyrelu(n, c, h, w, groups=c)


def dyrelu_c(n: int, c: int, h: int, w: int) -> Costs:
    b, positions = dyrelu_b(n, c, h, w), n * h * w
    conv, temperature, softmax = 2 * c * positions, positions, 5 * positions
    # γ·H·W is one number, known beforehand.
    scale, clip = positions, positions
    weighing = c * positions
    return Costs(
        b.flops + conv + temperature + softmax + scale + clip + weighing,
        weights=b.weights + c + 1,
        buffers=b.buffers,
    )


def se(n: int, c: int, h: int, w: int) -> Costs:
    elements, hidden = n * c * h * w, max(1, c // 16)
    pooling, gating = elements, elements
    fcs = 2 * n * c * hidden + n * hidden + 2 * n * hidden * c + n * c
    return Costs(pooling + fcs + gating, weights=2 * c * hidden + hidden + c)


def maxout(n: int, c: int, h: int, w: int) -> Costs:
    pieces = n * K * c * h * w
    return Costs(2 * c * pieces + pieces - pieces // K, weights=K * c * c + K * c)


def acon(elements: int, channels: int) -> int:
    """d = (p1 − p2)·x and d·σ(β·d) + p2·x."""
    difference, d, inner, sigmoid, outer, line, add = channels, *(elements,) * 6
    return difference + d + inner + sigmoid + outer + line + add


def acon_c(n: int, c: int, h: int, w: int) -> Costs:
    return Costs(acon(n * c * h * w, c), weights=3 * c)


def meta_acon_c(n: int, c: int, h: int, w: int) -> Costs:
    elements, hidden = n * c * h * w, max(16, c // 16)
    pooling, fcs, sigmoid = elements, 2 * (2 * n * c * hidden), n * c
    return Costs(
        pooling + fcs + sigmoid + acon(elements, c),
        weights=2 * c + 2 * c * hidden + hidden + c,
    )


def dyrelu_dyhead(n: int, c: int, h: int, w: int) -> Costs:
    elements, hidden, outputs = n * c * h * w, max(1, c // 4), 2 * K * c
    pooling = elements
    fc1, relu, fc2 = 2 * n * c * hidden, n * hidden, 2 * n * hidden * outputs
    # The hard sigmoid's +, max, min and ÷; then 2·, −1, λ· and α +.
    coefficients = (4 + 4) * n * outputs
    lines = 2 * K * elements
    largest = (K - 1) * elements
    return Costs(
        pooling + fc1 + relu + fc2 + coefficients + lines + largest,
        weights=c * hidden + hidden + hidden * outputs + outputs,
        buffers=2 * K + 2 * K,
    )


def eca_kernel(c: int) -> int:
    whole = int((math.log2(c) + 1) / 2)
    return whole if whole % 2 else whole + 1


def eca(n: int, c: int, h: int, w: int) -> Costs:
    elements, kernel = n * c * h * w, eca_kernel(c)
    pooling, conv, sigmoid, gating = elements, 2 * kernel * n * c, n * c, elements
    return Costs(pooling + conv + sigmoid + gating, weights=kernel)


def grn(n: int, c: int, h: int, w: int) -> Costs:
    elements, norms = n * c * h * w, n * c
    squares, sums, roots = elements, elements - norms, norms
    mean, epsilon, divide = norms, n, norms
    # x·n, ·γ, + β, + x.
    return Costs(squares + sums + roots + mean + epsilon + divide + 4 * elements, weights=2 * c)


def group_rational(n: int, c: int, h: int, w: int) -> Costs:
    elements = n * c * h * w
    above, below = 2 * 5 * elements, (2 * 3 + 1) * elements
    absolute, plus_one, divide = elements, elements, elements
    return Costs(above + below + absolute + plus_one + divide, weights=6 + 4 * math.gcd(c, 8))


def dy_shift_max(n: int, c: int, h: int, w: int) -> Costs:
    elements, hidden, outputs = n * c * h * w, max(4, c // 8), 4 * c
    pooling = elements
    fc1, relu, fc2 = 2 * n * c * hidden, n * hidden, 2 * n * hidden * outputs
    # The hard sigmoid's four, − ½, 4·; a first value for each of two slopes.
    coefficients = (4 + 2) * n * outputs + 2 * n * c
    mixtures, larger = 2 * 3 * elements, elements
    return Costs(
        pooling + fc1 + relu + fc2 + coefficients + mixtures + larger,
        weights=c * hidden + hidden + hidden * outputs + outputs,
        # Where each channel finds the other.
        buffers=c,
    )


def series_act(n: int, c: int, h: int, w: int) -> Costs:
    elements = n * c * h * w
    return Costs(
        (1 + 2 * 7 * 7 + 2) * elements,
        weights=7 * 7 * c,
        normalisation=2 * c,
        buffers=batch_norm_buffers(c),
    )


def meta_acon_c_bn(n: int, c: int, h: int, w: int) -> Costs:
    plain, hidden = meta_acon_c(n, c, h, w), max(16, c // 16)
    return Costs(
        plain.flops + 2 * n * hidden + 2 * n * c,
        weights=plain.weights,
        normalisation=2 * hidden + 2 * c,
        buffers=batch_norm_buffers(hidden) + batch_norm_buffers(c),
    )


def star_relu(n: int, c: int, h: int, w: int) -> Costs:
    rectify = square = scale = shift = n * c * h * w
    return Costs(rectify + square + scale + shift, weights=2)


def apa(n: int, c: int, h: int, w: int) -> Costs:
    """exp(softplus(κ·x − log λ)/λ), with a softplus of β = −1."""
    # Of λ; 1/λ is a reciprocal and a product with 1.
    least, logarithm, inverse = 1, 1, 2
    slope = shift = sharpen = exponential = n * c * h * w
    softplus = 3 * n * c * h * w
    return Costs(
        least + logarithm + inverse + slope + shift + softplus + sharpen + exponential, weights=2
    )


def aglu(n: int, c: int, h: int, w: int) -> Costs:
    gate, product = apa(n, c, h, w), n * c * h * w
    return Costs(gate.flops + product, weights=2)


def xielu(n: int, c: int, h: int, w: int) -> Costs:
    elements = n * c * h * w
    # softplus(α_p), and β + softplus(α_n).
    coefficients = 1 + 2
    # a_p·x·x + β·x, and a_n·expm1(min(x, ε)) − a_n·x + β·x.
    above, below, compare = 4, 7, 1
    return Costs(
        coefficients + (above + below + compare) * elements,
        weights=2,
        # ε.
        buffers=1,
    )


def dyt(n: int, c: int, h: int, w: int) -> Costs:
    slope = tanh = scale = shift = n * c * h * w
    return Costs(slope + tanh + scale + shift, weights=1 + 2 * c)


def derf(n: int, c: int, h: int, w: int) -> Costs:
    slope = inner_shift = erf = scale = shift = n * c * h * w
    return Costs(slope + inner_shift + erf + scale + shift, weights=2 + 2 * c)


def layer_norm(n: int, c: int, h: int, w: int) -> Costs:
    elements, positions = n * c * h * w, n * h * w
    mean = square = mean_of_squares = divide = scale = shift = elements
    # Once for the variance and once more for the output.
    subtract = 2 * elements
    deviation = 2 * positions
    return Costs(
        mean + subtract + square + mean_of_squares + deviation + divide + scale + shift,
        normalisation=2 * c,
    )


CLOSED_FORMS: dict[str, Callable[[int, int, int, int], Costs]] = {
    "relu": per_element(1),
    "leaky_relu": per_element(2),
    "prelu": prelu,
    "relu6": per_element(2),
    "sigmoid": per_element(1),
    "silu": per_element(2),
    "gelu": per_element(5),
    "gelu_tanh": per_element(9),
    # The factor, σ and the product.
    "quick_gelu": per_element(3),
    "mish": per_element(3),
    "hardswish": per_element(5),
    # Compare, exponential, subtract, ·α.
    "elu": per_element(4),
    "softplus": per_element(1),
    "squared_relu": per_element(2),
    "star_relu": star_relu,
    "apa": apa,
    "aglu": aglu,
    "xielu": xielu,
    "dyt": dyt,
    "derf": derf,
    "frelu": frelu,
    "frelu_light": frelu_light,
    "dyrelu_a": dyrelu_a,
    "dyrelu_b": dyrelu_b,
    "dyrelu_c": dyrelu_c,
    "se": se,
    "maxout": maxout,
    "acon_c": acon_c,
    "meta_acon_c": meta_acon_c,
    "identity": per_element(0),
    "dwconv_bn_relu": dwconv_bn_relu,
    # A window of 9 has 8 comparisons, and one more with x itself.
    "funnel_maxpool": per_element(8 + 1),
    # 8 additions and a division, and the comparison.
    "funnel_avgpool": per_element(9 + 1),
    "dyrelu_dyhead": dyrelu_dyhead,
    "eca": eca,
    "grn": grn,
    "group_rational": group_rational,
    "dy_shift_max": dy_shift_max,
    "series_act": series_act,
    "meta_acon_c_bn": meta_acon_c_bn,
    "layer_norm": layer_norm,
    # Of the output's elements: the gate, and its product with the other half.
    "swiglu": per_element(2 + 1),
    "geglu": per_element(5 + 1),
    "relu_inplace": per_element(1),
}
