"""What each activation should return, in float64 and plain loops, from the published formulas.

Nothing here calls torch or dynact. An oracle takes the input, the layer's parameters and
buffers by their names in the state_dict, and the layer's options.
"""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
State = dict[str, Array]

EPSILON = 1e-5  # torch's default for BN


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def hard_sigmoid(v: float) -> float:
    return min(max(v + 3, 0), 6) / 6


def gelu_tanh(v: float) -> float:
    return v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) / 2


def elementwise(formula: Callable[[float], float]) -> Callable[..., Array]:
    def oracle(x: Array, _state: State) -> Array:
        return np.array([formula(float(v)) for v in x.ravel()]).reshape(x.shape)

    return oracle


def prelu(x: Array, state: State) -> Array:
    y = np.empty_like(x)
    slopes = np.broadcast_to(state["weight"], x.shape[1])
    for index in np.ndindex(x.shape):
        y[index] = x[index] if x[index] > 0 else slopes[index[1]] * x[index]
    return y


def depthwise(x: Array, weight: Array, bias: Array | None) -> Array:
    """Cross-correlation of each channel with its own kernel, zeros outside."""
    height, width = weight.shape[2:]
    y = np.zeros_like(x)
    for n, c, h, w in np.ndindex(x.shape):
        total = 0.0 if bias is None else bias[c]
        for i, j in product(range(height), range(width)):
            row, column = h + i - height // 2, w + j - width // 2
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                total += weight[c, 0, i, j] * x[n, c, row, column]
        y[n, c, h, w] = total
    return y


def batch_norm(
    x: Array, state: State, name: str, training: bool = False, epsilon: float = EPSILON
) -> Array:
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        mean, variance = state[f"{name}.running_mean"][c], state[f"{name}.running_var"][c]
        if training:
            mean, variance = x[:, c].mean(), x[:, c].var()
        unit = (x[:, c] - mean) / math.sqrt(variance + epsilon)
        y[:, c] = unit * state[f"{name}.weight"][c] + state[f"{name}.bias"][c]
    return y


def frelu(x: Array, state: State, training: bool = False) -> Array:
    convolved = depthwise(x, state["conv.weight"], state.get("conv.bias"))
    t = batch_norm(convolved, state, "bn", training)
    return np.where(x > t, x, t)


def frelu_light(x: Array, state: State, training: bool = False) -> Array:
    t = sum(
        batch_norm(depthwise(x, state[f"conv_{size}.weight"], None), state, f"bn_{size}", training)
        for size in ("1x3", "3x1")
    )
    return np.where(x > t, x, t)


def dwconv_bn_relu(x: Array, state: State, training: bool = False) -> Array:
    y = batch_norm(depthwise(x, state["conv.weight"], None), state, "bn", training)
    return np.where(y > 0, y, 0)


def window(x: Array, n: int, c: int, h: int, w: int) -> list[float]:
    """Return the values of a 3×3 window that lie inside the map."""
    rows = [r for r in (h - 1, h, h + 1) if 0 <= r < x.shape[2]]
    columns = [k for k in (w - 1, w, w + 1) if 0 <= k < x.shape[3]]
    return [float(x[n, c, r, k]) for r in rows for k in columns]


def funnel_maxpool(x: Array, _state: State) -> Array:
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        y[index] = max(x[index], *window(x, *index))
    return y


def funnel_avgpool(x: Array, _state: State) -> Array:
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        y[index] = max(x[index], sum(window(x, *index)) / 9)
    return y


def fully_connected(v: Array, state: State, name: str) -> Array:
    return np.einsum("oi,i->o", state[f"{name}.weight"], v) + state[f"{name}.bias"]


def pooled(sample: Array) -> Array:
    return np.array([channel.mean() for channel in sample])


def dyrelu(
    x: Array,
    state: State,
    shared: bool,
    k: int = 2,
    lambda_a: float = 1.0,
    lambda_b: float = 0.5,
    gate: str = "sigmoid",
) -> Array:
    squash = sigmoid if gate == "sigmoid" else hard_sigmoid
    y = np.empty_like(x)
    for n, sample in enumerate(x):
        hidden = np.maximum(fully_connected(pooled(sample), state, "fc1"), 0)
        delta = [2 * squash(float(v)) - 1 for v in fully_connected(hidden, state, "fc2")]
        for c, channel in enumerate(sample):
            first = 0 if shared else c * 2 * k
            slopes = [lambda_a * d for d in delta[first : first + k]]
            slopes[0] += 1
            intercepts = [lambda_b * d for d in delta[first + k : first + 2 * k]]
            for place in np.ndindex(channel.shape):
                lines = zip(slopes, intercepts, strict=True)
                y[(n, c, *place)] = max(a * channel[place] + b for a, b in lines)
    return y


def dyrelu_c(
    x: Array, state: State, tau: float = 10.0, gamma: float = 1 / 3, **options: object
) -> Array:
    y = dyrelu(x, state, shared=False, **options)  # type: ignore[arg-type]
    weight, bias = state["spatial.weight"][0, :, 0, 0], state["spatial.bias"][0]
    size = x.shape[2] * x.shape[3]
    for n in range(x.shape[0]):
        z = {(h, w): (weight @ x[n, :, h, w] + bias) / tau for h, w in np.ndindex(x.shape[2:])}
        total = sum(math.exp(v) for v in z.values())
        for (h, w), v in z.items():
            y[n, :, h, w] *= min(gamma * size * math.exp(v) / total, 1)
    return y


def se(x: Array, state: State) -> Array:
    y = np.empty_like(x)
    for n, sample in enumerate(x):
        hidden = np.maximum(fully_connected(pooled(sample), state, "fc1"), 0)
        for c, v in enumerate(fully_connected(hidden, state, "fc2")):
            y[n, c] = sample[c] * sigmoid(float(v))
    return y


def maxout(x: Array, state: State, k: int = 2) -> Array:
    y = np.empty_like(x)
    weight, bias = state["conv.weight"][:, :, 0, 0], state["conv.bias"]
    for n, c, h, w in np.ndindex(x.shape):
        rows = range(c * k, c * k + k)
        y[n, c, h, w] = max(weight[row] @ x[n, :, h, w] + bias[row] for row in rows)
    return y


def acon(x: Array, p1: Array, p2: Array, beta: Array) -> Array:
    """β is (N, C)."""
    y = np.empty_like(x)
    for n, c, h, w in np.ndindex(x.shape):
        v = x[n, c, h, w]
        d = (p1[0, c, 0, 0] - p2[0, c, 0, 0]) * v
        y[n, c, h, w] = d * sigmoid(beta[n, c] * d) + p2[0, c, 0, 0] * v
    return y


def acon_c(x: Array, state: State) -> Array:
    beta = np.broadcast_to(state["beta"][0, :, 0, 0], x.shape[:2])
    return acon(x, state["p1"], state["p2"], beta)


def meta_acon_c(x: Array, state: State, batch_norm_after_fc: bool = False) -> Array:
    v = np.stack([pooled(sample) for sample in x])
    for fc, bn in (("fc1", "bn1"), ("fc2", "bn2")):
        v = np.stack([fully_connected(row, state, fc) for row in v])
        if batch_norm_after_fc:
            v = batch_norm(v, state, bn)
    return acon(x, state["p1"], state["p2"], np.vectorize(sigmoid)(v))


def eca(x: Array, state: State) -> Array:
    y = np.empty_like(x)
    kernel = state["conv.weight"][0, 0]
    for n, sample in enumerate(x):
        means = pooled(sample)
        for c in range(len(means)):
            total = 0.0
            for j, weight in enumerate(kernel):
                neighbour = c + j - len(kernel) // 2
                if 0 <= neighbour < len(means):
                    total += weight * means[neighbour]
            y[n, c] = sample[c] * sigmoid(total)
    return y


def grn(x: Array, state: State) -> Array:
    y = np.empty_like(x)
    gamma, beta = state["gamma"][0, :, 0, 0], state["beta"][0, :, 0, 0]
    for n, sample in enumerate(x):
        norms = [math.sqrt(sum(v * v for v in channel.ravel())) for channel in sample]
        for c, norm in enumerate(norms):
            response = norm / (sum(norms) / len(norms) + 1e-6)
            y[n, c] = gamma[c] * sample[c] * response + beta[c] + sample[c]
    return y


def group_rational(x: Array, state: State) -> Array:
    y = np.empty_like(x)
    groups = len(state["denominator"])
    for index in np.ndindex(x.shape):
        v = x[index]
        b = state["denominator"][index[1] // (x.shape[1] // groups)]
        above = sum(a * v**j for j, a in enumerate(state["numerator"]))
        below = sum(b * v**j for j, b in enumerate(b, start=1))
        y[index] = above / (1 + abs(below))
    return y


def dy_shift_max(x: Array, state: State, groups: int = 8) -> Array:
    y = np.empty_like(x)
    channels = x.shape[1]
    shift = max(1, channels // groups)
    for n, sample in enumerate(x):
        hidden = np.maximum(fully_connected(pooled(sample), state, "fc1"), 0)
        delta = [4 * (hard_sigmoid(float(v)) - 0.5) for v in fully_connected(hidden, state, "fc2")]
        for c, channel in enumerate(sample):
            a1, b1, a2, b2 = (delta[j * channels + c] for j in range(4))
            other = sample[(c + shift) % channels]
            for place in np.ndindex(channel.shape):
                y[(n, c, *place)] = max(
                    (1 + a1) * channel[place] + b1 * other[place],
                    (1 + a2) * channel[place] + b2 * other[place],
                )
    return y


def series_act(x: Array, state: State, training: bool = False) -> Array:
    rectified = np.where(x > 0, x, 0)
    convolved = depthwise(rectified, state["conv.weight"], None)
    return batch_norm(convolved, state, "bn", training, epsilon=1e-6)


def star_relu(x: Array, state: State) -> Array:
    s, b = state["scale"][0], state["bias"][0]
    return elementwise(lambda v: s * max(v, 0.0) ** 2 + b)(x, state)


def apa(x: Array, state: State) -> Array:
    lambd, kappa = max(state["lambd"][0], 1e-4), state["kappa"][0]
    # (1 + t)^(−1/λ), of which a small t would lose digits.
    return elementwise(lambda v: math.exp(-math.log1p(lambd * math.exp(-kappa * v)) / lambd))(
        x, state
    )


def aglu(x: Array, state: State) -> Array:
    y = apa(x, state)
    for index in np.ndindex(x.shape):
        y[index] *= x[index]
    return y


def xielu(x: Array, state: State, beta: float = 0.5) -> Array:
    a_p = math.log1p(math.exp(state["alpha_p"][0]))
    a_n = beta + math.log1p(math.exp(state["alpha_n"][0]))

    def curve(v: float) -> float:
        if v > 0:
            return a_p * v**2 + beta * v
        return a_n * (math.expm1(v) - v) + beta * v

    return elementwise(curve)(x, state)


def bounded(x: Array, state: State, curve: Callable[[float], float], shift: float = 0) -> Array:
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = curve(float(state["alpha"][0] * x[index] + shift))
        y[index] = state["weight"][index[1]] * value + state["bias"][index[1]]
    return y


def layer_norm(x: Array, state: State) -> Array:
    """At each position over its channels; ConvNeXt's ε is 1e-6."""
    y = np.empty_like(x)
    for n, *place in np.ndindex(x.shape[0], *x.shape[2:]):
        channels = [float(x[(n, c, *place)]) for c in range(x.shape[1])]
        mean = sum(channels) / len(channels)
        variance = sum((v - mean) ** 2 for v in channels) / len(channels)
        for c, v in enumerate(channels):
            unit = (v - mean) / math.sqrt(variance + 1e-6)
            y[(n, c, *place)] = unit * state["weight"][c] + state["bias"][c]
    return y


def gated(x: Array, gate: Callable[[float], float]) -> Array:
    """The first half of the channels through `gate`, times the second."""
    channels = x.shape[1] // 2
    y = np.empty((x.shape[0], channels, *x.shape[2:]))
    for n, c, *place in np.ndindex(y.shape):
        y[(n, c, *place)] = gate(float(x[(n, c, *place)])) * x[(n, channels + c, *place)]
    return y


def gelu(v: float) -> float:
    return v * (1 + math.erf(v / math.sqrt(2))) / 2


ORACLES: dict[str, Callable[..., Array]] = {
    "relu": elementwise(lambda v: max(v, 0.0)),
    "leaky_relu": elementwise(lambda v: v if v > 0 else 0.01 * v),
    "prelu": prelu,
    "relu6": elementwise(lambda v: min(max(v, 0.0), 6.0)),
    "sigmoid": elementwise(sigmoid),
    "silu": elementwise(lambda v: v * sigmoid(v)),
    "gelu": elementwise(gelu),
    "gelu_tanh": elementwise(gelu_tanh),
    "quick_gelu": elementwise(lambda v: v * sigmoid(1.702 * v)),
    "mish": elementwise(lambda v: v * math.tanh(math.log1p(math.exp(v)))),
    "hardswish": elementwise(lambda v: v * hard_sigmoid(v)),
    "elu": elementwise(lambda v: v if v > 0 else math.expm1(v)),
    "softplus": elementwise(lambda v: math.log1p(math.exp(v))),
    "squared_relu": elementwise(lambda v: max(v, 0.0) ** 2),
    "star_relu": star_relu,
    "apa": apa,
    "aglu": aglu,
    "xielu": xielu,
    "dyt": lambda x, state: bounded(x, state, math.tanh),
    "derf": lambda x, state: bounded(x, state, math.erf, shift=state["shift"][0]),
    "frelu": frelu,
    "frelu_light": frelu_light,
    "dyrelu_a": lambda x, state, **options: dyrelu(x, state, shared=True, **options),
    "dyrelu_b": lambda x, state, **options: dyrelu(x, state, shared=False, **options),
    "dyrelu_c": dyrelu_c,
    "se": se,
    "maxout": maxout,
    "acon_c": acon_c,
    "meta_acon_c": meta_acon_c,
    "identity": elementwise(lambda v: v),
    "dwconv_bn_relu": dwconv_bn_relu,
    "funnel_maxpool": funnel_maxpool,
    "funnel_avgpool": funnel_avgpool,
    "dyrelu_dyhead": lambda x, state: dyrelu(x, state, shared=False, gate="hardsigmoid"),
    "eca": eca,
    "grn": grn,
    "group_rational": group_rational,
    "dy_shift_max": dy_shift_max,
    "series_act": series_act,
    "meta_acon_c_bn": lambda x, state: meta_acon_c(x, state, batch_norm_after_fc=True),
    "layer_norm": layer_norm,
    "swiglu": lambda x, _state: gated(x, lambda v: v * sigmoid(v)),
    "geglu": lambda x, _state: gated(x, gelu),
    "relu_inplace": elementwise(lambda v: max(v, 0.0)),
}
