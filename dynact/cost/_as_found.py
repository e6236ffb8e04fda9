"""A pass of a module that leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def as_found(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode without gradients, and leave it as it was."""
    training = {m: m.training for m in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    hooks = [
        (table, {*table}) for m in training for table in (m._forward_pre_hooks, m._forward_hooks)
    ]
    try:
        module.eval()
        # Or a TransformerEncoderLayer is one operator.
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for m, flag in training.items():
            m.training = flag
        # fvcore leaves its hooks behind when a trace raises.
        for table, before in hooks:
            for key in {*table} - before:
                del table[key]
