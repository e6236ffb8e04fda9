"""The activations that torch knows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# The names are those of the registry where it has them.
MODULES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.RReLU: "rrelu",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.CELU: "celu",
    nn.GELU: "gelu",
    nn.GLU: "glu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Hardswish: "hardswish",
    nn.Hardtanh: "hardtanh",
    nn.Hardshrink: "hardshrink",
    nn.Softshrink: "softshrink",
    nn.Tanhshrink: "tanhshrink",
    nn.Threshold: "threshold",
    nn.Softplus: "softplus",
    nn.Softsign: "softsign",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.LogSigmoid: "logsigmoid",
    nn.Hardsigmoid: "hardsigmoid",
}

# What goes through all that they hold.
LISTS = nn.Sequential, nn.ModuleList, nn.ModuleDict

# The same as functions and as methods of a tensor.
FUNCTIONS: dict[object, str] = {
    getattr(home, name + in_place): name
    for name in MODULES.values()
    for home in (functional, torch, Tensor)
    for in_place in ("", "_")
    if hasattr(home, name + in_place)
}

# To those torch.compile shows no mode, though eager mode does (2.14.1).
UNSEEN: frozenset[object] = frozenset(
    getattr(home, f"{name}_")
    for name in MODULES.values()
    for home in (functional, torch)
    if hasattr(home, f"{name}_")
)
