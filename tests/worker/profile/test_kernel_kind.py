"""Kinds of kernels, as a reader of their names would say it."""

import pytest

from dynact.schema.profile import NO_OPERATOR, OPERATOR_CATEGORIES
from dynact.worker.profile.kernel_kind import kind_of_kernel
from tests.worker.profile.kineto import VECTORIZED


@pytest.mark.parametrize(
    ("kernel", "operator", "kind"),
    [
        # Of torch's operators the operator says it, whatever the kernel is called.
        (VECTORIZED, "aten::add", "pointwise"),
        (VECTORIZED, "aten::copy_", "memory"),
        ("void cutlass::Kernel2<gemm>", "aten::convolution", "convolution"),
        # Generated names say it themselves, by whatever they were launched.
        ("triton_poi_fused_add_mul_relu_0", "Torch-Compiled Region: 0/0", "pointwise"),
        ("triton_poi_fused_convolution_relu_1", NO_OPERATOR, "pointwise"),
        ("triton_for_fused_3", NO_OPERATOR, "pointwise"),
        ("triton_per_fused_mean_2", "triton_per_fused_mean_2", "reduction"),
        ("triton_red_fused_native_batch_norm_4", "CompiledFunctionBackward", "reduction"),
        ("triton_spl_fused_cumsum_0", NO_OPERATOR, "reduction"),
        ("triton_tem_fused_addmm_5", NO_OPERATOR, "matmul"),
        ("triton_tem_fused_convolution_6", NO_OPERATOR, "convolution"),
        ("triton_unk_fused_0", NO_OPERATOR, "other"),
        ("my_triton_kernel", NO_OPERATOR, "other"),
        # Collectives.
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL(Arguments)", NO_OPERATOR, "communication"),
        ("ncclKernel_AllReduce_RING_LL_Sum_float", "aten::add", "communication"),
        ("vectorized_elementwise_kernel", "c10d::allreduce_", "communication"),
        # Of others' operators nobody knows.
        (VECTORIZED, "torchvision::nms", "other"),
        ("implicit_convolve_sgemm", "my::conv", "other"),
        # Of no operator the names that libraries give.
        (VECTORIZED, NO_OPERATOR, "pointwise"),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float>>", NO_OPERATOR,
         "reduction"),
        ("sm90_xmma_fprop_implicit_gemm_f32f32_tf32f32", NO_OPERATOR, "convolution"),
        ("sm80_xmma_gemm_f32f32_tn_n", "MyFunction", "matmul"),
        ("Cijk_Ailk_Bjlk_SB_Bias_AS_SAV", NO_OPERATOR, "matmul"),
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>", NO_OPERATOR, "normalisation"),
        ("void at::native::CatArrayBatchedCopy<float>", NO_OPERATOR, "memory"),
    ],
)  # fmt: skip
def test_kind_of_a_kernel(kernel: str, operator: str, kind: str) -> None:
    found = kind_of_kernel(kernel, operator)

    assert found == kind
    assert found in OPERATOR_CATEGORIES
