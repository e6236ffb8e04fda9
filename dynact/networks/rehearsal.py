"""A look at whether new layers are called where the originals were."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from traceback import walk_tb
from typing import Any

from torch import Tensor, nn

from dynact.cost import tensors_in
from dynact.networks.passes import Example, doubled, run_pass
from dynact.networks.sites import Call, Site
from dynact.schema.redact import error_line


class _StandIn(nn.Module):
    """Stands for a new layer, and notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[int, ...]] = []
        self.is_by_name = False

    def forward(self, *args: Tensor, **by_name: Tensor) -> Tensor:
        x = (*args, *by_name.values())[0]
        self.met.append(tuple(x.shape[1:]))
        self.is_by_name |= not args
        return x.clone()


def rehearse(
    model: nn.Module, calls: list[Call], made: Mapping[Site, nn.Module], example_input: Example
) -> dict[Site, str]:
    """Run a network with stand-ins for its new layers; return why some cannot stay.

    A layer is to be called once, with an input of its site's shape. Where a hook calls activations
    it is not: that is done outside of what the block's own code is taken for; nor where blocks
    share a list that holds one. With it go those that take turns with it, and where the network
    fails, all of the block whose code does.
    """
    new = [call for call in calls if call.site in made]
    blocks: dict[nn.Module, str] = {}

    def met_in(example: Example, training: bool) -> dict[Site, _StandIn]:
        stand_ins = {site: _StandIn() for site in made}
        instead = {made[site]: stand_in for site, stand_in in stand_ins.items()}

        def watched(network: nn.Module) -> AbstractContextManager[None]:
            blocks.update({network.get_submodule(call.caller): call.caller for call in new})
            return nullcontext()

        run_pass(model, example, training, watched, instead)
        return stand_ins

    try:
        found = met_in(example_input, False)
    except ValueError as error:
        cause = error.__cause__ or error
        reason = f"with another in its place its block fails: {error_line(cause)}"
        failing = _failing_block(cause, blocks)
        return {call.site: reason for call in new if failing in (None, call.caller)}
    if not all(stand_in.met for stand_in in found.values()):
        for example in (doubled(example_input), example_input):
            with suppress(ValueError):
                trained = met_in(example, True)
                found = {site: each if each.met else trained[site] for site, each in found.items()}
                break
    wrong = {call.site: _wrong(found[call.site], call.shape[1:]) for call in new}
    at_fault = {_place(call): call.site.name for call in new if wrong[call.site]}
    return {
        call.site: wrong[call.site] or f"it takes turns with {at_fault[_place(call)]}, which stays"
        for call in new
        if _place(call) in at_fault
    }


def _failing_block(cause: BaseException, blocks: Mapping[nn.Module, str]) -> str | None:
    """Return the path of the innermost of some blocks whose code an error was raised in."""
    failing = None
    for frame, _ in walk_tb(cause.__traceback__):
        running = frame.f_locals.get("self")
        if isinstance(running, nn.Module):
            failing = blocks.get(running, failing)
    return failing


def _wrong(stand_in: _StandIn, shape: tuple[int, ...]) -> str:
    if stand_in.is_by_name:
        return "its block names the argument in calling it"
    if len(stand_in.met) != 1:
        return f"another in its place is called {len(stand_in.met)} times in a pass, not once"
    if stand_in.met != [shape]:
        return f"another in its place gets {stand_in.met[0]} a sample, it gets {shape}"
    return ""


def _place(call: Call) -> tuple[str, str]:
    return call.caller, call.child or call.site.original


class _Another(nn.Module):
    """Does what a module does, and is of no class that code could know."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.module(x)
        return y


def is_same(
    model: nn.Module, other: nn.Module, changed: Iterable[nn.Module], example_input: Example
) -> bool:
    """Whether another network makes the same output, bit for bit, of the same random numbers.

    Of the other, the modules that are `changed` do what they do as instances of another class.
    """

    @contextmanager
    def output_of(network: nn.Module) -> Iterator[list[Any]]:
        outputs: list[Any] = []
        network.register_forward_hook(lambda _module, _args, output: outputs.append(output))
        yield outputs

    instead = {module: _Another(module) for module in changed}
    one = tensors_in(run_pass(model, example_input, False, output_of))
    two = tensors_in(run_pass(other, example_input, False, output_of, instead))
    return len(one) == len(two) and all(map(_equal, one, two))


def _equal(x: Tensor, y: Tensor) -> bool:
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return False
    return x.device.type == "meta" or bool(((x == y) | ((x != x) & (y != y))).all())
