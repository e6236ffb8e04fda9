"""What operators read from memory and write to it, each on its own, and the least it could be."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from dynact.cost._operators import only_allocates, takes_only_a_shape, written_over
from dynact.cost._tensors import tensors_in
from dynact.cost._watch import OperatorWatch


class TrafficCounter(OperatorWatch):
    """Counts, while active, what each operator reads and writes.

    An operator reads each distinct element of its inputs once and writes each of its outputs
    once, as if nothing stayed in a cache from one operator to the next. A view moves nothing,
    and neither does an allocation. It counts on any device, meta included, and through backward.
    Run inference under ``torch.no_grad``: under ``torch.inference_mode`` composite operators
    such as linear arrive whole.

    What an operator does and does not declare is not seen: a workspace of its own, a second pass
    over its input, and BatchNorm's update of its running statistics.
    """

    bytes: int
    """Read and written by all operators."""
    operators: Counter[str]
    """Calls of each operator that reads or writes, by a name such as ``"aten::add"``."""
    reads_values: bool
    """Whether the host asked for a tensor's values: the work then depends on the data."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self.operators = Counter()
        self.reads_values = False

    @property
    def operator_calls(self) -> int:
        """Calls of operators that read or write; an accelerator launches a kernel for each."""
        return self.operators.total()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the operator and count it."""
        kwargs = kwargs or {}
        given = tensors_in((args, kwargs))
        storages = {tensor.untyped_storage() for tensor in given}
        result = func(*args, **kwargs)

        written = written_over(func, args, kwargs)
        written += [t for t in tensors_in(result) if t.untyped_storage() not in storages]
        asks = _asks_for_values(func, args)
        self.reads_values |= asks
        if (written or asks) and not only_allocates(func):
            moved = _distinct_bytes(_read(func, args, kwargs)) + _distinct_bytes(written)
            moved -= _passed_over(func, args)
            if moved:
                self.bytes += moved
                self.operators[func._schema.name] += 1
        return result


def floor_bytes(
    passes: int, output_bytes: int, parameter_bytes: int, gradient_bytes: int = 0
) -> int:
    """Return the least traffic of a call, parameters read once and their gradients written once.

    Parameters
    ----------
    passes
        Tensors of the output's size that any implementation reads or writes.
    output_bytes
        Of the output.
    parameter_bytes
        Of all parameters.
    gradient_bytes
        Of the parameters' gradients, in training.
    """
    return passes * output_bytes + parameter_bytes + gradient_bytes


# In-place operators that do not look at what they write over.
_OVERWRITING = frozenset(
    f"aten::{name}_"
    for name in ("copy", "fill", "zero", "normal", "uniform", "bernoulli", "random", "exponential")
)


def _read(
    func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[Tensor]:
    name = func._schema.name
    if takes_only_a_shape(func):
        return []
    unread = {argument.name for argument in func._schema.arguments if argument.is_out}
    return tensors_in(
        (
            args[1:] if name in _OVERWRITING else args,
            [value for key, value in kwargs.items() if key not in unread],
        )
    )


def _passed_over(func: torch._ops.OpOverload, args: tuple[Any, ...]) -> int:
    """Return the bytes of a scatter's target that it neither reads nor writes: most of them.

    In the backward pass it scatters in place, but not while a mode like this one is active.
    """
    in_backward = torch._C._current_graph_task_id() != -1
    name = func._schema.name
    if not (name == "aten::scatter_" or (name == "aten::scatter" and in_backward)):
        return 0
    target, _, index = args[:3]
    passed_over: int = (2 * target.numel() - index.numel()) * target.element_size()
    return passed_over


def _asks_for_values(func: torch._ops.OpOverload, args: tuple[Any, ...]) -> bool:
    if func is torch.ops.aten.index.Tensor:  # only a mask's values decide about its shape
        return any(index.dtype in (torch.bool, torch.uint8) for index in tensors_in(args[1:]))
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags))


def _distinct_bytes(tensors: Iterable[Tensor]) -> int:
    """Sum what different tensors hold, an expanded or a transposed one being its original."""
    distinct = {
        (tensor.untyped_storage(), tensor.storage_offset(), _steps(tensor)): tensor.element_size()
        for tensor in tensors
    }
    return sum(
        math.prod(size for _, size in steps) * element_size
        for (_, _, steps), element_size in distinct.items()
    )


def _steps(tensor: Tensor) -> tuple[tuple[int, int], ...]:
    """Return stride and size of each dimension along which the elements differ."""
    pairs = zip(tensor.stride(), tensor.shape, strict=True)
    return tuple(sorted((stride, size) for stride, size in pairs if stride != 0 and size != 1))
