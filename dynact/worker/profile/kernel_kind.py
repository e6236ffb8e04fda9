"""The kind of work that an accelerator's kernel does, by its own name and its operator's."""

import functools
import re

from dynact.worker.profile.operator_category import category_of

# Those of NCCL, and of RCCL, which keeps its names.
_COLLECTIVE = re.compile(r"(?:ncclDevKernel|ncclKernel|rccl)", re.IGNORECASE)
# What torch.compile writes into the name of a Triton kernel: the first letters of the heuristic
# that it was made with.
_TRITON = re.compile(r"triton_(?P<heuristic>poi|per|red|spl|for|tem)_(?P<fused>.*)")
_OF_HEURISTICS = {
    "poi": "pointwise",
    "for": "pointwise",  # of a list of tensors, as optimizers have
    "per": "reduction",
    "red": "reduction",
    "spl": "reduction",  # a scan, as cumsum
}
# Words in the names of libraries' kernels; the first kind with one of a name's is its own.
_WORDS = {
    "normalisation": "batch_?norm|layer_?norm|group_?norm|rms_?norm|bn_fw|bn_bw",
    "convolution": "conv|fprop|dgrad|wgrad|winograd|miopen",
    "matmul": "gemm|gemv|cutlass|splitk|flash|fmha|attention|Cijk_",
    "reduction": "reduce|softmax|pool|cum",
    "memory": "copy|cat_?array|fill|index|gather|scatter",
    "pointwise": "elementwise|multi_tensor_apply",
}
_KINDS = {kind: re.compile(words, re.IGNORECASE) for kind, words in _WORDS.items()}


@functools.cache
def kind_of_kernel(kernel: str, operator: str) -> str:
    """Return the one of ``OPERATOR_CATEGORIES`` that a kernel is of.

    A collective's and a generated kernel's own name says it, and else that of the operator that
    launched it. Where that is no operator, but a graph's replay, generated code or a function of
    one's own, the words that libraries put into their kernels' names are all there is to go by.
    """
    if _COLLECTIVE.match(kernel):
        return "communication"
    generated = _TRITON.match(kernel)
    if generated:
        # A template is of a product of matrices, if it is of no convolution.
        of_template = "convolution" if "conv" in generated["fused"] else "matmul"
        return _OF_HEURISTICS.get(generated["heuristic"], of_template)
    category = category_of(operator)
    if category != "other" or "::" in operator:
        return category
    return next((kind for kind, words in _KINDS.items() if words.search(kernel)), "other")
