"""A layer by its name: of the registry, or of a class of the user's."""

import importlib
import inspect

from torch import nn

from dynact import activations


def build(name: str, channels: int) -> nn.Module:
    """Return a new layer: of the registry, or of the user's class ``"pkg.mod:Class"``.

    A user's class is called with the channels if it has a parameter of that name or a first
    parameter without a default, and with nothing otherwise.

    Raises
    ------
    ValueError
        If the registry has no such name, or the class is not an ``nn.Module``.
    ImportError, AttributeError
        If there is no such module or class.
    """
    if ":" not in name:
        return activations.create(name, channels)
    module_name, _, class_name = name.partition(":")
    layer_class = getattr(importlib.import_module(module_name), class_name)
    parameters = list(inspect.signature(layer_class).parameters.values())
    if any(parameter.name == "channels" for parameter in parameters):
        layer = layer_class(channels=channels)
    elif parameters and _is_required(parameters[0]):
        layer = layer_class(channels)
    else:
        layer = layer_class()
    if not isinstance(layer, nn.Module):
        raise ValueError(f"{name} makes a {type(layer).__name__}, not a torch.nn.Module")
    return layer


def _is_required(parameter: inspect.Parameter) -> bool:
    positional = (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind in positional
