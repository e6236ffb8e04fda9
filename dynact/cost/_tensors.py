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
