"""Masks as numbers."""

import torch
from torch import Tensor


def is_positive(x: Tensor) -> Tensor:
    """Return 1 where x > 0, and 0 elsewhere.

    A number and not a boolean: generated code on a CPU stores masks that it needs twice, and
    storing booleans takes ten times as long as all the rest (torch 2.14.1).
    """
    largest = torch.finfo(x.dtype).max
    # Twice: once does not lift the smallest of all numbers to 1.
    return ((x * largest).clamp(-1, 1) * largest).clamp(0, 1)
