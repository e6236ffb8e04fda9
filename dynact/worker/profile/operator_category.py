"""The category of work that an operator does, and whether it does any itself."""

import functools
import re

import torch

from dynact.worker.device import is_host

# Whole words in the names of operators that torch does not tag as pointwise or as a reduction. The
# first category with one of a name's is its own.
_WORDS = {
    "normalisation": "batch_norm group_norm instance_norm layer_norm rms_norm weight_norm",
    # A sum of a few neighbours, for each output.
    "pointwise": "upsample clamp",
    "convolution": "conv convolution",
    "matmul": """
        addbmm addmm addmv attention baddbmm bilinear bmm chain_matmul dot einsum hspmm inner
        linear linear_fp16 matmul mm multi_dot mv smm sspaddmm tensordot trilinear vdot vecdot
    """,
    "reduction": """
        aminmax argmax argmin cummax cummaxmin cummin cumprod cumsum logcumsumexp logsumexp max
        median min norm pool softmax
    """,
    "memory": """
        cat chunk clone col2im concat concatenate copy diag diagflat dstack embedding embedding_bag
        eye fill flip fliplr flipud full gather hstack im2col index ones pad put repeat
        repeat_interleave roll rot90 scalar_tensor scatter select shuffle slice stack take tile tril
        triu unfold unpool unshuffle vstack zero zeros
    """,
}
_CATEGORIES = {
    category: re.compile(rf"(?:^|_)(?:{'|'.join(words.split())})(?:\dd)?(?:_|$)")
    for category, words in _WORDS.items()
}
# How names begin under which code runs that torch.compile made, forward and backward.
_GENERATED = ("Torch-Compiled Region", "CompiledFunction")
# Of names before a colon, and the mark that torch.distributed sets beside its collectives.
_COMMUNICATION = re.compile(
    r"_?(?:c10d|c10d_functional|nccl|gloo|ucc|symm_mem):|record_param_comms$"
)


@functools.cache
def category_of(name: str) -> str:
    """Return the one of `OPERATOR_CATEGORIES` that an operator, as ``"aten::mul"``, is of.

    Of operators that are not torch's own nobody knows what they do, but of those that communicate.
    """
    if _COMMUNICATION.match(name):
        return "communication"
    schemas = _overloads(name) if name.startswith("aten::") else []
    if not schemas:
        return "other"
    tags = set()
    for schema in schemas:
        qualified = torch._C._get_operation_overload(schema.name, schema.overload_name)
        tags |= set(qualified[2]) if qualified else set()
    # An operator that is both, as max is, came here by its reduction: the other has a name of
    # its own, as maximum has.
    if torch.Tag.reduction in tags:
        return "reduction"
    short = name.removeprefix("aten::")
    if "empty" in short or short == "clone":  # which torch tags as pointwise
        return "memory"
    if moves_nothing(name):
        return "other"
    for category, of_category in _CATEGORIES.items():
        if torch.Tag.pointwise not in tags and of_category.search(short):
            return category
    return "pointwise"


@functools.cache
def is_composite(name: str, device_type: str, calls_its_name: bool = False) -> bool:
    """Return whether a name has no code of its own there: it calls others, or is no operator.

    Generated code runs under its own name on a CPU; on an accelerator it launches kernels.

    Parameters
    ----------
    name
        As a trace has it.
    device_type
        Where it was called.
    calls_its_name
        Whether it called an operator of the same name: of overloads of which some have no code of
        their own, as ``where`` of a tensor and a number, it then is such a one.
    """
    if is_generated(name):
        return not is_host(device_type)
    key = torch._C._dispatch_key_for_device(device_type)

    def registered(schema: torch._C.FunctionSchema, dispatch_key: str) -> bool:
        return torch._C._dispatch_has_kernel_for_dispatch_key(_qualified(schema), dispatch_key)

    quantifier = any if calls_its_name else all
    return quantifier(
        registered(schema, "CompositeImplicitAutograd") and not registered(schema, key)
        for schema in _overloads(name)
    )


def is_generated(name: str) -> bool:
    """Return whether code runs under that name that torch.compile made."""
    return name.startswith(_GENERATED)


@functools.cache
def moves_nothing(name: str) -> bool:
    """Return whether what has code of its own only views or allocates."""
    if is_generated(name):
        return False
    # Of _unsafe_view no schema says that it is a view: autograd is to take it for a new tensor.
    return (
        name == "aten::_unsafe_view"
        or "empty" in name
        or all(
            any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
            for schema in _overloads(name)
        )
    )


def _overloads(name: str) -> list[torch._C.FunctionSchema]:
    try:
        schemas = torch._C._jit_get_schemas_for_operator(name)
    except RuntimeError:  # a name that no operator can have
        return []
    # A trace says no overload: all have to agree, but the out= ones that torch generates, and
    # those on numbers and lists, which only TorchScript knows.
    return [
        schema
        for schema in schemas
        if not schema.overload_name.endswith("out")
        and torch._C._dispatch_has_kernel(_qualified(schema))
    ]


def _qualified(schema: torch._C.FunctionSchema) -> str:
    return schema.name + "." * bool(schema.overload_name) + schema.overload_name
