"""Another activation in the place of a network's own."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dynact import activations
from dynact.activations.user_code import find
from dynact.networks.copies import in_copies
from dynact.networks.fitting import bare, fitted
from dynact.networks.known import LISTS, MODULES
from dynact.networks.papers import placement
from dynact.networks.passes import Example, call_with, copied, fresh
from dynact.networks.placing import place
from dynact.networks.rehearsal import is_same, rehearse
from dynact.networks.sites import Call, Site, observe
from dynact.schema.choice import choice
from dynact.schema.placement import PLACEMENTS, SITES, numbers_placed
from dynact.schema.redact import error_line

Where = str | slice | Callable[[Site], bool]
Names = str | Mapping[str, str]


@dataclass(frozen=True)
class Swap:
    """What became of a site."""

    site: Site
    activation: str
    """What is called there now."""
    kept_because: str = ""
    """Why it is still the original; empty where it is not."""
    layer: nn.Module | None = field(default=None, compare=False, repr=False)
    """The new layer (of images N, C, H, W), a part of the new network; None if it was kept."""


def swap_activations(
    model: nn.Module,
    name: Names,
    where: Where = "all",
    *,
    example_input: Example,
    impl: str = activations.REFERENCE,
    **options: object,
) -> tuple[nn.Module, list[Swap]]:
    """Put an activation in the place of a network's own, each call with a layer of its own.

    The new network has the given one's code, values and names of parameters and buffers; only the
    activations' differ. New layers draw their weights from torch's global generator: with
    the same seed before, they are the same. They have the type and device of the parameters around
    them. In parts that are copies of each other, bit for bit, such as a teacher that deepcopy made
    of its student, they are copies too; in one that is frozen beside one that is not, frozen.

    Each block's own forward runs as it is. An activation that it calls several times becomes
    `Turns`, which hand its k-th call to the k-th layer; those that it calls as functions are met
    by a TorchFunctionMode while it runs, for which the block gets a class derived from its own. So
    a block may not call an activation more often than on the example, nor run in two threads at
    once: both raise RuntimeError. One that leaves calls out by chance gives those that follow the
    layers before theirs. A forward that is put into a block later, as in ``block.forward = …``,
    takes its turns too; what a block makes of ``type(self)`` is of its original class, with none.
    Outside of the block's forward, as in another method of it, `Turns` raise RuntimeError and a
    function is the original, as it is in a scripted function or another thread.

    The network is tried some five times, as copies and on copies of the example. The user's hooks
    and code run in each of them: what these write to outside of the network, as a list or a file,
    gets entries of those passes too.

    Activations of the registry have its defaults, so one in its own place may change what that was
    made with, as a slope. Originals that stay are left as they are, save that none writes into the
    input or output of a new one, which may need it for its backward pass.

    Parameters
    ----------
    model
        Any network; it is not changed.
    name
        A name of the registry, or ``"pkg.mod:Class"``; or what takes the place of what, as in
        ``{"silu": "frelu", "relu": "dyrelu_b"}``.
    where
        Which of `find_sites(model, example_input)`: "all"; "paper" or "official", see
        `papers.placement`; "sites:1-3+7", by their numbers from 1; a function of a site; or a
        slice of the list.
    example_input
        The network's one argument, on its device; a tuple of several, or a dict of them by name.
        Its size does not matter, but for the heights and widths in the table.
    impl
        Which implementation of it, see `dynact.activations.implementations`.
    **options
        What the layer of the registry takes, such as reduction=8 for "dyrelu_b".

    Returns
    -------
    tuple
        The new network, and what became of each site, in the order of the pass. A site keeps its
        activation if it is not selected, has an obstacle, or the new layer cannot be made there
        or does not take its input, as a spatial one does not that of a fully connected layer;
        and if a trial of the new network shows that the layer is not called as the original was.

    Raises
    ------
    ValueError
        If the network does not run on the example, cannot be copied, or is compiled or scripted;
        if there is no such activation or option, nothing to replace, or the network does not call
        what is to be replaced.
    PlacementError
        If neither the paper nor its code has the activation in such a network; a ValueError too.
    """
    swapped, _, swaps = swap_to_compare(
        model, name, where, example_input=example_input, impl=impl, **options
    )
    return swapped, swaps


def swap_to_compare(
    model: nn.Module,
    name: Names,
    where: Where = "all",
    *,
    example_input: Example,
    impl: str = activations.REFERENCE,
    **options: object,
) -> tuple[nn.Module, nn.Module, list[Swap]]:
    """Return what `swap_activations` does and, second, what to time the new network against.

    That is a copy of the given one, in which the same calls are given to its own activations in
    the same way: some 10 µs each of a small network's time are none of the new layers'.
    """
    for new in _new(name):
        _check_known(new, impl)
    model = _materialised(model, example_input)
    observed = observe(model, example_input)
    calls = observed.calls
    selected = _wanted(name, where, [call.site for call in calls], model)
    made: dict[Site, nn.Module] = {}
    kept: dict[Site, str] = {}
    for call in calls:
        site = call.site
        new = selected.get(site, "")
        reason = site.obstacle or (activations.obstacle_in_networks(new) if new else "not selected")
        if not reason:
            layer = fitted(new, impl, call, options)
            if isinstance(layer, nn.Module):
                made[site] = layer
            else:
                reason = layer
        if reason:
            kept[site] = reason
    for group in in_copies(model, [call for call in calls if call.site in made]):
        _make_equal(group, made)
    while True:
        while unfit := _unfit(model, calls, made):
            kept |= unfit
            made = {site: layer for site, layer in made.items() if site not in unfit}
        swapped = copied(model)
        kept |= place(swapped, observed, made, _overwriting(made, calls))
        made = {site: layer for site, layer in made.items() if site not in kept}
        failing = rehearse(swapped, calls, made, example_input)
        if not failing:
            break
        kept |= failing
        made = {site: layer for site, layer in made.items() if site not in failing}
    table = [
        Swap(site, site.original, kept[site])
        if site in kept
        else Swap(site, selected[site], layer=bare(made[site]))
        for site in (call.site for call in calls)
    ]
    if len(kept) == len(calls):
        first = next(swap for swap in table if swap.site in selected)
        raise ValueError(
            f"{selected[first.site]!r} cannot be placed anywhere; "
            f"{first.site.name}: {first.kept_because}"
        )
    baseline = copied(model)
    place(baseline, observed, {}, frozenset(), made.keys())
    originals = {
        baseline.get_submodule(f"{call.caller}.{call.child}".strip("."))
        for call in calls
        if call.child and call.site in made
    }
    changed = [module for module in originals if type(module) in MODULES]
    if not is_same(model, baseline, changed, example_input):
        raise ValueError(
            "the network makes another output where its own activations are only handed to its "
            "blocks, as where code looks at the type of a block or an activation; it cannot be "
            "swapped"
        )
    return swapped, baseline, table


def _check_known(name: str, impl: str) -> None:
    """Raise ValueError if there is no such activation or implementation."""
    if ":" not in name:
        activations.activation(name)
        if ":" not in impl:
            choice(f"implementation of {name}", impl, activations.implementations(name))
    for own in (name, impl):
        if ":" in own:
            find(own)


def _materialised(model: nn.Module, example_input: Example) -> nn.Module:
    """Return a network whose parameters have shapes; a copy of one where some have none."""
    if not any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        return model
    network = copied(model)
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            call_with(network, fresh(example_input))
    except Exception as error:
        raise ValueError(f"the network fails on the example input: {error_line(error)}") from error
    for module, training in modes.items():
        module.training = training
    return network


def _new(name: Names) -> list[str]:
    return [name] if isinstance(name, str) else list(dict.fromkeys(name.values()))


def _wanted(name: Names, where: Where, sites: list[Site], model: nn.Module) -> dict[Site, str]:
    """Return what is to take the place of each site that is selected."""
    if not name:
        raise ValueError("no activation is named to take the place of another")
    if not sites:
        known = ", ".join(sorted(set(MODULES.values())))
        raise ValueError(f"the network calls none of the activations that torch knows: {known}")
    called = sorted({site.original for site in sites})
    if isinstance(name, str):
        by_original = dict.fromkeys(called, name)
    else:
        by_original = dict(name)
        for original in name:
            if original not in called:
                raise ValueError(f"the network calls no {original!r}; it calls {', '.join(called)}")
    wanted = {
        site: new
        for new in _new(name)
        for site in _selected(where, sites, new, model)
        if by_original.get(site.original) == new
    }
    if not wanted:
        raise ValueError(f"where selects no call of {', '.join(by_original)}")
    return wanted


def _selected(where: Where, sites: list[Site], name: str, model: nn.Module) -> set[Site]:
    if isinstance(where, slice):
        selected = set(sites[where])
    elif callable(where):
        selected = {site for site in sites if where(site)}
    elif where.startswith(SITES):
        numbers = numbers_placed(where)
        if numbers[-1] > len(sites):
            raise ValueError(
                f"{where} names call {numbers[-1]}, and the network makes {len(sites)} of "
                "activations"
            )
        selected = {sites[number - 1] for number in numbers}
    elif choice("where", where, (*PLACEMENTS, f"{SITES}1-3+7")) == "all":
        selected = set(sites)
    else:
        selected = set(filter(placement(name, where, model), sites))
    if not selected:
        ends = f"{sites[0].name} … {sites[-1].name}"
        raise ValueError(f"where selects none of the {len(sites)} activation calls: {ends}")
    return selected


def _make_equal(group: Mapping[Site, nn.Module], made: dict[Site, nn.Module]) -> None:
    """Have the new layers at sites in copies of a part start equal, as all else in them does."""
    first, *others = group
    for site in others:
        made[site] = copy.deepcopy(made[first])
    # As a teacher's, beside a student's that learn.
    frozen = [
        site for site, part in group.items() if not any(p.requires_grad for p in part.parameters())
    ]
    if len(frozen) < len(group):
        for site in frozen:
            made[site].requires_grad_(False)


def _unfit(model: nn.Module, calls: list[Call], made: Mapping[Site, nn.Module]) -> dict[Site, str]:
    """Return the new sites that cannot go with the calls that stay, and why."""
    stay = {(c.caller, c.child) for c in calls if c.child and c.site not in made and c.turns > 1}
    in_lists = {
        call.written
        for call in calls
        if call.site not in made
        and not call.child
        and isinstance(model.get_submodule(call.caller), LISTS)
    }
    unfit = {}
    for call in (each for each in calls if each.site in made):
        if (call.caller, call.child) in stay and (
            model.get_submodule(call.caller).get_submodule(call.child).state_dict()
        ):
            unfit[call.site] = "its parameters are also those of a call that stays"
        elif any(memory in in_lists for memory in call.memory):
            unfit[call.site] = "a function in a list of layers writes into what it needs"
    return unfit


def _overwriting(made: Mapping[Site, nn.Module], calls: list[Call]) -> set[Site]:
    """Return the originals that stay and write into the input or output of a new layer."""
    of_new = {memory for call in calls if call.site in made for memory in call.memory}
    return {call.site for call in calls if call.site not in made and call.written in of_new}
