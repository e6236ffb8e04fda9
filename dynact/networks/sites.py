"""Where a network calls an activation: found by running it and watching."""

import itertools
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import UntypedStorage, nn

from dynact.networks.extent import FLAT, Extent, extent_of
from dynact.networks.known import LISTS, MODULES
from dynact.networks.passes import Example, batch_of, look_in_training, run_pass
from dynact.networks.turns import has_hooks
from dynact.networks.watch import Met, Watch

GATE = "in a gate or inside another activation"
UNKNOWN_CHANNELS = "channels unknown"


@dataclass(frozen=True)
class Site:
    """One call of an activation in a forward pass."""

    name: str
    """The caller's path and the activation's name in it, as in ``"layer1.0.relu#2"``; ``#2`` says
    which, where the caller calls one of that name several times."""
    original: str
    """What the network calls there, by its name in the registry or, failing that, in torch."""
    channels: int
    """0 where unknown."""
    height: int | None
    """Of maps (N, C, H, W) or (N, H, W, C); ``None``, as is `width`, of anything else."""
    width: int | None
    obstacle: str = ""
    """Why no other activation can be placed here; empty where it can."""
    extent: Extent = FLAT
    """What of its input is there beside the channels."""


@dataclass(frozen=True)
class Call:
    """A site, and where in the code it is."""

    site: Site
    caller: str
    """Path of the module whose forward makes the call."""
    child: str
    """Path below the caller of the activation; empty where it is a function."""
    turn: int
    """Which of the caller's calls of that child, or of that function, from 1."""
    turns: int
    """How many of them there are."""
    shape: tuple[int, ...]
    """Of the input."""
    channel_dim: int
    """Of the input's dimensions that of the channels; 1 where unknown."""
    batch_comes_first: bool | None
    """``None`` where it is unknown: the network did not run on a batch twice as large."""
    memory: tuple[UntypedStorage, ...]
    """Of its input and output; alive, or a later tensor's could be taken for it."""
    written: UntypedStorage | None
    """What it writes into but for its output: its input, in place."""
    device: torch.device
    """Of the parameters around it, as is `dtype`."""
    dtype: torch.dtype


@dataclass(frozen=True)
class Observed:
    """What a network does in a pass."""

    calls: list[Call]
    callees: dict[str, set[str]]
    """Which modules each module calls, by their paths."""


def find_sites(model: nn.Module, example_input: Example) -> list[Site]:
    """Return every call of an activation that the network makes on an example, in order.

    Found are the calls of torch's modules and functions, in eval mode; then those that come on
    top in training; last the modules of both that neither calls. A module that is called three
    times is three sites.

    Not every call is that of an activation of feature maps. Sigmoid and hard sigmoid make gates
    and scores; the ReLU of a squeeze-and-excitation block is a part of its gate, ReLU6(x + 3) / 6
    that of a hard swish written by hand. They are listed with `GATE` as their obstacle.

    Parameters
    ----------
    model
        Any network; it is not changed, and no random number is drawn. Copies of it run, with its
        hooks.
    example_input
        Its one argument, on its device; a tuple of several, or a dict of them by name.

    Raises
    ------
    ValueError
        If the network does not run on the example, cannot be copied, or is compiled or scripted.
    """
    return [call.site for call in observe(model, example_input).calls]


def observe(model: nn.Module, example_input: Example) -> Observed:
    """Return the calls that `find_sites` tells the sites of, and who calls whom."""
    watch = run_pass(model, example_input, False, partial(Watch, batch_of(example_input)))
    # Detectors want targets in training; modules that they call there alone are still listed.
    return _merged(model, watch, look_in_training(model, example_input, Watch))


def _merged(model: nn.Module, watch: Watch, in_training: Watch | None) -> Observed:
    """Put the calls of both passes together, each with a name of its own."""
    met = _in_turns(watch)
    runs, callees = watch.runs, watch.callees
    unlike: dict[_Place, str] = {}
    is_doubled = in_training is not None and in_training.batch != watch.batch
    if in_training is not None:
        also = _in_turns(in_training)
        in_eval, trained = (Counter(place for place, _ in of) for of in (met, also))
        for key, call in also.items():
            met[key] = [*met.get(key, []), *call]
        unlike = {
            place: "its block calls it for each sample by itself"
            if is_doubled and watch.batch > 1 and trained[place] == 2 * n
            else f"its block calls it {_times(n)} in eval mode, {_times(trained[place])} in train"
            for place, n in in_eval.items()
            if n != trained[place] and trained[place] > 0
        }
        runs |= in_training.runs
        paths = callees.keys() | in_training.callees.keys()
        callees = {
            path: callees.get(path, set()) | in_training.callees.get(path, set()) for path in paths
        }
    of_name = Counter(place.name for place, _ in met)
    turns = Counter(place for place, _ in met)
    callers = Counter(place.name for place in turns if place.child)
    seen: Counter[str] = Counter()
    known = {parameter.dtype for parameter in model.parameters()}
    calls = []
    for (place, turn), each in met.items():
        seen[place.name] += 1
        of_same = f"#{seen[place.name]}" if of_name[place.name] > 1 else ""
        in_list = isinstance(model.get_submodule(place.caller), LISTS)
        obstacles = {
            _obstacle(each): True,
            "a function in a list of layers, which can hold no other": place.function and in_list,
            unlike.get(place, ""): True,
            next((call.apart for call in each if call.apart), ""): (
                place.function or turns[place] > 1
            ),
            f"{place.caller} runs {runs[place.caller]} times in one pass": runs[place.caller] > 1,
            "several blocks call it where one of them keeps it": callers[place.name] > 1,
            "it has hooks of its own": place.child and has_hooks(model.get_submodule(place.path)),
        }
        obstacle = next((reason for reason, holds in obstacles.items() if reason and holds), "")
        site = _site(place.name + of_same, each, obstacle)
        like = _like(model.get_submodule(place.caller), model)
        calls.append(_call(site, place, each, (turn, turns[place]), (like, known), is_doubled))
    called = {path for each in callees.values() for path in each}
    calls += _never_called(model, called)
    return Observed(calls, callees)


class _Place(NamedTuple):
    """What of a caller is called."""

    caller: str
    child: str
    function: str
    """Where there is no child."""

    @property
    def name(self) -> str:
        return f"{self.caller}.{self.child or self.function}".lstrip(".")

    @property
    def path(self) -> str:
        return f"{self.caller}.{self.child}".strip(".")


def _in_turns(watch: Watch) -> dict[tuple[_Place, int], list[Met]]:
    seen: Counter[_Place] = Counter()
    calls = {}
    for met in watch.calls():
        place = _Place(met.caller, met.child, "" if met.child else met.original)
        seen[place] += 1
        calls[place, seen[place]] = [met]
    return calls


def _obstacle(met: list[Met]) -> str:
    """Return what a call's place in the passes has against another activation."""
    if any(call.is_gate for call in met):
        return GATE
    if any(call.is_read_again for call in met):
        return "its input, into which it writes, is read again"
    if any(call.is_transformed for call in met):
        return "a transform of torch.func, such as torch.vmap, calls it"
    if any(call.has_out for call in met):
        return "it writes its output into a tensor that it is given"
    if any(call.is_of_parameter for call in met):
        return "it is called in the making of a parameter"
    if any(call.is_unseen for call in met):
        return f"torch.compile hides that it is called in place, as {met[0].original}_()"
    if met[0].original == "glu":
        return "its output has half the channels of its input"
    if len({call.channels for call in met}) > 1:
        return f"it has {met[0].channels} channels in eval mode, {met[1].channels} in training"
    return ""


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _site(name: str, passes: list[Met], obstacle: str) -> Site:
    met = passes[0]
    height, width = met.maps or (None, None)
    extent = extent_of(passes)
    return Site(name, met.original, met.channels, height, width, obstacle, extent)


def _call(
    site: Site,
    place: _Place,
    passes: list[Met],
    turn_of: tuple[int, int],
    dtypes: tuple[torch.dtype, set[torch.dtype]],
    is_doubled: bool,
) -> Call:
    met, (turn, turns), (like_dtype, known) = passes[0], turn_of, dtypes
    comes_first = None
    if is_doubled:
        # Of two passes the second had twice the samples.
        comes_first = all(
            2 * once.shape[0] == both.shape[0] for once, both in itertools.pairwise(passes)
        )
    written = met.memory[0] if met.writes_in_place else None
    channel_dim = 1 if met.channel_dim is None else met.channel_dim
    # Of a network of several: those of its own parameters, not what autocast made before.
    dtype = met.dtype if met.dtype in known else like_dtype
    return Call(
        site, place.caller, place.child, turn, turns, met.shape, channel_dim, comes_first,
        met.memory, written, met.device, dtype,
    )  # fmt: skip


def _like(*modules: nn.Module) -> torch.dtype:
    """Return the type of the first tensor of floating point, of the first module that has one."""
    tensors = (
        x for module in modules for x in itertools.chain(module.parameters(), module.buffers())
    )
    return next((x.dtype for x in tensors if x.is_floating_point()), torch.get_default_dtype())


def _never_called(model: nn.Module, called: set[str]) -> list[Call]:
    return [
        Call(
            Site(path, MODULES[type(module)], 0, None, None, "the example's pass does not call it"),
            path.rpartition(".")[0], path.rpartition(".")[2], 1, 1, (), 1, True, (), None,
            torch.device("cpu"), torch.float32,
        )
        for path, module in model.named_modules()
        if type(module) in MODULES and path not in called and path
    ]  # fmt: skip
