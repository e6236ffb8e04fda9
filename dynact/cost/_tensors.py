"""The tensors among what an operator takes or returns."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor
from torch.utils import _pytree


def tensors_in(values: object) -> list[Tensor]:
    """Return the dense tensors in nested sequences, mappings and dataclasses, in their order."""
    found: list[Tensor] = []
    for leaf in _pytree.tree_leaves(values):
        if isinstance(leaf, Tensor):
            found += [leaf] if leaf.layout == torch.strided else []
        # Of classes that a library derives from these, torch's trees know nothing.
        elif isinstance(leaf, Mapping):
            found += tensors_in(list(leaf.values()))
        elif isinstance(leaf, list | tuple):
            found += tensors_in(list(leaf))
        elif is_dataclass(leaf):
            found += tensors_in([getattr(leaf, field.name) for field in fields(leaf)])
    return found


def not_a_leaf(x: Tensor) -> Tensor:
    """Return x as an operator's result, into which a layer may write; nothing is copied.

    Neither a leaf that requires a gradient nor a view of one may be written into; what a layer
    gets within a network may.
    """
    y: Tensor = torch.ops.aten._unsafe_view(x, x.shape)
    return y
