"""New layers put where a network's blocks call their activations."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Set

from torch import Tensor, fx, nn

from dynact.networks.known import FUNCTIONS, MODULES
from dynact.networks.sites import Call, Observed, Site
from dynact.networks.turns import Turns, leave_to_themselves, meets_functions, take_turns

# Of what holds children that are called one after the other.
_IN_ORDER = nn.Sequential.forward, nn.ModuleList.forward, Turns.forward


def place(
    model: nn.Module,
    observed: Observed,
    made: Mapping[Site, nn.Module],
    overwriting: Set[Site],
    given: Set[Site] = frozenset(),
) -> dict[Site, str]:
    """Put new layers in the place of a network's calls; return why some could not be.

    Parameters
    ----------
    model
        It is changed.
    observed
        Its calls.
    made
        The new layers.
    overwriting
        Of the calls that stay those that have to write to new memory from now on.
    given
        Of the calls that stay those that are to be given to their originals as if they were new.
    """
    by_caller: dict[str, list[Call]] = defaultdict(list)
    for call in (each for each in observed.calls if each.shape):
        by_caller[call.caller].append(call)
    kept: dict[Site, str] = {}
    for path, calls in by_caller.items():
        if not any(call.site in of for call in calls for of in (made, overwriting, given)):
            continue
        block = model.get_submodule(path)
        for call in calls:
            if call.site in made:
                made[call.site].train(block.training)
        if isinstance(block, fx.GraphModule):
            kept |= _place_in_graphs(block, calls, made, overwriting)
        else:
            _place_in_block(block, calls, made, overwriting, given)
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(
            isinstance(layer, nn.TransformerEncoderLayer) and not layer.activation_relu_or_gelu
            for layer in module.layers
        ):
            # Only the fast path takes what this makes of a mask.
            module.use_nested_tensor = False
    # Once all layers are in their places: it is from them that functions are to be told, also those
    # that an earlier swap has met.
    for path, module in model.named_modules():
        if meets_functions(module):
            callees = [model.get_submodule(callee) for callee in observed.callees.get(path, ())]
            leave_to_themselves(module, callees)
    return kept


def _place_in_block(
    block: nn.Module,
    calls: list[Call],
    made: Mapping[Site, nn.Module],
    overwriting: Set[Site],
    given: Set[Site],
) -> None:
    groups: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.child, call.child or call.site.original].append(call)
    places = []
    functions = {}
    for (child, original), group in groups.items():
        new = {call.turn: made[call.site] for call in group if call.site in made}
        written = [call.turn for call in group if call.site in overwriting]
        if child:
            # Of its own: others that call the original may count on what it writes.
            new |= {turn: _not_in_place(block.get_submodule(child)) for turn in written}
        is_given = any(call.site in given for call in group)
        if child and (new or (is_given and group[0].turns > 1)):
            places += _place_child(block, child, group, new)
        elif not child and (new or written or is_given):
            attribute = _free(block, original)
            turns = Turns(new, group[0].turns, frozenset(written))
            block.add_module(attribute, turns.train(block.training))
            functions[original] = attribute
    if places or functions:
        take_turns(block, (*places, *functions.values()), functions)
    if isinstance(block, nn.TransformerEncoderLayer):
        # Or torch's fast path computes the activation that this flag stands for.
        block.activation_relu_or_gelu = 0


def _free(block: nn.Module, name: str) -> str:
    while hasattr(block, name):
        name += "_"
    return name


def _not_in_place(original: nn.Module) -> nn.Module:
    layer = copy.copy(original)
    vars(layer)["inplace"] = False
    return layer


def _place_child(
    block: nn.Module, child: str, group: list[Call], new: dict[int, nn.Module]
) -> list[str]:
    """Return where turns are taken from now on."""
    original, turns = block.get_submodule(child), group[0].turns
    holder = block.get_submodule(child.rpartition(".")[0])
    names = [name for name, found in holder._modules.items() if found is original]
    if turns == 1:
        for name in names:
            holder.set_submodule(name, new[1])
        return []
    if turns == len(names) and type(holder).forward in _IN_ORDER:
        for turn, layer in new.items():
            holder.set_submodule(names[turn - 1], layer)
        return []
    layers = {turn: new.get(turn, original) for turn in range(1, turns + 1)}
    for_all = Turns(layers, turns).train(block.training)
    for name in names:
        holder.set_submodule(name, for_all)
    return [child]


def _place_in_graphs(
    block: fx.GraphModule,
    calls: list[Call],
    made: Mapping[Site, nn.Module],
    overwriting: Set[Site],
) -> dict[Site, str]:
    """Change the code of a module that torch.fx made, which runs as its graph says."""
    graphs = {id(value): value for value in vars(block).values() if isinstance(value, fx.Graph)}
    originals = [call.site.original for call in calls]
    nodes_of = []
    for graph in graphs.values():
        nodes = [node for node in graph.nodes if _original(node, block)]
        if [_original(node, block) for node in nodes] != originals:
            reason = "the graph of torch.fx has other activations than the pass"
            return {call.site: reason for call in calls if call.site in made}
        nodes_of.append(nodes)
    for position, call in enumerate(calls):
        at = [nodes[position] for nodes in nodes_of]
        layer = made.get(call.site)
        if call.site in overwriting and call.child:
            layer = _not_in_place(block.get_submodule(call.child))
        if layer is not None and call.child and call.turns == 1:
            block.set_submodule(call.child, layer)
        elif layer is not None:
            attribute = _free(
                block, f"{call.child or call.site.original}_{call.turn}".replace(".", "_")
            )
            block.add_module(attribute, layer)
            for node in at:
                _call_instead(node, attribute)
        elif call.site in overwriting:
            for node in at:
                _copy_input(node)
    targets = {
        node.target for graph in graphs.values() for node in graph.nodes if node.op == "call_module"
    }
    for child in {call.child for call in calls if call.site in made} - targets - {""}:
        block.delete_submodule(child)
    block.recompile()
    return {}


def _original(node: fx.Node, block: nn.Module) -> str | None:
    """Return which activation a node of a graph calls, if any."""
    if node.op == "call_module":
        return MODULES.get(type(block.get_submodule(str(node.target))))
    if node.op == "call_method":
        return FUNCTIONS.get(getattr(Tensor, str(node.target), None))
    return FUNCTIONS.get(node.target) if node.op == "call_function" else None


def _call_instead(node: fx.Node, attribute: str) -> None:
    with node.graph.inserting_before(node):
        new = node.graph.call_module(attribute, (node.all_input_nodes[0],))
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)


def _copy_input(node: fx.Node) -> None:
    written = node.all_input_nodes[0]
    with node.graph.inserting_before(node):
        copied = node.graph.call_method("clone", (written,))
    node.replace_input_with(written, copied)
