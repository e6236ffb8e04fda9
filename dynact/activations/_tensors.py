"""Tensor steps that several layers share."""

import torch


def spatial_mean(x: torch.Tensor) -> torch.Tensor:
    """Global average pooling: the mean of (N, C, …) over all but N and C; (N, C) is its own."""
    # An empty list of dimensions would mean all of them to torch.
    return x.mean(dim=tuple(range(2, x.dim()))) if x.dim() > 2 else x


def in_dtype_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return y in x's dtype, which autocast may have made wider or narrower."""
    # A cast that changes nothing would still count as an operator wherever operators are counted.
    return y if y.dtype == x.dtype else y.to(x.dtype)


def per_channel(parameter: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return a parameter (C) in x's dtype, to broadcast over x, (N, C, …)."""
    return in_dtype_of(x, parameter).reshape(-1, *(1,) * (x.dim() - 2))


def is_channels_last(x: torch.Tensor) -> bool:
    """Whether x is 4-D and laid out channels_last only (C = 1 or H = W = 1 can be both)."""
    return (
        x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )
