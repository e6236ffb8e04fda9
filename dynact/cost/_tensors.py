"""The tensors among what an operator takes or returns."""

import torch
from torch import Tensor
from torch.utils import _pytree


def tensors_in(values: object) -> list[Tensor]:
    """Return the dense tensors in nested tuples, lists and dicts, in their order."""
    return [
        leaf
        for leaf in _pytree.tree_leaves(values)
        if isinstance(leaf, Tensor) and leaf.layout == torch.strided
    ]


def not_a_leaf(x: Tensor) -> Tensor:
    """Return x as an operator's result, into which a layer may write; nothing is copied.

    Neither a leaf that requires a gradient nor a view of one may be written into; what a layer
    gets within a network may.
    """
    y: Tensor = torch.ops.aten._unsafe_view(x, x.shape)
    return y
