"""A new layer that can stand at a site, and does there what it does on maps."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dynact import activations
from dynact.activations.by_name import build
from dynact.networks.passes import same_random_numbers
from dynact.networks.sites import UNKNOWN_CHANNELS, Call
from dynact.schema.redact import error_line

# Of each dimension but the channels', at most, to try a layer on; as it is made from channels
# alone, any will do.
PROBE = 8


def fitted(name: str, impl: str, call: Call, options: dict[str, object]) -> nn.Module | str:
    """Return a new layer that can stand at a site, or why none can."""

    def make(channels: int) -> nn.Module:
        if options or ":" not in name + impl:
            return activations.create(name, channels, impl, **options)
        return build(name, channels, impl)

    channels = call.site.channels
    try:
        if channels == 0 or call.channel_dim != 1 or call.batch_comes_first is False:
            with same_random_numbers([call.device]):
                per_element = _is_per_element(make, call)
            if not per_element and channels == 0:
                return f"{UNKNOWN_CHANNELS}: its input is of shape {call.shape}"
        else:
            per_element = True
        layer = make(channels or 1)
        if not per_element and call.batch_comes_first is False:
            return "its samples are not the first dimension of its input"
        # Where channels come second, as after a convolution, the samples are first by definition.
        if not per_element and call.batch_comes_first is None and call.channel_dim != 1:
            return "unknown which dimension its samples are: twice the example's batch does not run"
        if not per_element and call.channel_dim != 1:
            if call.channel_dim != len(call.shape) - 1:
                return f"its channels are dimension {call.channel_dim} of its input"
            layer = ChannelsLast(layer)
        layer = layer.to(call.device, call.dtype)
        with same_random_numbers([call.device]):
            return _refusal(layer, call) or layer
    except Exception as error:
        return error_line(error)


class ChannelsLast(nn.Module):
    """A layer for maps (N, C, …) among tensors (N, …, C)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer makes of x (N, …, C), of the same shape."""
        y: Tensor = self.layer(x.movedim(-1, 1))
        return y.movedim(1, -1)


def bare(layer: nn.Module) -> nn.Module:
    """Return the layer that takes maps (N, C, …), of one that `fitted` made."""
    return layer.layer if isinstance(layer, ChannelsLast) else layer


def _is_per_element(make: Callable[[int], nn.Module], call: Call) -> bool:
    """Whether a layer does the same to each element, wherever it is, of any number of channels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_probe_shape(call), generator=generator)
    order = torch.randperm(x.numel(), generator=generator)
    try:
        one, two = make(1).eval(), make(2).eval()
        shapes = [[x.shape for x in layer.state_dict().values()] for layer in (one, two)]
        if shapes[0] != shapes[1]:
            return False
        with torch.no_grad():
            y = one(x)
            shuffled = one(x.flatten()[order].reshape(x.shape))
    except Exception:
        return False
    return y.shape == x.shape and torch.equal(shuffled.flatten(), y.flatten()[order])


def _probe_shape(call: Call) -> list[int]:
    channels = call.site.channels
    return [
        channels if channels and dim == call.channel_dim else min(side, PROBE if dim else 1)
        for dim, side in enumerate(call.shape)
    ]


def _refusal(layer: nn.Module, call: Call) -> str:
    """Ask a new layer why it cannot stand at a site; empty where it can."""
    # One like it: what a layer sets up at its first call is for its own input to say.
    tried = copy.deepcopy(layer).eval()
    x = torch.zeros(_probe_shape(call), device=call.device, dtype=call.dtype)
    with torch.no_grad():
        try:
            y = tried(x)
        except Exception:
            if not _takes_maps(layer, call):
                raise
            return f"the new layer takes maps (N, C, H, W), its input is {_in_letters(call)}"
    if not isinstance(y, Tensor) or y.shape != x.shape:
        return f"the new layer does not keep the input's shape, {tuple(x.shape)}"
    if y.dtype != x.dtype:
        return f"the new layer makes {y.dtype} of {x.dtype}"
    return ""


def _takes_maps(layer: nn.Module, call: Call) -> bool:
    """Whether a new layer runs on maps, where a site has something else."""
    if len(call.shape) == 4:
        return False
    maps = torch.zeros((1, call.site.channels, PROBE, PROBE), device=call.device, dtype=call.dtype)
    try:
        copy.deepcopy(bare(layer)).eval()(maps)
    except Exception:
        return False
    return True


def _in_letters(call: Call) -> str:
    """Return the shape of a site's input, (N, L, C) or (N, C, T, H, W), whatever its sizes."""
    positions = {0: [], 1: ["L"], 2: ["H", "W"], 3: ["T", "H", "W"]}
    others = len(call.shape) - 2
    letters = ["N", *positions.get(others, ["…"])]
    letters.insert(1 if call.channel_dim == 1 else len(letters), "C")
    return f"({', '.join(letters)})"
