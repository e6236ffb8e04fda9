"""Which dimension of a network's tensors is that of the channels, as far as it can be known."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

_FIRST = "conv", "batch_norm", "group_norm", "instance_norm", "pool", "interpolate", "pixel_shuffle"
_MOVED = "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"
_RESHAPED = "reshape", "view", "flatten", "unflatten", "reshape_as", "view_as"
# What multiplies matrices has an output whose last dimension is of its own making.
_FORGOTTEN = "matmul", "mm", "bmm", "einsum", "baddbmm", "scaled_dot_product_attention"


class Layout:
    """Follows the channels through the functions of a pass."""

    def __init__(self) -> None:
        self._known: Any = WeakTensorKeyDictionary()

    def of(self, x: Tensor) -> int | None:
        """Return the channels' dimension, or None; images are (N, C, H, W) if nothing is known."""
        known: int | None = self._known.get(x)
        if known is None and x.dim() in (2, 4):
            return 1
        return known

    def follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], y: object
    ) -> None:
        """Note where the channels of a function's results are."""
        name = getattr(func, "__name__", "")
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for result in (leaf for leaf in tree_leaves(y) if isinstance(leaf, Tensor)):
            channels = self._after(func, name, inputs, args, kwargs, result)
            if channels is not None:
                self._known[result] = channels
            elif result in self._known and all(result is not x for x in inputs):
                del self._known[result]

    def _after(
        self,
        func: Callable[..., Any],
        name: str,
        inputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Tensor,
    ) -> int | None:
        if func is functional.linear or name == "layer_norm" or name == "rms_norm":
            return result.dim() - 1
        if any(word in name for word in _FIRST):
            return 1 if result.dim() > 2 else None
        known = [(x, self._known[x]) for x in inputs if x in self._known]
        if not known or name in _FORGOTTEN:
            if name in _MOVED and inputs and inputs[0].dim() == 4:
                known = [(inputs[0], 1)]
            else:
                return None
        x, channels = known[0]
        if name in _MOVED:
            return _moved(func, x, channels, args, kwargs)
        if name in _RESHAPED:
            return _reshaped(x, channels, result)
        return channels if result.dim() == x.dim() else None


def _moved(
    func: Callable[..., Any],
    x: Tensor,
    channels: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> int | None:
    sides = [1] * x.dim()
    sides[channels] = 2
    probe = torch.empty(sides, device="meta")
    args = tuple(probe if arg is x else arg for arg in args)
    kwargs = {key: probe if arg is x else arg for key, arg in kwargs.items()}
    return list(func(*args, **kwargs).shape).index(2)


def _reshaped(x: Tensor, channels: int, result: Tensor) -> int | None:
    if channels == x.dim() - 1 and result.shape[-1] == x.shape[-1]:
        return result.dim() - 1
    if result.shape[: channels + 1] == x.shape[: channels + 1]:
        return channels
    return None
