"""Profiles that several figures are drawn of."""

import pytest

from dynact.report.data.profile import Profile
from tests.report.figures.steps_sample import MEMORY, OPERATORS, case
from tests.report.profile_sample import build_profile

# The name of one of PyTorch's CUDA kernels, as a profiler gives it.
BINARY = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::BinaryFunctor<float, float, "
    "float, at::native::binary_internal::{}Functor<float> >, std::array<char*, 3ul> >(int, "
    "at::native::BinaryFunctor<float, float, float, at::native::binary_internal::{}Functor<float> "
    ">, std::array<char*, 3ul>)"
)


@pytest.fixture
def profile() -> Profile:
    calls = [(case(a), a, "training", *rest) for a, *rest in OPERATORS]
    # An inference case beside them, which none of the figures shows.
    other = (case("relu", "inference"), "relu", "inference", *OPERATORS[0][1:5], 10**12)
    return build_profile([*calls, other], [(case(a), *rest) for a, *rest in MEMORY])


@pytest.fixture
def on_cuda() -> Profile:
    """Steps of two layers, whose kernels' names differ somewhere in their middle."""
    a, b = (f"{name}-training-8x64x56x56-float32-cuda:0" for name in ("frelu", "dyrelu_b"))
    mul, add = (BINARY.format(name, name) for name in ("Mul", "Add"))
    profile = build_profile(
        [
            (a, "frelu", "training", mul, "pointwise", "forward", 0, 1_000_000),
            (a, "frelu", "training", add, "pointwise", "forward", 2_000_000, 3_000_000),
            (a, "frelu", "training", mul, "pointwise", "backward", 6_000_000, 500_000),
            (b, "dyrelu_b", "training", mul, "pointwise", "forward", 0, 10_000_000),
            (b, "dyrelu_b", "training", add, "pointwise", "backward", 11_000_000, 7_000_000),
        ]
    )
    profile.kernels["operator"] = profile.kernels["kernel"].map(
        {mul: "aten::mul", add: "aten::add"}
    )
    return profile
