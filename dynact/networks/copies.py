"""Calls in parts of a network that are copies of each other, as a teacher's of its student."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dynact.networks.sites import Call, Site


def in_copies(model: nn.Module, calls: Iterable[Call]) -> list[dict[Site, nn.Module]]:
    """Return which calls are the same in copies of a part, each with that copy.

    The part of a call is the innermost around it that has a parameter of several values, as random
    ones have; a copy has the same class and parameters, bit for bit. A call without such is in no
    group.
    """
    groups: dict[object, list[dict[Site, nn.Module]]] = defaultdict(list)
    for call in calls:
        path = _part(model, call.caller)
        if not path:
            continue
        part = model.get_submodule(path)
        within = call.caller.removeprefix(path), call.child, call.site.original, call.turn
        of_same = groups[type(part), within, call.site.channels]
        for group in of_same:
            if _are_equal(part, next(iter(group.values()))):
                group[call.site] = part
                break
        else:
            of_same.append({call.site: part})
    return [group for of_same in groups.values() for group in of_same if len(group) > 1]


def _part(model: nn.Module, path: str) -> str:
    """Return the path of a call's part; empty where that is the whole network."""
    while path and not any(map(_varies, model.get_submodule(path).parameters())):
        path = path.rpartition(".")[0]
    return path


def _varies(x: Tensor) -> bool:
    return _is_readable(x) and x.numel() > 1 and bool((x != x.flatten()[0]).any())


def _is_readable(x: Tensor) -> bool:
    return x.layout == torch.strided and not x.is_meta


def _are_equal(part: nn.Module, other: nn.Module) -> bool:
    ours, theirs = dict(part.named_parameters()), dict(other.named_parameters())
    return ours.keys() == theirs.keys() and all(
        (x.device, x.dtype) == (y.device, y.dtype)
        and _is_readable(x)
        and _is_readable(y)
        and torch.equal(x, y)
        for x, y in ((ours[name], theirs[name]) for name in ours)
    )
