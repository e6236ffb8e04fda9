"""The count of FLOPs against closed forms, a second counter and torchvision's own metadata."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import deform_conv2d, roi_align

from dynact.activations import create, names
from dynact.cost import _handles
from dynact.cost._fvcore import IGNORED_OPS, FlopCountAnalysis
from dynact.cost.flops import Arithmetic, count_flops, fvcore_default_flops
from tests.activations.samples import channels_in
from tests.cost.closed_forms import CLOSED_FORMS
from tests.cost.witness import witness_flops

SEGMENTATION = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large")
GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR)


class Own(nn.Module):
    """A user's activation from a function of one tensor."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def count(function: Callable[[Tensor], Any], x: Tensor, convention: str = "flop") -> Arithmetic:
    return count_flops(Own(function), x, convention)


def meta_witness(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> int:
    with torch.device("meta"):
        return witness_flops(make(), torch.empty(shape))


@pytest.mark.parametrize("name", names())
@given(data=st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_activations_at_any_shape(name: str, data: st.DataObject) -> None:
    n, c = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 40))
    h, w = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))

    shape = n, channels_in(name, c), h, w

    counted = count_flops(create(name, c), normal(*shape))

    assert counted.uncounted_ops == ()
    assert counted.total == CLOSED_FORMS[name](n, c, h, w).flops
    assert counted.total == meta_witness(lambda: create(name, c), shape)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((f"dyrelu_{v}", {"gate": "hardsigmoid", "k": 3, "reduction": 4}) for v in "abc"),
        ("dyrelu_c", {"tau": 1.0, "gamma": 1.0}),
        ("frelu", {"kernel_size": 5, "bias": False}),
        ("prelu", {"shared": True}),
        ("gelu", {"approximate": "tanh"}),
        ("elu", {"alpha": 0.5}),
        ("softplus", {"beta": 2.0}),
        ("leaky_relu", {"negative_slope": 0.2, "inplace": True}),
        *((name, {"inplace": True}) for name in ("relu", "relu6", "hardswish", "silu", "mish")),
        ("maxout", {"k": 3}),
        ("se", {"reduction": 2}),
        ("meta_acon_c", {"reduction": 4, "batch_norm": True}),
        ("dyrelu_dyhead", {"reduction": 2}),
        ("group_rational", {"groups": 4}),
        ("dy_shift_max", {"reduction": 2, "groups": 2}),
        ("series_act", {"n": 1}),
        ("meta_acon_c_bn", {"reduction": 4}),
    ],
)
def test_options(name: str, options: dict[str, object]) -> None:
    def make() -> nn.Module:
        return create(name, 8, **options)

    counted = count_flops(make(), normal(2, 8, 5, 4))
    assert counted.uncounted_ops == ()
    if options.get("inplace") and name not in ("relu", "relu6", "hardswish"):
        # The in-place form is the same arithmetic under another name.
        expected = CLOSED_FORMS[name](2, 8, 5, 4).flops
    else:
        expected = meta_witness(make, (2, 8, 5, 4))
    assert counted.total == expected


@pytest.mark.parametrize(
    "name",
    [
        *("relu", "gelu", "xielu", "derf", "dyrelu_a", "dyrelu_b", "se", "layer_norm"),
        *("dyrelu_dyhead", "eca", "group_rational"),
    ],
)
@pytest.mark.parametrize("shape", [(3, 8), (3, 8, 7)])
def test_fewer_dimensions(name: str, shape: tuple[int, ...]) -> None:
    counted = count_flops(create(name, 8), normal(*shape))
    assert counted.uncounted_ops == ()
    assert counted.total == meta_witness(lambda: create(name, 8), shape)


@pytest.mark.parametrize("name", names())
def test_neither_layout_nor_dtype_matters(name: str) -> None:
    layer, x = create(name, 8), normal(2, channels_in(name, 8), 5, 4)
    expected = count_flops(layer, x)

    assert count_flops(layer, x.to(memory_format=torch.channels_last)) == expected
    assert count_flops(layer.bfloat16(), x.bfloat16()) == expected


def test_autocast_is_counted_as_it_runs() -> None:
    layer, x = create("dyrelu_c", 8), normal(2, 8, 5, 4)
    expected = count_flops(layer, x).total
    with torch.autocast("cpu", torch.bfloat16):
        counted = count_flops(layer, x)
    assert (counted.total, counted.uncounted_ops) == (expected, ())


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2",
        "mobilenet_v3_small",
        "resnet18",
        "resnet50",
        "shufflenet_v2_x0_5",
        "convnext_tiny",
        *SEGMENTATION,
    ],
)
def test_networks(name: str) -> None:
    x = normal(1, 3, 72, 56)
    witnessed = witness_flops(network(name), x.to("meta"))
    counted = count_flops(network(name).to_empty(device="cpu"), x)
    assert (counted.total, counted.uncounted_ops) == (witnessed, ())


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "mobilenet_v3_small"])
def test_macs_as_torchvision_states_them(name: str) -> None:
    """4.089 for ResNet-50 in torchvision's metadata: G multiply-accumulates at 224×224."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    crop = weights.transforms().crop_size[0]
    counted = count_flops(network(name).to_empty(device="cpu"), normal(1, 3, crop, crop), "mac")
    assert round(counted.total / 1e9, 3) == weights.meta["_ops"]
    assert counted.multiply_accumulates == counted.total


def test_macs_as_fvcore_counts_them() -> None:
    resnet, x = network("resnet50").to_empty(device="cpu").eval(), normal(1, 3, 64, 64)
    macs = count_flops(resnet, x, "mac").by_operator
    by_fvcore = FlopCountAnalysis(resnet, x).unsupported_ops_warnings(False).by_operator()
    assert macs == {op: by_fvcore[op] for op in ("conv", "linear")}
    counted = count_flops(resnet, x)
    assert macs == {op: counted.by_operator[op] // 2 for op in ("conv", "linear")}
    assert counted.multiply_accumulates == sum(macs.values())


@pytest.mark.parametrize(
    "layer",
    [
        nn.MultiheadAttention(8, 2, batch_first=True),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("trains", [False, True])
def test_attention_layers_as_torchs_counter_counts_them(layer: nn.Module, trains: bool) -> None:
    """Without their fast path, which is one operator."""
    layer.requires_grad_(trains)
    attends = isinstance(layer, nn.MultiheadAttention)
    own = Own(lambda x: layer(x, x, x, need_weights=False) if attends else layer(x))
    own.layer = layer
    x = normal(3, 5, 8)

    counted = count_flops(own, x, "mac")

    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        own.train().to("meta")(x.to("meta"))
    layer.to_empty(device="cpu")
    assert counted.uncounted_ops == ()
    assert 2 * counted.total == counter.get_total_flops()
    assert torch.backends.mha.get_fastpath_enabled()


def network(name: str) -> nn.Module:
    """Return one of torchvision's on the meta device, which saves its first values."""
    with torch.device("meta"):
        module: nn.Module = torchvision.models.get_model(
            name, **({"weights_backbone": None} if name in SEGMENTATION else {})
        )
    return module


X = normal(2, 6, 5, 4)
E = X.numel()
# Two heads; queries and values of other numbers and widths than keys.
KEYS, VALUES = normal(2, 6, 7, 4), normal(2, 6, 7, 3)
SCORES = 2 * 6 * 5 * 7
ATTENTION = 2 * SCORES * (4 + 3) + 6 * SCORES
BOX = torch.tensor([[0, 0, 0, 3, 3.0]])

FUNCTIONS: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "one for an elementary function": (lambda x: x.exp(), E),
    "in place, the same": (lambda x: x.exp_(), E),
    "softplus": (F.softplus, E),
    "softplus with a factor": (lambda x: F.softplus(x, beta=-1.0), 3 * E),
    "broadcast to the output": (lambda x: x[:, :1, :1, :1] * x, E),
    "alpha": (lambda x: torch.add(x, x, alpha=3), 2 * E),
    "alpha of a reversed subtraction": (lambda x: torch.rsub(x, x, alpha=3), 2 * E),
    "one minus x": (lambda x: 1 - x, E),
    "one over x": (lambda x: x.reciprocal(), E),
    "floor division": (lambda x: x // 2, 2 * E),
    "division that rounds": (lambda x: torch.div(x, 2, rounding_mode="floor"), 2 * E),
    "clamp, both bounds": (lambda x: x.clamp(0, 6), 2 * E),
    "clamp, lower bound": (lambda x: x.clamp(min=0), E),
    "clamp, upper bound": (lambda x: x.clamp(max=0), E),
    "largest of two": (lambda x: torch.max(x, 2 * x), 2 * E),
    "largest of all": (lambda x: x.max(), E - 1),
    "largest along a dimension": (lambda x: x.max(dim=1).values, E - E // 6),
    "amax": (lambda x: x.amax(dim=(2, 3)), E - 12),
    "sum": (lambda x: x.sum(dim=(2, 3)), E - 12),
    "mean": (lambda x: x.mean(dim=(2, 3)), E),
    "Euclidean norm": (lambda x: torch.linalg.vector_norm(x, dim=(2, 3)), 2 * E),
    "norm of absolutes": (lambda x: torch.linalg.vector_norm(x, 1, dim=3), 2 * E - 60),
    "norm of the largest": (lambda x: torch.linalg.vector_norm(x, torch.inf, dim=3), 2 * E - 60),
    "norm of another power": (lambda x: torch.linalg.vector_norm(x, 3, dim=3), 3 * E),
    "norm without an order": (lambda x: torch.linalg.norm(x, dim=(2, 3)), 2 * E),
    "normalised": (lambda x: F.normalize(x, dim=3), 2 * E + 60 + E),
    "norm, as many write it": (lambda x: torch.norm(x, p=2, dim=(2, 3)), 2 * E),
    "variance": (lambda x: x.var(dim=(2, 3)), 4 * E),
    "standard deviation": (lambda x: x.std(dim=(2, 3)), 4 * E + 12),
    "softmax": (lambda x: x.softmax(dim=1), 5 * E),
    "log_softmax": (lambda x: x.log_softmax(dim=1), 5 * E),
    "variance and mean": (lambda x: torch.var_mean(x, dim=1), 4 * E),
    "elu": (F.elu, 4 * E),
    "elu with a factor": (lambda x: torch.ops.aten.elu(x, 1.0, 2.0, 1.0), 5 * E),
    "elu with a factor on the input": (lambda x: torch.ops.aten.elu(x, 1.0, 1.0, 2.0), 5 * E),
    "selu": (F.selu, 5 * E),
    "celu": (lambda x: F.celu(x, 2.0), 5 * E),
    "logsigmoid": (F.logsigmoid, 2 * E),
    "softsign, |x|, 1 + and ÷": (F.softsign, 3 * E),
    "tanhshrink": (F.tanhshrink, 2 * E),
    "glu": (lambda x: F.glu(x, dim=1), 2 * E // 2),
    "threshold": (lambda x: F.threshold(x, 0.1, 0.0), E),
    "rrelu in eval": (F.rrelu, 2 * E),
    "hardtanh": (F.hardtanh, 2 * E),
    "relu6": (F.relu6, 2 * E),
    "lerp": (lambda x: torch.lerp(x, x, 0.3), 3 * E),
    "addcmul": (lambda x: torch.addcmul(x, x, x), 2 * E),
    "addcmul with a factor": (lambda x: torch.addcmul(x, x, x, value=2), 3 * E),
    "compare, choose": (lambda x: torch.where(x > 0, x, -x), 2 * E),
    "compare, fill": (lambda x: x.masked_fill(x < 0, 0.0), E),
    "gather": (lambda x: x.gather(1, torch.zeros_like(x, dtype=torch.int64)), 0),
    "remainder": (lambda x: x % 2, 4 * E),
    "movement": (lambda x: torch.cat([x.transpose(2, 3), x.flip(1).mT]).contiguous(), 0),
    "dropout in eval": (lambda x: F.dropout(x, training=False), 0),
    "matmul": (lambda x: x @ x.mT, 2 * E * 5),
    "matrix by vector": (lambda x: x[0, 0] @ x[0, 0, 0], 2 * 20),
    "einsum": (lambda x: torch.einsum("nchw,ndhw->ncd", x, x), 2 * 2 * 6 * 6 * 20),
    "einsum with spaces": (
        lambda x: torch.einsum("n c h w, n d h w -> n c d", x, x),
        2 * 2 * 6 * 6 * 20,
    ),
    "einsum with one side broadcast": (
        lambda x: torch.einsum("nchw,nchw->nhw", x, x[:, :1]),
        2 * 2 * 6 * 20,
    ),
    "einsum of a dimension of one": (
        lambda x: torch.einsum("nchw,nchw->nhw", x[:, :1], x[:, :1]),
        2 * 2 * 20,
    ),
    "einsum of elements": (lambda x: torch.einsum("nchw,nc->nchw", x, x[:, :, 0, 0]), E),
    "einsum of an ellipsis": (lambda x: torch.einsum("...w,...w->...", x, x), 2 * E),
    "einsum of three": (
        lambda x: torch.einsum("nchw,ndhw,ndhw->nc", x, x, x),
        # Row and column stay for the third, and the second's channels for the third's.
        2 * 6 * 6 * 20 + 2 * 2 * 6 * 6 * 20,
    ),
    "einsum of numbered indices": (
        lambda x: torch.einsum(x, [0, 1, 2, 3], x[:, :, 0, 0], [0, 1], [0, 2, 3]),
        2 * E,
    ),
    "attention": (lambda x: F.scaled_dot_product_attention(x, KEYS, VALUES), ATTENTION),
    "attention of the past": (
        lambda x: F.scaled_dot_product_attention(x, KEYS, VALUES, is_causal=True),
        ATTENTION,
    ),
    "attention with a bias": (
        lambda x: F.scaled_dot_product_attention(x, KEYS, VALUES, x.new_ones(5, 7)),
        ATTENTION + SCORES,
    ),
    "attention with a mask": (
        lambda x: F.scaled_dot_product_attention(x, KEYS, VALUES, x.new_ones(5, 7) > 2),
        ATTENTION + 5 * 7,
    ),
    "attention of grouped queries": (
        lambda x: F.scaled_dot_product_attention(x, KEYS[:, :2], VALUES[:, :2], enable_gqa=True),
        ATTENTION,
    ),
    "attention, an operator of its own on a CPU": (
        lambda x: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(x, KEYS, KEYS)[0],
        2 * SCORES * 8 + 6 * SCORES,
    ),
    "attention in plain operators": (
        lambda x: torch.ops.aten._scaled_dot_product_attention_math(x, KEYS, VALUES)[0],
        ATTENTION,
    ),
    "grid sampling": (
        lambda x: F.grid_sample(x, x[:, :2, :3, :2], align_corners=False),
        7 * 2 * 6 * 2 * 3,
    ),
    "nearest grid sampling": (
        lambda x: F.grid_sample(x, x[:, :2, :3, :2], mode="nearest", align_corners=False),
        2 * 6 * 2 * 3,
    ),
    "deformable convolution": (
        lambda x: deform_conv2d(x, x.new_zeros(2, 18, 3, 2), x.new_ones(8, 6, 3, 3)),
        2 * 2 * 8 * 6 * 54 + 7 * 2 * 6 * 9 * 6,
    ),
    "modulated deformable convolution": (
        lambda x: deform_conv2d(
            x, x.new_zeros(2, 18, 3, 2), x.new_ones(8, 6, 3, 3), mask=x.new_ones(2, 9, 3, 2)
        ),
        2 * 2 * 8 * 6 * 54 + 8 * 2 * 6 * 9 * 6,
    ),
    "aligned pooling": (lambda x: roi_align(x, BOX, 2, sampling_ratio=2), 8 * 4 * 6 * 4),
    "unfold": (lambda x: F.unfold(x, 3), 0),
    "fold": (lambda x: F.fold(x.new_ones(2, 18, 20), (5, 4), 3, padding=1), 2 * 18 * 20),
    "roll": (lambda x: x.roll((1, 1), (2, 3)), 0),
    "shuffles": (lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 1), 1), 0),
    "grid of an affine map": (
        lambda x: F.affine_grid(x[:, :1, :2, :3].squeeze(1), [2, 6, 5, 4], align_corners=False),
        2 * 3 * 2 * 20 * 2,
    ),
    # 5·n·log₂ n of n complex points, half of n real ones.
    "Fourier transform": (lambda x: torch.fft.fft(x.new_ones(3, 8)), 5 * 3 * 8 * 3),
    "real Fourier transform of a plane and back": (
        lambda x: torch.fft.irfft2(torch.fft.rfft2(x.new_ones(3, 8, 4)), s=(8, 4)),
        2 * 5 * 3 * 32 * 5 // 2,
    ),
    "Fourier transform that pads": (
        lambda x: torch.fft.rfft(x.new_ones(3, 8), n=16),
        5 * 3 * 16 * 4 // 2,
    ),
    "product of complex numbers": (
        lambda x: torch.view_as_real(torch.view_as_complex(x.new_ones(3, 2)) * 1j),
        6 * 3,
    ),
    "baddbmm": (lambda x: torch.baddbmm(x[0, :, :, :1], x[0], x[0].mT), 2 * 6 * 5 * 5 * 4),
    "convolution, same": (
        lambda x: F.conv2d(x, X.new_ones(8, 3, 3, 3), padding="same", groups=2),
        2 * 27 * 2 * 8 * 20,
    ),
    "transposed convolution": (
        lambda x: F.conv_transpose2d(x, X.new_ones(6, 2, 3, 3), stride=2),
        2 * E * 2 * 9,
    ),
    "1-D convolution": (lambda x: F.conv1d(x[0], X.new_ones(3, 5, 2)), 2 * 10 * 6 * 3 * 3),
    "max pooling": (lambda x: F.max_pool2d(x, 2), 3 * 12 * 4),
    "max pooling with indices": (lambda x: F.max_pool2d(x, 2, return_indices=True), 3 * 12 * 4),
    "max pooling, one size for both": (lambda x: F.max_pool2d(x, (2,)), 3 * 12 * 4),
    "average pooling": (lambda x: F.avg_pool2d(x, (2, 1)), 2 * 12 * 8),
    "adaptive average of uneven windows": (
        # 5 rows in windows 0–2, 1–4, 3–5: 7 of them; 4 columns in 0–2, 1–3, 2–4: 6.
        lambda x: F.adaptive_avg_pool2d(x, 3),
        12 * 7 * 6,
    ),
    "adaptive max": (lambda x: F.adaptive_max_pool2d(x, 3), 12 * (7 * 6 - 9)),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2), 0),
    "bilinear": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 7 * 4 * E),
    "batch norm of the batch": (
        lambda x: F.batch_norm(x, None, None, training=True),
        5 * E + 2 * 6,
    ),
    "batch norm of the batch that keeps statistics": (
        lambda x: F.batch_norm(x, X.new_zeros(6), X.new_ones(6), training=True),
        5 * E + 2 * 6,
    ),
    "instance norm": (F.instance_norm, 5 * E + 2 * 12),
    "instance norm that keeps statistics": (
        lambda x: F.instance_norm(x, X.new_zeros(6), X.new_ones(6), use_input_stats=True),
        5 * E + 2 * 12,
    ),
    "group norm": (lambda x: F.group_norm(x, 3, X.new_ones(6), X.new_ones(6)), 7 * E + 2 * 6),
    "layer norm": (lambda x: F.layer_norm(x, x.shape[2:]), 5 * E + 2 * 12),
    "rms norm": (lambda x: F.rms_norm(x, (4,), X.new_ones(4)), 4 * E + 2 * 60),
    "arithmetic of sizes is Python's": (
        lambda x: x * (0.5 * x.shape[1] ** -0.5 + x.numel() // 3 % 2),
        E,
    ),
    "arithmetic of a range as long as a size is the layer's": (
        lambda x: x * (torch.arange(x.shape[3]) / 2),
        4 + E,
    ),
    "arithmetic of values without dimensions is the layer's": (
        lambda x: x * (x.max() * 2 + 1),
        E - 1 + 2 + E,
    ),
}


@pytest.mark.parametrize("label", FUNCTIONS)
def test_operator(label: str) -> None:
    function, expected = FUNCTIONS[label]
    counted = count(function, X)
    assert counted.uncounted_ops == ()
    assert counted.total == expected


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
@pytest.mark.parametrize("tracks", [False, True])
def test_normalisation_layers(norm: Any, affine: bool, tracks: bool) -> None:
    def make() -> nn.Module:
        layer: nn.Module = norm(6, affine=affine, track_running_stats=tracks)
        return layer

    counted = count_flops(make(), X).total
    expected = 2 * E if tracks else (5 + 2 * affine) * E + 2 * (6 if norm is nn.BatchNorm2d else 12)
    assert counted == expected
    assert counted == meta_witness(make, tuple(X.shape))


def test_by_operator_is_sorted_and_without_zeros() -> None:
    counted = count_flops(create("frelu", 64), normal(1, 64, 56, 56))
    assert list(counted.by_operator.items()) == [
        ("conv", 3_612_672),
        ("batch_norm", 401_408),
        ("maximum", 200_704),
    ]
    assert count(lambda x: x.exp() + x.clone().exp_(), X).by_operator == {"exp": 2 * E, "add": E}


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


@pytest.mark.parametrize(
    ("function", "op"),
    [
        (lambda x: x.cumsum(1), "aten::cumsum"),
        (lambda x: torch.linalg.norm(x[0, 0], "nuc"), "aten::linalg_norm"),
        (Doubling.apply, "prim::PythonOp.Doubling"),
        (lambda x: F.dropout(x, training=True), "aten::dropout"),
        (lambda x: torch.fft.fft(x, n=x.shape[3]), "aten::fft_fft"),
        (lambda x: roi_align(x, BOX, 2, sampling_ratio=-1), "torchvision::roi_align"),
        (lambda x: F.avg_pool2d(x, x.shape[2:]), "aten::avg_pool2d"),
    ],
)
def test_what_cannot_be_counted_is_named(function: Callable[[Tensor], Any], op: str) -> None:
    counted = count(lambda x: function(x.exp()), X)
    assert counted == Arithmetic({"exp": E}, (op,))


def test_scripted_function_is_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(_scripted)
    assert count(lambda x: scripted(x.exp()), X) == Arithmetic({"exp": E}, ("prim::CallFunction",))


def _scripted(x: Tensor) -> Tensor:
    return x * 2


@pytest.mark.parametrize("op", sorted(IGNORED_OPS))
def test_what_fvcore_ignores_is_counted_or_known_to_be_free(op: str) -> None:
    assert op in _handles.FREE or op in _handles.OTHER_FLOPS


def test_what_fvcore_ignores_is_named_where_we_do_not_know_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(_handles.OTHER_FLOPS, "aten::relu")
    assert count(lambda x: x.relu().exp(), X) == Arithmetic({"exp": E}, ("aten::relu",))


@pytest.mark.parametrize(("x", "side"), [(X.abs(), 1), (-X.abs(), 5)])
def test_a_branch_on_data_is_counted_as_taken(x: Tensor, side: int) -> None:
    """The condition reaches no output, and is arithmetic all the same: a mean and a compare."""

    def branch(x: Tensor) -> Tensor:
        return x.relu() if x.mean() > 0 else F.gelu(x)

    assert count(branch, x).total == E + 1 + side * E


@pytest.mark.parametrize(
    "to_python", [bool, int, float, torch.Tensor.item, lambda mean: mean.reshape(1).tolist()[0]]
)
def test_a_number_taken_from_a_tensor_is_counted(to_python: Callable[[Tensor], float]) -> None:
    assert count(lambda x: x * to_python(x.mean()), X).by_operator == {"mean": E, "mul": E}


def test_a_result_that_nothing_uses_is_not_counted() -> None:
    def wasteful(x: Tensor) -> Tensor:
        x.exp()
        return -x

    assert count(wasteful, X).by_operator == {"neg": E}


@pytest.mark.parametrize("convention", ["MAC", "flops", "", None])
def test_unknown_convention(convention: Any) -> None:
    with pytest.raises(ValueError, match="convention must be one of flop, mac, got") as error:
        count_flops(nn.ReLU(), X, convention)
    assert repr(convention) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*names(), "resnet18"])
def test_fvcore_default(name: str) -> None:
    if name == "resnet18":
        module, x = network(name).to_empty(device="cpu"), normal(1, 3, 32, 32)
    else:
        module, x = create(name, 8), normal(2, channels_in(name, 8), 5, 4)
    told = fvcore_default_flops(module, x)
    alone = FlopCountAnalysis(module.eval(), x).unsupported_ops_warnings(False)
    assert told == alone.uncalled_modules_warnings(False).total()


class Mixed(nn.Module):
    """Some parts in train mode and some not, with hooks of its own, and perhaps a failure."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))
        self.second = nn.BatchNorm2d(6).requires_grad_(False)
        self.drop = nn.Dropout(0.5)
        self.fails = fails
        self.train()
        self.second.eval()
        self.calls: list[tuple[bool, bool]] = []
        self.first.register_forward_hook(self._called)
        self.first.register_forward_pre_hook(lambda _module, _args: None)

    def _called(self, *_args: object) -> None:
        self.calls.append((self.training, torch.is_grad_enabled()))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop(self.second(self.first(x)))
        if self.fails:
            raise RuntimeError("as asked")
        return y.relu_()


@pytest.mark.parametrize("counter", [count_flops, fvcore_default_flops])
@pytest.mark.parametrize("fails", [False, True])
def test_the_module_stays_as_it_is(
    counter: Callable[[nn.Module, Tensor], object], fails: bool
) -> None:
    module, x = Mixed(fails), X.clone().requires_grad_()
    before = described(module)

    if fails:
        with pytest.raises(RuntimeError, match="as asked"):
            counter(module, x)
    else:
        counter(module, x)

    assert module.calls == [(False, False)]
    assert described(module) == before
    assert torch.equal(x, X)
    assert x.grad is None
    assert x.requires_grad
    assert torch.is_grad_enabled()
    assert torch._C._get_tracing_state() is None
    module.fails = False
    assert module(x).requires_grad


def described(module: nn.Module) -> list[Any]:
    state = {key: value.tolist() for key, value in module.state_dict().items()}
    parameters = [(id(p), p.requires_grad, p.grad) for p in module.parameters()]
    modules = [
        (id(m), m.training, list(m._forward_hooks), list(m._forward_pre_hooks))
        for m in module.modules()
    ]
    return [state, parameters, modules]


def test_an_input_is_not_overwritten() -> None:
    x = X.clone()
    count_flops(nn.ReLU(inplace=True), x)
    fvcore_default_flops(nn.ReLU(inplace=True), x)
    assert torch.equal(x, X)


def test_nothing_is_printed_logged_or_warned(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def noisy(x: Tensor) -> Tensor:
        # A tensor as a condition and an unknown operator: both make fvcore or torch speak.
        return x.cumsum(1) if x.mean() > 0 else x.cumsum(2)

    module = Own(noisy)
    module.never_called = nn.ReLU()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        count_flops(module, X)
        fvcore_default_flops(module, X)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_import_warns_of_nothing() -> None:
    command = [sys.executable, "-W", "error", "-c", "import dynact.cost.flops"]
    subprocess.run(command, check=True)
