"""What the layers ask of their options and inputs; every refusal is a one-line ValueError."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def positive_integer(name: str, value: object) -> int:
    """Return `value` where it is an int above zero; a bool or a float is refused."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return value


def odd_integer(name: str, value: object) -> int:
    """Return `value` where it is a positive odd int."""
    integer = positive_integer(name, value)
    if integer % 2 == 0:
        raise ValueError(f"{name} must be odd to keep the input's size, got {value!r}")
    return integer


def positive_number(name: str, value: object) -> float:
    """Return `value` as a float where it is a finite number above zero."""
    number = finite_number(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return number


def finite_number(name: str, value: object) -> float:
    """Return `value` as a float where it is a finite int or float."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


_SPATIAL = {2: "", 3: ", L", 4: ", H, W"}


def check_input(x: "torch.Tensor", channels: int, dims: tuple[int, ...] = (4,)) -> None:
    """Refuse an input with another number of channels or of dimensions than a layer was built for.

    Without it a wrong input often broadcasts in silence.
    """
    if x.dim() not in dims or x.shape[1] != channels:
        shapes = " or ".join(f"(N, {channels}{_SPATIAL[dim]})" for dim in dims)
        raise ValueError(f"input must be of shape {shapes}, got {tuple(x.shape)}")
