"""Classes that one module alone is of."""

from typing import Any

from torch import nn


def derived(name: str, bases: tuple[Any, ...], members: dict[str, Any]) -> Any:
    """Return a class derived from a module's.

    Raises
    ------
    ValueError
        If its objects hold more than a module's do.
    """
    kind = type(bases[0])(name, (nn.Module,), members)
    # Not at once: a base that keeps a list of its subclasses, or wants arguments of them, is not to
    # know of this one.
    try:
        kind.__bases__ = bases
    except TypeError:
        raise ValueError(
            f"no class can be derived from {name} as it is: it has __slots__"
        ) from None
    return kind


def another(kind: Any, *bases: Any) -> Any:
    """Return a class with the members of one, derived from these."""
    own = ("__dict__", "__weakref__")
    return derived(kind.__name__, bases, {k: v for k, v in vars(kind).items() if k not in own})
