"""Another activation in the place of a network's own."""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, UntypedStorage, fx, nn
from torch.nn import functional

from dynact import activations
from dynact.activations.by_name import build
from dynact.networks.papers import placement
from dynact.networks.sites import FUNCTIONS, MODULES, Call, Site, observe
from dynact.schema.cases import PLACEMENTS
from dynact.schema.choice import choice
from dynact.schema.redact import error_line

Where = str | slice | Callable[[Site], bool]

# Height and width, at most, to try a layer on; as it is made from channels alone, any will do.
PROBE = 8


@dataclass(frozen=True)
class Swap:
    """What became of a site."""

    site: Site
    activation: str
    """What is called there now."""
    kept_because: str = ""
    """Why it is still the original; empty where it is not."""


def swap_activations(
    model: nn.Module,
    name: str,
    where: Where = "all",
    *,
    example_input: Tensor | list[Tensor],
    impl: str = activations.REFERENCE,
    **options: object,
) -> tuple[nn.Module, list[Swap]]:
    """Put an activation in the place of a network's own, each call with a layer of its own.

    The new network has the given one's classes, values and names of parameters and buffers; only
    the activations' differ. New layers draw their weights from torch's global generator: with
    the same seed before, they are the same. A block that calls one module several times, or a
    function, gets its forward as torch.fx traces it; so it works where torch.fx cannot trace the
    network as a whole, as it cannot a detector.

    Originals that stay are left as they are, save that none writes into the input or output of a
    new one, which may need it for its backward pass; a block that does so by a function, and that
    torch.fx cannot trace, gets no new ones. A network has to use what its activations return, not
    what they write in place. With a block that got its forward here, the new network cannot be
    pickled whole; its state_dict can.

    Parameters
    ----------
    model
        Any network; it is not changed.
    name
        A name of the registry, or ``"pkg.mod:Class"``.
    where
        Which of `find_sites(model, example_input)`: "all"; "paper" or "official", see
        `papers.placement`; a function of a site; or a slice of the list.
    example_input
        The network's one argument, on its device. Its size does not matter, but for the heights
        and widths in the table.
    impl
        Which implementation of it, see `dynact.activations.implementations`.
    **options
        What the layer of the registry takes, such as reduction=8 for "dyrelu_b".

    Returns
    -------
    tuple
        The new network, and what became of each site, in the order of the pass. A site keeps its
        activation if it is not selected, has an obstacle, or the new layer does not take its
        input, as a spatial one does not that of a fully connected layer.

    Raises
    ------
    ValueError
        If the network does not run on the example, there is no such activation or option, a
        user's own layer cannot be made at a site, or there is nothing to replace.
    PlacementError
        If neither the paper nor its code has the activation in such a network; a ValueError too.
    """
    calls = observe(model, example_input)
    selected = _selected(where, [call.site for call in calls], name, model)
    swapped = copy.deepcopy(model)
    made: dict[Site, nn.Module] = {}
    kept: dict[Site, str] = {}
    for call in calls:
        site = call.site
        reason = site.obstacle or ("" if site in selected else "not selected")
        if not reason:
            made[site] = _make(name, impl, call, options)
            reason = _refusal(made[site], call)
        if reason:
            kept[site] = reason
            made.pop(site, None)
    overwriting = _overwriting(made, calls)
    for path in dict.fromkeys(c.caller for c in calls if c.site in made or c.site in overwriting):
        of_caller = [call for call in calls if call.caller == path]
        reason = _place(swapped.get_submodule(path), of_caller, made, overwriting)
        if reason:
            kept |= {call.site: reason for call in of_caller if call.site in made}
    table = [
        Swap(site, site.original, kept[site]) if site in kept else Swap(site, name)
        for site in (call.site for call in calls)
    ]
    if len(kept) == len(calls):
        first = next(swap for swap in table if swap.site in selected)
        raise ValueError(
            f"{name!r} cannot be placed anywhere; {first.site.name}: {first.kept_because}"
        )
    return swapped, table


def _selected(where: Where, sites: list[Site], name: str, model: nn.Module) -> set[Site]:
    if not sites:
        raise ValueError("the network calls no activation that torch knows")
    if isinstance(where, slice):
        selected = set(sites[where])
    elif callable(where):
        selected = {site for site in sites if where(site)}
    elif choice("where", where, PLACEMENTS) == "all":
        selected = set(sites)
    else:
        selected = set(filter(placement(name, where, model), sites))
    if not selected:
        ends = f"{sites[0].name} … {sites[-1].name}"
        raise ValueError(f"where selects none of the {len(sites)} activation calls: {ends}")
    return selected


def _make(name: str, impl: str, call: Call, options: dict[str, object]) -> nn.Module:
    site = call.site
    if options or ":" not in name + impl:
        layer = activations.create(name, site.channels, impl, **options)
    else:
        try:
            layer = build(name, site.channels, impl)
        except Exception as error:
            raise ValueError(
                f"activation {name!r} at {site.name} ({site.channels} channels): "
                f"{error_line(error)}"
            ) from None
    return layer.to(call.device, call.dtype)


def _refusal(layer: nn.Module, call: Call) -> str:
    """Ask a new layer why it cannot stand at a site; empty where it can."""
    site = call.site
    size = [min(side, PROBE) for side in (site.height, site.width) if side is not None]
    x = torch.zeros(1, site.channels, *size, device=call.device, dtype=call.dtype)
    try:
        with torch.no_grad():
            y = layer.eval()(x)
    except Exception as error:
        return error_line(error)
    if not isinstance(y, Tensor) or y.shape != x.shape:
        return f"the new layer does not keep the input's shape, {tuple(x.shape)}"
    return ""


def _overwriting(made: Mapping[Site, nn.Module], calls: list[Call]) -> set[Site]:
    """Return the originals that stay and write into the input or output of a new layer."""
    of_new = frozenset[UntypedStorage]().union(
        *(call.memory for call in calls if call.site in made)
    )
    return {
        call.site
        for call in calls
        if call.site not in made and call.writes_in_place and call.memory & of_new
    }


def _place(
    caller: nn.Module, calls: list[Call], made: Mapping[Site, nn.Module], overwriting: set[Site]
) -> str:
    """Put new layers in the place of a module's calls; return why not, or nothing."""
    new = [call for call in calls if call.site in made]
    for call in new:
        made[call.site].train(caller.training)
    in_forward = [call for call in calls if call.site in overwriting and not call.child]
    for call in calls:
        if call.site in overwriting and call.child:
            original: Any = caller.get_submodule(call.child)
            original.inplace = False
    if not in_forward and all(call.is_only_call for call in new):
        for call in new:
            caller.set_submodule(call.child, made[call.site])
        return ""
    try:
        graph = _traced(caller)
        nodes = [node for node in graph.nodes if _original(node, caller)]
        if [_original(node, caller) for node in nodes] != [call.site.original for call in calls]:
            raise ValueError("the trace has other activations than the pass")
    except Exception as error:
        return f"torch.fx cannot trace {type(caller).__name__}: {error_line(error)}"
    for node, call in zip(nodes, calls, strict=True):
        if call.site in made:
            _replace(node, caller, call, made[call.site])
        elif call in in_forward:
            _stop_writing(node)
    _set_forward(caller, graph)
    called = {node.target for node in graph.nodes if node.op == "call_module"}
    for child in {call.child for call in new} - called - {""}:
        holder, _, attribute = child.rpartition(".")
        delattr(caller.get_submodule(holder), attribute)
    return ""


class _OneForward(fx.Tracer):
    """Traces a module's own forward; whatever module that calls stays a call."""

    def is_leaf_module(self, _module: nn.Module, _path: str) -> bool:
        return True


def _traced(caller: nn.Module) -> fx.Graph:
    graphs = []
    for training in (True, False):
        # A copy that shares its children: a trace leaves constants behind.
        module = copy.copy(caller)
        module.training = training
        graphs.append(_OneForward().trace(module))
    # What a trace cannot follow it takes as constant.
    if str(graphs[0]) != str(graphs[1]):
        raise ValueError("its forward depends on train or eval mode")
    if any(str(node.target).startswith("_tensor_constant") for node in graphs[0].nodes):
        raise ValueError("its forward makes a tensor of its own")
    return graphs[0]


def _original(node: fx.Node, caller: nn.Module) -> str | None:
    """Return which activation a node of a trace calls, if any."""
    if node.op == "call_module":
        return MODULES.get(type(caller.get_submodule(str(node.target))))
    if node.op == "call_method":
        return FUNCTIONS.get(getattr(Tensor, str(node.target), None))
    return FUNCTIONS.get(node.target) if node.op == "call_function" else None


def _replace(node: fx.Node, caller: nn.Module, call: Call, layer: nn.Module) -> None:
    if call.is_only_call:
        caller.set_submodule(call.child, layer)
        return
    attribute = re.sub(r"\W", "_", call.site.name.removeprefix(f"{call.caller}."))
    while hasattr(caller, attribute):
        attribute += "_"
    caller.add_module(attribute, layer)
    with node.graph.inserting_before(node):
        new = node.graph.call_module(attribute, (node.all_input_nodes[0],))
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)


def _stop_writing(node: fx.Node) -> None:
    """Have a function return a new tensor in place of writing into its input."""
    if "inplace" in node.kwargs:
        node.update_kwarg("inplace", False)
    elif node.op == "call_method":
        node.target = str(node.target).removesuffix("_")
    else:
        node.target = getattr(functional, FUNCTIONS[node.target])


def _set_forward(module: nn.Module, graph: fx.Graph) -> None:
    # In a class of its own, derived from the module's: whoever asks for a Bottleneck, or for its
    # attributes, hooks or items, still finds them. A GraphModule would have lost them.
    forward = type(fx.GraphModule(module, graph)).forward
    base = type(module)
    members = {"__module__": base.__module__, "forward": forward}
    module.__class__ = type(base.__name__, (base,), members)
