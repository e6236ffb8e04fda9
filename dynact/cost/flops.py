"""The arithmetic of one forward pass, operator by operator, as papers count it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dynact.cost._as_found import as_found
from dynact.cost._fvcore import IGNORED_OPS, FlopCountAnalysis
from dynact.cost._handles import (
    FREE,
    MULTIPLY_ACCUMULATES,
    OTHER_FLOPS,
    UnknownError,
    Values,
    is_of_sizes,
    none,
    unknown,
)

# What a multiply-accumulate, and what any other FLOP, adds under each convention.
_WORTH = {"flop": (2, 1), "mac": (1, 0)}

_TO_PYTHON = (
    Tensor.__bool__,
    Tensor.__int__,
    Tensor.__index__,
    Tensor.__float__,
    Tensor.item,
    Tensor.tolist,
)


@dataclass(frozen=True)
class Arithmetic:
    """What one forward pass computes."""

    by_operator: dict[str, int]
    """Counts by an operator's short name, the largest first; no zeros."""
    uncounted_ops: tuple[str, ...]
    """Operators that were met and not counted, at least once, named as in the trace."""
    multiply_accumulates: int = 0
    """Those of convolutions and matrix products, whatever the convention."""

    @property
    def total(self) -> int:
        """The sum over all counted operators."""
        return sum(self.by_operator.values())


def count_flops(module: nn.Module, x: Tensor, convention: str = "flop") -> Arithmetic:
    """Count the arithmetic of module(x) in eval mode, without gradients.

    The module's mode, hooks and statistics stay as they are.

    The pass is run once, on x's device, and traced by fvcore. Of a branch that depends on data,
    the condition and the side that x takes are counted; a result that nothing uses is not, nor is
    what the module computes outside of torch's operators: see `is_all_shown`.

    Parameters
    ----------
    module
        Any module that torch.jit can trace.
    x
        Its one input, not on the meta device.
    convention
        "flop": one for each add, subtract, multiply, divide, compare or max of an element, and
        one for each elementary function such as exp; a multiply-accumulate is two, and a bias
        starts the accumulator, as in torch.utils.flop_counter. Moving and choosing elements is
        free. "mac": multiply-accumulates of convolutions and matrix products, those of attention
        included, nothing else.

    Raises
    ------
    ValueError
        Another convention. Whatever module(x) or its trace raises is passed on.
    """
    if convention not in _WORTH:
        raise ValueError(f"convention must be one of {', '.join(_WORTH)}, got {convention!r}")
    uncounted: set[str] = set()
    multiply_accumulates: list[int] = []
    # fvcore passes over its ignored ones without a word.
    handles = {
        op: _handle(op, _WORTH[convention], uncounted, multiply_accumulates)
        for op in {*IGNORED_OPS, *MULTIPLY_ACCUMULATES, *OTHER_FLOPS}
    }
    analysis = _quiet(FlopCountAnalysis(_WithConditions(module), x.detach().clone()))
    analysis.clear_op_handles().set_op_handle(**{**handles, **dict.fromkeys(FREE)})
    with as_found(module):
        by_kind = analysis.by_operator()
    by_operator: dict[str, int] = {}
    for kind, flops in by_kind.items():
        by_operator[_short(kind)] = by_operator.get(_short(kind), 0) + flops
    return Arithmetic(
        {
            name: flops
            for name, flops in sorted(by_operator.items(), key=lambda item: (-item[1], item[0]))
            if flops
        },
        tuple(sorted(uncounted.union(analysis.unsupported_ops()))),
        sum(multiply_accumulates),
    )


def fvcore_default_flops(module: nn.Module, x: Tensor) -> int:
    """Return what fvcore says of module(x) unaided, in eval mode; the module stays as it is.

    Convolutions and matrix products in multiply-accumulates, normalisation in FLOPs, and nothing
    of most other operators.
    """
    analysis = _quiet(FlopCountAnalysis(module, x.detach().clone()))
    with as_found(module):
        return int(analysis.total())


def _handle(
    op: str, worth: tuple[int, int], uncounted: set[str], multiply_accumulates: list[int]
) -> Callable[[Values, Values], int]:
    count_products = MULTIPLY_ACCUMULATES.get(op, none)
    count_others = OTHER_FLOPS.get(op, none if op in MULTIPLY_ACCUMULATES else unknown)
    of_mac, of_other = worth

    def handle(inputs: Values, outputs: Values) -> int:
        if is_of_sizes(outputs[0]):
            return 0
        try:
            products, others = count_products(inputs, outputs), count_others(inputs, outputs)
        except UnknownError:
            uncounted.add(op)
            return 0
        multiply_accumulates.append(products)
        return of_mac * products + of_other * others

    return handle


def _short(kind: str) -> str:
    """Return one name for an operator and its in-place form."""
    return "conv" if kind.startswith("_convolution") else kind.rstrip("_")


def _quiet(analysis: FlopCountAnalysis) -> FlopCountAnalysis:
    return (
        analysis.unsupported_ops_warnings(False)
        .uncalled_modules_warnings(False)
        .tracer_warnings("none")
    )


class _WithConditions(nn.Module):
    """A module that also returns the tensors it turned into Python's numbers.

    A trace drops whatever no output depends on, and with it a branch's condition. fvcore sees the
    parameters and no modules within: to note the one of each operator takes as long as all else.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._hidden = (module,)
        for i, tensor in enumerate((*module.parameters(), *module.buffers())):
            self.register_buffer(str(i), tensor)

    def forward(self, x: Tensor) -> tuple[Any, list[Tensor]]:
        conditions = _Conditions()
        with conditions:
            y = self._hidden[0](x)
        return y, conditions.met


class _Conditions(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.met: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _TO_PYTHON:
            self.met.append(args[0])
        return func(*args, **(kwargs or {}))
