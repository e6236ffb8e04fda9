"""Long names of kernels, cut to what a reader looks for."""

import pytest

from dynact.report.data.kernel_names import LONGEST, short_kernel

ELEMENTWISE = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, "
    "std::array<char*, 1ul> >(int, at::native::FillFunctor<float>, std::array<char*, 1ul>)"
)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (ELEMENTWISE, "vectorized_elementwise_kernel<4, FillFunctor<float>, ar…"),
        (
            "void at::native::(anonymous namespace)::CatArrayBatchedCopy<float, 4>"
            "(at::native::(anonymous namespace)::Arguments, unsigned int)",
            "CatArrayBatchedCopy<float, 4>",
        ),
        ("void cudnn::ops::nchwToNhwcKernel<float, float, float>(int, int, float const*)",
         "nchwToNhwcKernel<float, float, float>"),
        ("Cijk_Ailk_Bjlk_SB_MT64x64x16_MI16x16x4x1_SN_1LDSB0_APM1_ABV0_ACED0_AF0EM1",
         "Cijk_Ailk_Bjlk_SB_MT64x64x16_MI16x16x4x1_SN_1LDSB0_APM1…"),
        ("aten::_scaled_dot_product_fused_attention_overrideable_backward",
         "aten::_scaled_dot_product_fused_attention_overrideable_…"),
        ("void f<int>(int)", "void f<int>(int)"),
        ("aten::mul", "aten::mul"),
    ],
)  # fmt: skip
def test_a_long_name_keeps_what_tells_most(name: str, short: str) -> None:
    found = short_kernel(name)

    assert found == short
    assert len(found) <= LONGEST
