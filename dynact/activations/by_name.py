"""A layer by its names: of the registry, or of a class of the user's."""

import inspect

from torch import nn

from dynact import activations
from dynact.activations.user_code import find


def build(name: str, channels: int, impl: str = activations.REFERENCE) -> nn.Module:
    """Return a new layer: of the registry, or of the user's class ``"pkg.mod:Class"``.

    A user's class is called with the channels if it has a parameter of that name or a first
    parameter without a default, and with nothing otherwise.

    Parameters
    ----------
    name
        An activation of the registry, or a user's class.
    channels
        C.
    impl
        One of `activations.implementations(name)`, or a user's class that does the same.

    Raises
    ------
    ValueError
        If the registry has no such name or implementation, there is no such module or class, or
        it makes no ``nn.Module``.
    """
    place = impl if ":" in impl else name
    if ":" not in place:
        return activations.create(name, channels, impl)
    layer_class = find(place)
    parameters = list(inspect.signature(layer_class).parameters.values())
    if any(parameter.name == "channels" for parameter in parameters):
        layer = layer_class(channels=channels)
    elif parameters and _is_required(parameters[0]):
        layer = layer_class(channels)
    else:
        layer = layer_class()
    if not isinstance(layer, nn.Module):
        raise ValueError(f"{place} makes a {type(layer).__name__}, not a torch.nn.Module")
    return layer


def _is_required(parameter: inspect.Parameter) -> bool:
    positional = (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind in positional
