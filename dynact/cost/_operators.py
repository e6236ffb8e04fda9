"""What an operator says of itself."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dynact.cost._tensors import tensors_in


def written_over(
    func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[Tensor]:
    """Return which of an operator's arguments it writes into."""
    given = {**dict(zip((a.name for a in func._schema.arguments), args, strict=False)), **kwargs}
    return tensors_in(
        [
            given.get(argument.name)
            for argument in func._schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
    )


def takes_only_a_shape(func: torch._ops.OpOverload) -> bool:
    """Whether an operator takes a shape from its input, and no values."""
    name = func._schema.name
    return name.startswith("aten::new_") or (name.startswith("aten::") and name.endswith("_like"))


def only_allocates(func: torch._ops.OpOverload) -> bool:
    """Whether an operator makes memory without writing to it."""
    return "empty" in func._schema.name or torch.Tag.inplace_view in func.tags
