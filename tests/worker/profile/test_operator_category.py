"""Categories of operators, and which of them work by themselves, as a reader would say it."""

import re

import pytest
import torch
from torch import Tensor, nn

from dynact.schema.profile import OPERATOR_CATEGORIES
from dynact.worker.profile.operator_category import category_of, is_composite, moves_nothing
from tests.sweeping import case_of
from tests.worker.profile.profiling import counted, tables


@pytest.mark.parametrize(
    ("operator", "category"),
    [
        ("aten::mul", "pointwise"), ("aten::maximum", "pointwise"),
        ("aten::threshold_backward", "pointwise"), ("aten::_prelu_kernel", "pointwise"),
        ("aten::max", "reduction"), ("aten::mean", "reduction"), ("aten::_softmax", "reduction"),
        ("aten::addmm", "matmul"), ("aten::convolution_backward", "convolution"),
        ("aten::native_batch_norm", "normalisation"), ("aten::copy_", "memory"),
        ("aten::empty", "memory"), ("aten::view", "other"), ("MulBackward0", "other"),
        ("aten::select", "other"), ("aten::upsample_bilinear2d", "pointwise"),
        ("aten::upsample_linear1d_backward", "pointwise"), ("aten::cummax", "reduction"),
        ("aten::linalg_vector_norm", "reduction"), ("aten::log_normal_", "pointwise"),
        ("aten::_scaled_dot_product_flash_attention", "matmul"), ("aten::bmm", "matmul"),
        ("aten::conv_transpose2d", "convolution"), ("aten::max_pool2d_with_indices", "reduction"),
        ("aten::clone", "memory"), ("aten::flip", "memory"), ("aten::roll", "memory"),
        ("aten::repeat", "memory"), ("aten::constant_pad_nd", "memory"),
        ("aten::reflection_pad2d", "memory"), ("aten::pixel_shuffle", "memory"),
        ("aten::im2col", "memory"), ("aten::index_put_", "memory"),
        ("Torch-Compiled Region: 0/0", "other"), ("a_comm_of_no_operator", "other"),
        ("torchvision::nms", "other"), ("quantized::mul", "other"), ("prims::sum", "other"),
        ("c10d::allreduce_", "communication"), ("nccl:all_reduce", "communication"),
        ("_c10d_functional::all_reduce", "communication"),
        ("record_param_comms", "communication"),
    ],
)  # fmt: skip
def test_category_of_an_operator(operator: str, category: str) -> None:
    found = category_of(operator)

    assert found == category
    assert found in OPERATOR_CATEGORIES


# How operators that multiply matrices say so.
PRODUCTS = re.compile(
    r"mm(_|$)|matmul|[_:](linear|bilinear|trilinear)(_|$)|addmv|mv$|dot$|attention|einsum|inner$"
)
NO_PRODUCTS = re.compile(r"upsample|lgamma|gamma|cummax|hamming|dummy|sample_|interpol|convert")


def test_nothing_but_products_of_matrices_is_called_one() -> None:
    every = {schema.name for schema in torch._C._jit_get_all_schemas()}
    named = {name for name in every if name.startswith("aten::")}
    products = {name for name in named if category_of(name) == "matmul"}
    assert len(named) > 1000
    assert len(products) > 50
    assert {name for name in products if not PRODUCTS.search(name.rstrip("_"))} == set()
    assert {name for name in products if NO_PRODUCTS.search(name)} == set()


@pytest.mark.parametrize("name", ["Torch-Compiled Region: 0/0", "CompiledFunctionBackward"])
def test_generated_code_runs_under_its_own_name_on_the_host_alone(name: str) -> None:
    assert not is_composite(name, "cpu")
    assert is_composite(name, "cuda")
    assert not moves_nothing(name)


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_an_operator_that_only_calls_others_is_composite(device_type: str) -> None:
    assert is_composite("aten::conv2d", device_type)
    assert not is_composite("aten::mul", device_type)


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_an_overload_that_calls_another_is_composite(device_type: str) -> None:
    # where(condition, x, 0) makes a tensor of the number and calls where(condition, x, tensor).
    assert not is_composite("aten::where", device_type)
    assert is_composite("aten::where", device_type, calls_its_name=True)
    assert not is_composite("aten::copy_", device_type, calls_its_name=True)


@pytest.mark.parametrize(
    ("operator", "nothing"),
    [
        *[("aten::view", True), ("aten::_unsafe_view", True), ("aten::empty", True)],
        *[("aten::mul", False), ("aten::mul_", False)],
    ],
)
def test_views_and_allocations_move_nothing(operator: str, nothing: bool) -> None:
    assert moves_nothing(operator) == nothing


class ChoosesANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 2.0)


def test_what_an_overload_calls_is_told_apart() -> None:
    case = case_of(f"{__name__}:ChoosesANumber")

    found = tables(case, steps=1)

    assert list(found.timeline["kernel"]) == ["aten::gt", "aten::scalar_tensor", "aten::where"]
    assert found.operators == counted(case)["operator_calls"] == 3
    elements = case.input_bytes // 4
    # x and a condition; a number; a condition, x, the number and y.
    assert found.kernels["bytes"].sum() == (4 + 1) * elements + 4 + (1 + 4 + 4) * elements + 4


def test_an_operator_registered_after_a_trace_is_known() -> None:
    tables(case_of("relu"), steps=1)

    @torch.library.custom_op("dynact_tests::negated", mutates_args=())
    def negated(x: Tensor) -> Tensor:
        return -x

    case = case_of(f"{__name__}:Negating")
    found = tables(case, steps=1)

    assert list(found.timeline["kernel"]) == ["dynact_tests::negated"]
    assert not is_composite("dynact_tests::negated", "cpu")
    assert not moves_nothing("dynact_tests::negated")
    assert found.operators == counted(case)["operator_calls"] == 1
    assert found.kernels["bytes"].sum() == 2 * case.input_bytes


class Negating(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        negated: Tensor = torch.ops.dynact_tests.negated(x)
        return negated
