"""Activations that are part of a gate, told by what becomes of their outputs."""

import itertools
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

# What acts on each element by itself.
_ELEMENTWISE = frozenset((
    "add", "sub", "rsub", "mul", "multiply", "div", "true_divide", "divide", "neg", "pow", "square",
    "sqrt", "exp", "log1p", "erf", "clamp", "clamp_min", "clamp_max", "abs", "to", "type_as",
))  # fmt: skip
_PRODUCTS = frozenset(("mul", "multiply"))
_SQUEEZES = frozenset(("mean", "amax", "max", "sum"))

Found = frozenset[int]
_NONE: Found = frozenset()


class Gates:
    """Follows a pass's activations to the products that their outputs take part in.

    Activations have numbers, in the order of the pass. Two of the kinds of products are gates:

    - x · g(x), with g elementwise, is an activation written by hand: ReLU6(x + 3) / 6 is the gate
      of hard swish, tanh(softplus(x)) that of Mish;
    - that of a map with one value a channel, whatever is between that value and an activation, is
      attention: squeeze-and-excitation is that.

    So is ReLU6(x + 3), hard sigmoid by itself.
    """

    def __init__(self) -> None:
        self.gates: set[int] = set()
        # Of a tensor: which activations it hangs on, and which tensors, all elementwise.
        self._chains: Any = WeakTensorKeyDictionary()
        # Of one value a channel: which activations that do it hangs on.
        self._squeezed: Any = WeakTensorKeyDictionary()
        self._plus_three: Any = WeakTensorKeyDictionary()
        self._numbers: Any = WeakTensorKeyDictionary()
        self._next = itertools.count()

    def activation(self, number: int, name: str, x: Tensor, y: Tensor) -> None:
        """Note a call of an activation."""
        activations, tensors = self._chain(x)
        self._chains[y] = activations | {number}, tensors
        if x in self._squeezed:
            self._squeezed[y] = self._squeezed[x] | {number}
        if name in ("relu6", "hardtanh") and x in self._plus_three:
            self.gates.add(number)

    def follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], y: object
    ) -> None:
        """Note any other function."""
        if not isinstance(y, Tensor):
            return
        name = getattr(func, "__name__", "").strip("_")
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if name.removeprefix("r").removeprefix("i") in _PRODUCTS and len(inputs) == 2:
            self._multiply(*inputs)
            self._multiply(*reversed(inputs))
        elif inputs and _is_squeezed(name, inputs[0], y):
            self._squeezed[y] = self._squeezed.get(inputs[0], _NONE)
        elif inputs and inputs[0] in self._squeezed:
            self._squeezed[y] = self._squeezed[inputs[0]]
        if name not in _ELEMENTWISE:
            return
        chains = [self._chain(x) for x in inputs if x.shape == y.shape]
        self._chains[y] = (
            _NONE.union(*(activations for activations, _ in chains)),
            _NONE.union(*(tensors for _, tensors in chains)),
        )
        if name == "add" and 3 in [
            a for a in (*args, *kwargs.values()) if not isinstance(a, Tensor)
        ]:
            self._plus_three[y] = True

    def _chain(self, x: Tensor) -> tuple[Found, Found]:
        activations, tensors = self._chains.get(x, (_NONE, _NONE))
        if x not in self._numbers:
            # An id is given again once its tensor is gone.
            self._numbers[x] = next(self._next)
        return activations, tensors | {self._numbers[x]}

    def _multiply(self, x: Tensor, gate: Tensor) -> None:
        if x not in self._squeezed:
            self.gates |= self._squeezed.get(gate, _NONE)
        (activations, tensors), (of_gate, behind_gate) = self._chain(x), self._chain(gate)
        if x.shape == gate.shape and tensors & behind_gate:
            self.gates |= of_gate - activations


def _is_squeezed(name: str, x: Tensor, y: Tensor) -> bool:
    """Whether y has one value for each map of x."""
    if x.dim() <= 2 or y.shape[:2] != x.shape[:2] or y.numel() != y.shape[:2].numel():
        return False
    # Maps of a small image come to one position by strides, and then none are left to squeeze.
    is_smaller = x.numel() > y.numel() and "conv" not in name
    return is_smaller or "pool" in name or name in _SQUEEZES
