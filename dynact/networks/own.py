"""A network and its inputs by their places in the user's own code."""

import ast
import functools
import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dynact.activations.user_code import PLACE, check_place, find
from dynact.schema.redact import error_line, without_paths

if TYPE_CHECKING:
    from torch import nn

    from dynact.networks.passes import Example

_FACTORY = re.compile(rf"({PLACE.pattern})(?:\((.*)\))?", re.DOTALL)


def parse_factory(name: str) -> tuple[str, dict[str, Any]]:
    """Return the place of a network's factory, and what it is called with.

    Parameters
    ----------
    name
        ``"pkg.mod:factory"`` or ``"pkg.mod:factory(key=value, …)"``, with literals for values.

    Raises
    ------
    ValueError
        If it is neither: one line.
    """
    match = _FACTORY.fullmatch(name.strip())
    if not match:
        raise ValueError(
            f"a network of your own is PKG.MOD:FACTORY or PKG.MOD:FACTORY(key=value, …), got "
            f"{name!r}"
        )
    place, arguments = match.groups()
    check_place(place, "a network of your own")
    try:
        call = ast.parse(f"factory({arguments or ''})", mode="eval").body
    except SyntaxError:
        raise ValueError(f"{name}: what is in brackets is not key=value, …") from None
    if not isinstance(call, ast.Call) or call.args or any(not k.arg for k in call.keywords):
        raise ValueError(f"{name}: name each argument, as in width=2")
    keys = [str(k.arg) for k in call.keywords]
    if len({*keys}) < len(keys):
        raise ValueError(f"{name}: name each argument once")
    values = [_literal(name, k.value) for k in call.keywords]
    return place, dict(zip(keys, values, strict=True))


def usual_name(name: str) -> str:
    """Return how a network of `parse_factory` is written, whatever the blanks, quotes and order.

    Raises
    ------
    ValueError
        If it is none, or an argument is a path from the root or from home, which what is published
        would tell: one line.
    """
    place, arguments = parse_factory(name)
    if not arguments:
        return place
    said = f"{place}({', '.join(f'{key}={value!r}' for key, value in sorted(arguments.items()))})"
    if without_paths(said) != said:
        raise ValueError(
            f"{said}: the folders would stand in what is published; name the file from the current "
            "folder on"
        )
    return said


def _literal(name: str, value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        said = ast.unparse(value)
        raise ValueError(
            f"{name}: {said} is no literal of Python's; a text is quoted, {said!r}"
        ) from None


def build(name: str) -> "nn.Module":
    """Call a factory, a function or a class, and return the network that it makes.

    It draws the same random numbers each time, from torch, NumPy and Python alike: each process of
    a sweep has the same network.

    Raises
    ------
    ValueError
        If it is not to be found, does not take such arguments, fails, or makes something else.
    """
    from torch import nn

    from dynact.networks.passes import same_random_numbers

    place, arguments = parse_factory(name)
    with same_random_numbers(seed=0):
        factory = find(place)
        try:
            inspect.signature(factory).bind(**arguments)
        except TypeError as error:
            takes = inspect.signature(factory)
            raise ValueError(f"{name}: {error}; it takes {takes}") from None
        network = _called(name, functools.partial(factory, **arguments))
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"{name} makes a value of type {type(network).__name__}, not a torch.nn.Module"
        )
    return network


def example(place: str, batch: int) -> "Example":
    """Return the inputs that the user's function makes, the same each time.

    Raises
    ------
    ValueError
        If there is no such function, it fails, or makes no tensor, nor a tuple or dict of several.
    """
    import torch

    from dynact.networks.passes import same_random_numbers

    with same_random_numbers(seed=0):
        make = find(place)
        made = _called(f"{place}, called with a batch of {batch},", lambda: make(batch))
    if not isinstance(made, torch.Tensor | tuple | dict) or (
        isinstance(made, dict) and not all(isinstance(key, str) for key in made)
    ):
        raise ValueError(
            f"{place} makes a value of type {type(made).__name__}; a network takes a tensor, a "
            "tuple of several inputs, or a dict of them by name"
        )
    return made


def _called(what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{what} fails: {error_line(error)}") from error
