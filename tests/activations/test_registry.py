"""What is declared of each activation, how it is made, and how the registry refuses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dynact.activations import (
    activation,
    create,
    input_channels,
    least_passes,
    names,
    near_names,
    writes_in_place,
)
from tests.activations.samples import OWN

NAMES = [
    *("relu", "leaky_relu", "prelu", "relu6", "sigmoid", "silu", "gelu", "gelu_tanh"),
    *("quick_gelu", "mish", "hardswish", "elu", "softplus", "squared_relu"),
    *("star_relu", "apa", "aglu", "xielu", "dyt", "derf"),
    *("frelu", "frelu_light", "dyrelu_a", "dyrelu_b", "dyrelu_c"),
    *("se", "maxout", "acon_c", "meta_acon_c"),
    *("identity", "dwconv_bn_relu", "funnel_maxpool", "funnel_avgpool", "layer_norm"),
    *("dyrelu_dyhead", "eca", "grn", "group_rational", "dy_shift_max", "series_act"),
    *("meta_acon_c_bn", "swiglu", "geglu", "relu_inplace"),
]


def test_names_in_their_order() -> None:
    assert names() == tuple(NAMES)


@pytest.mark.parametrize("name", names())
def test_each_call_makes_a_new_module(name: str) -> None:
    first, second = create(name, 4), create(name, 4)
    assert isinstance(first, nn.Module)
    assert first is not second


@pytest.mark.parametrize(
    ("name", "near"),
    [("frlu", "frelu"), ("DyReLU-B", "dyrelu_b"), ("acon", "acon_c"), ("swish", "hardswish")],
)
def test_unknown_name_is_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^unknown activation '{name}'; did you mean .*\b{near}\b.*\?$"
    ):
        create(name, 4)


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("swish", "silu (swish)"),
        ("Swish", "silu (swish)"),
        ("h-swish", "hardswish (h_swish)"),
        ("lrelu", "leaky_relu (lrelu)"),
        ("dynamic-relu", "dyrelu_b (dynamic_relu)"),
        ("frlu", "frelu"),
        ("xyz", ""),
    ],
)
def test_a_name_that_others_use_is_the_nearest(word: str, near: str) -> None:
    assert near_names(word).split(" or ")[0] == near


def test_no_other_name_of_an_activation_is_one_of_a_second() -> None:
    also = [other for name in NAMES for other in activation(name).also]

    assert len({*also, *NAMES}) == len(also) + len(NAMES)


def test_name_like_no_other_is_answered_with_all() -> None:
    message = f"unknown activation 'xyz'; choose from: {', '.join(NAMES)}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        create("xyz", 4)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("channels", [0, -3, True, 4.0, "4", None])
def test_channels_must_be_a_positive_integer(name: str, channels: object) -> None:
    message = re.escape(f"channels must be a positive integer, got {channels!r}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        create(name, channels)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", names())
def test_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^unknown option 'colour' for {name}: it takes [\w, ]+$"
    ):
        create(name, 4, colour="red")


def test_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"for se: it takes reduction$"):
        create("se", 4, k=2)
    with pytest.raises(ValueError, match=r"for sigmoid: it takes no options$"):
        create("sigmoid", 4, inplace=True)


POSITIVE = "must be a positive integer, got"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("frelu", {"kernel_size": 0}, f"kernel_size {POSITIVE} 0"),
        ("frelu", {"kernel_size": 3.0}, f"kernel_size {POSITIVE} 3.0"),
        ("frelu", {"kernel_size": (3, 3)}, f"kernel_size {POSITIVE} (3, 3)"),
        ("frelu", {"kernel_size": 4}, "kernel_size must be odd to keep the input's size, got 4"),
        ("se", {"reduction": 0}, f"reduction {POSITIVE} 0"),
        ("se", {"reduction": True}, f"reduction {POSITIVE} True"),
        ("meta_acon_c", {"reduction": -1}, f"reduction {POSITIVE} -1"),
        ("maxout", {"k": 1.5}, f"k {POSITIVE} 1.5"),
        ("prelu", {"init": float("nan")}, "init must be a finite number, got nan"),
        *[
            (name, options, message)
            for name in ("dyrelu_a", "dyrelu_b", "dyrelu_c")
            for options, message in [
                ({"reduction": 0}, f"reduction {POSITIVE} 0"),
                ({"reduction": 8.0}, f"reduction {POSITIVE} 8.0"),
                ({"k": 0}, f"k {POSITIVE} 0"),
                ({"k": False}, f"k {POSITIVE} False"),
                ({"gate": "tanh"}, "gate must be one of sigmoid, hardsigmoid, got 'tanh'"),
                ({"lambda_a": float("inf")}, "lambda_a must be a finite number, got inf"),
                ({"lambda_b": "0.5"}, "lambda_b must be a finite number, got '0.5'"),
            ]
        ],
        ("dyrelu_c", {"tau": 0}, "tau must be a positive number, got 0"),
        ("dyrelu_c", {"tau": True}, "tau must be a finite number, got True"),
        ("dyrelu_c", {"gamma": -0.1}, "gamma must be a positive number, got -0.1"),
        ("dyrelu_dyhead", {"reduction": 0}, f"reduction {POSITIVE} 0"),
        ("group_rational", {"groups": 2.0}, f"groups {POSITIVE} 2.0"),
        ("dy_shift_max", {"reduction": 0}, f"reduction {POSITIVE} 0"),
        ("dy_shift_max", {"groups": 0}, f"groups {POSITIVE} 0"),
        ("series_act", {"n": 0}, f"n {POSITIVE} 0"),
        ("meta_acon_c_bn", {"reduction": -1}, f"reduction {POSITIVE} -1"),
    ],
)
def test_option_out_of_range_is_refused(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        create(name, 4, **options)


# Tensors of the output's size that any implementation reads or writes. Forward: read x, write y.
# Backward: read the gradient and x or y, write x's gradient.
LEAST_PASSES = {
    **dict.fromkeys(NAMES, (2, 2 + 3)),
    # Batch statistics come before the output, and their gradients before the input's.
    **dict.fromkeys(("frelu", "frelu_light", "dwconv_bn_relu"), (2, 3 + 5)),
    # So do the pooled input and its gradient.
    **dict.fromkeys(("dyrelu_a", "dyrelu_b", "dyrelu_c", "meta_acon_c"), (3, 3 + 5)),
    # The gradient of a plain scaling needs x for the pooled part alone.
    "se": (3, 3 + 4),
    "identity": (0, 0),
    **dict.fromkeys(("dyrelu_dyhead", "dy_shift_max", "meta_acon_c_bn"), (3, 3 + 5)),
    "eca": (3, 3 + 4),
    # The gradient of a norm is along x.
    "grn": (3, 3 + 5),
    "series_act": (2, 3 + 5),
    # x, and its gradient, are two such tensors.
    **dict.fromkeys(("swiglu", "geglu"), (2 + 1, 2 + 1 + 1 + 2 + 2)),
}


@pytest.mark.parametrize("name", names())
def test_least_passes(name: str) -> None:
    assert tuple(least_passes(name, training) for training in (False, True)) == LEAST_PASSES[name]


@pytest.mark.parametrize("name", OWN)
def test_docstrings_of_own_layers_state_the_least_passes(name: str) -> None:
    inference, training = LEAST_PASSES[name]
    stated = rf"Least traffic: {inference} passes in inference\b.*[ ,]{training} in training\."
    assert re.search(stated, type(create(name, 4)).__doc__ or "")


@pytest.mark.parametrize("name", ["mine.layers:Swish", "unknown"])
def test_of_an_unknown_layer_only_the_least_is_known(name: str) -> None:
    assert (least_passes(name, training=False), least_passes(name, training=True)) == (2, 4)
    assert input_channels(name, 3) == 3
    assert not writes_in_place(name)


@pytest.mark.parametrize("name", names())
def test_what_is_declared_of_channels_and_places_is_what_a_layer_does(name: str) -> None:
    x = torch.randn(2, input_channels(name, 6), 5, 4)
    before = x.clone()

    y = create(name, 6).eval()(x)

    assert y.shape == (2, 6, 5, 4)
    assert torch.equal(x, before) != writes_in_place(name)
    assert (y is x) == (name in ("identity", "relu_inplace"))


# As their authors spell them; controls, which have none, in words.
TITLES = {
    "relu": "ReLU", "leaky_relu": "Leaky ReLU", "prelu": "PReLU", "relu6": "ReLU6",
    "sigmoid": "Sigmoid", "silu": "SiLU", "gelu": "GELU", "mish": "Mish",
    "hardswish": "Hardswish", "frelu": "FReLU", "frelu_light": "FReLU light",
    "dyrelu_a": "DY-ReLU-A", "dyrelu_b": "DY-ReLU-B", "dyrelu_c": "DY-ReLU-C", "se": "SE",
    "maxout": "Maxout", "acon_c": "ACON-C", "meta_acon_c": "Meta-ACON-C",
    "identity": "Identity", "dwconv_bn_relu": "DWConv-BN-ReLU",
    "funnel_maxpool": "Funnel max-pool", "funnel_avgpool": "Funnel avg-pool",
    "gelu_tanh": "GELU tanh", "quick_gelu": "QuickGELU", "elu": "ELU", "softplus": "Softplus",
    "squared_relu": "Squared ReLU", "star_relu": "StarReLU", "apa": "APA", "aglu": "AGLU",
    "xielu": "xIELU", "dyt": "DyT", "derf": "Derf", "layer_norm": "LayerNorm",
    "dyrelu_dyhead": "DY-ReLU-B (DyHead)", "eca": "ECA", "grn": "GRN",
    "group_rational": "Group rational", "dy_shift_max": "DY-Shift-Max",
    "series_act": "Series activation", "meta_acon_c_bn": "Meta-ACON-C BN", "swiglu": "SwiGLU",
    "geglu": "GEGLU", "relu_inplace": "ReLU in place",
}  # fmt: skip
# arXiv's numbers: Delving Deep into Rectifiers; Funnel Activation; Dynamic ReLU;
# Squeeze-and-Excitation Networks; Maxout Networks; Activate or Not; Gaussian Error Linear Units;
# Primer; MetaFormer Baselines for Vision; Adaptive Parametric Activation; Deriving Activation
# Functions Using Integration; Transformers without Normalization; Stronger Normalization-Free
# Transformers; Layer Normalization; ECA-Net; ConvNeXt V2; Kolmogorov-Arnold Transformer;
# MicroNet; VanillaNet; GLU Variants Improve Transformer.
PAPERS = {
    "prelu": "1502.01852",
    **dict.fromkeys(("frelu", "frelu_light", "funnel_maxpool", "funnel_avgpool"), "2007.11824"),
    **dict.fromkeys(("dyrelu_a", "dyrelu_b", "dyrelu_c"), "2003.10027"),
    "se": "1709.01507",
    "maxout": "1302.4389",
    **dict.fromkeys(("acon_c", "meta_acon_c"), "2009.04759"),
    "dyrelu_dyhead": "2003.10027",
    "eca": "1910.03151",
    "grn": "2301.00808",
    "group_rational": "2409.10594",
    "dy_shift_max": "2108.05894",
    "series_act": "2305.12972",
    "meta_acon_c_bn": "2009.04759",
    "quick_gelu": "1606.08415",
    "squared_relu": "2109.08668",
    "star_relu": "2210.13452",
    **dict.fromkeys(("apa", "aglu"), "2407.08567"),
    "xielu": "2411.13010",
    "dyt": "2503.10622",
    "derf": "2512.10938",
    "layer_norm": "1607.06450",
    **dict.fromkeys(("swiglu", "geglu"), "2002.05202"),
}


@pytest.mark.parametrize("name", names())
def test_titles(name: str) -> None:
    assert activation(name).title == TITLES[name]


@pytest.mark.parametrize("name", names())
def test_papers(name: str) -> None:
    expected = (f"arXiv {PAPERS[name]}",) if name in PAPERS else ()

    assert activation(name).papers == expected


@pytest.mark.parametrize("name", ["frlu", "xyz"])
def test_nothing_is_declared_of_an_unknown_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"^unknown activation '{name}'; "):
        activation(name)


def test_what_is_declared_is_known_without_torch() -> None:
    script = (
        "import sys\n"
        "from dynact import activations\n"
        "for name in activations.names():\n"
        "    activations.activation(name).title, activations.least_passes(name, True)\n"
        "print({'torch', 'numpy'} & set(sys.modules))\n"
    )
    root = Path(__file__).parents[2]

    done = subprocess.run(
        (sys.executable, "-c", script), cwd=root, capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
