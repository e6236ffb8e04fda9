"""Which dimension of a network's tensors is that of the channels, as far as it can be known."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

# Whose results have channels where torch has them: first of a sample, or last.
_FIRST = "conv", "batch_norm", "group_norm", "instance_norm", "pool", "interpolate", "pixel_shuffle"
_LAST = "layer_norm", "rms_norm"
_RESHAPED = "reshape", "view", "flatten", "unflatten", "reshape_as", "view_as"
_MATRIX = "matmul", "__matmul__", "mm"
# Which mix dimensions as their arguments say.
_MIXED = (*_MATRIX, "bmm", "baddbmm", "einsum", "tensordot", "scaled_dot_product_attention")
_MOVED = "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"


class Layout:
    """Follows the channels through the functions of a pass."""

    def __init__(self) -> None:
        # None where they were lost.
        self._told: Any = WeakTensorKeyDictionary()

    def of(self, x: Tensor) -> int | None:
        """Return the channels' dimension, or None; of images that nothing made it is 1."""
        if x.dim() == 2:
            return 1
        default = 1 if x.dim() == 4 else None
        told: int | None = self._told.get(x, default)
        return told

    def follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], y: object
    ) -> None:
        """Note where the channels of a function's results are."""
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not inputs:
            return
        for place, result in enumerate(tree_leaves(y)):
            if isinstance(result, Tensor):
                self._told[result] = self._after(func, args, kwargs, inputs, result, place)

    def _after(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: list[Tensor],
        result: Tensor,
        place: int,
    ) -> int | None:
        name = getattr(func, "__name__", "")
        by_matrix = name in _MATRIX and len(inputs) == 2 and inputs[1].dim() == 2
        of_last = (
            name in _LAST and len(args[1] if len(args) > 1 else kwargs["normalized_shape"]) == 1
        )
        if func is functional.linear or of_last or by_matrix:
            return result.dim() - 1
        if any(word in name for word in _FIRST):
            sides = re.search(r"(\d)d", name)
            return 0 if sides and result.dim() == int(sides[1]) + 1 else 1
        # What is broadcast, as a parameter is, tells nothing of the result.
        x = next((x for x in inputs if x.dim() == result.dim()), inputs[0])
        channels = self.of(x)
        if channels is None or name in _MIXED:
            return None
        if name in _RESHAPED:
            return _reshaped(x, channels, result)
        if result.dim() == x.dim() and name not in _MOVED:
            return channels
        return self._tried(func, args, kwargs, result, place)

    def _tried(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Tensor,
        place: int,
    ) -> int | None:
        """Find the dimension that changes with the number of channels."""

        def wider(x: Tensor) -> Tensor:
            sides, channels = list(x.shape), self.of(x)
            if channels is not None:
                sides[channels] += 1
            return torch.empty(sides, dtype=x.dtype, device="meta")

        try:
            found = tree_leaves(func(*tree_map_only(Tensor, wider, args), **kwargs))[place].shape
        except Exception:
            return None
        changed = [i for i, (a, b) in enumerate(zip(result.shape, found, strict=True)) if a != b]
        return changed[0] if len(changed) == 1 else None


def _reshaped(x: Tensor, channels: int, result: Tensor) -> int | None:
    if channels == x.dim() - 1 and result.shape[-1:] == x.shape[-1:]:
        return result.dim() - 1
    if result.shape[: channels + 1] == x.shape[: channels + 1]:
        return channels
    return None
