"""The sweep's command line: what can be asked for, and what it means, before torch is there."""

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from dynact import activations
from dynact.activations.user_code import PLACE, check_place
from dynact.networks import architectures, own
from dynact.schema.cases import (
    DTYPES,
    MEMORY_FORMATS,
    MODES,
    PHASES,
    sample_shape,
)
from dynact.schema.choice import choice
from dynact.schema.placement import known_placement
from dynact.schema.run_folder import LATEST
from dynact.schema.settings import CACHES, TIMES, Settings
from dynact.sweep.listing import add_list
from dynact.sweep.networks import Shape
from dynact.sweep.presets import PRESETS

# Of ImageNet, at which papers count.
USUAL_IMAGE_SIZE = 224
# A year: longer is a slip, and what it adds up to no number any more.
MOST_S = 365 * 24 * 3600
# For each that the machine runs at once; far beyond, the system gives up.
MOST_THREADS = 16
ALL, NONE = "all", "none"
USUAL_PRESET = "quick"
# What `parse_activations` takes, for --help.
ACTIVATIONS = (
    "all, names (`python -m dynact list activations`), or PKG.MOD:CLASS, a layer of your own"
)
# The implementations that there are of activations.
IMPLS = tuple(dict.fromkeys(i for n in activations.names() for i in activations.implementations(n)))
# Axes that layers and networks share; other axes ask for layers alone.
SHARED_AXES = ("activations", "impls", "phases", "dtypes", "batches")


def add_options(add: Callable[..., Any]) -> None:
    """Declare the options, by an argument parser's ``add_argument`` or pytest's ``addoption``."""
    add("--sweep", metavar="PRESET", help="smoke, quick (default), standard or full")
    for name, axis in AXES.items():
        add(f"--{name.replace('_', '-')}", metavar="LIST",
            help=f"comma list in place of the preset's: {axis.values}")  # fmt: skip
    add("--shapes", metavar="LIST",
        help="sweep exactly these shapes, CxHxW: 64x40x40,128x20x20")  # fmt: skip
    add("--shapes-from", metavar="LIST",
        help="networks: sweep exactly the shapes at which these have activations")  # fmt: skip
    add("--networks", metavar="LIST", help="measure networks with the activations in them, beside "
        "the layers of the preset; or none (default: the preset's, unless axes of layers or a "
        "budget are given)")  # fmt: skip
    add("--network-from", metavar="PKG.MOD:FACTORY[(KEY=VALUE,…)]", action="append", default=[],
        help="measure your own network, which that function or class makes; unlike with "
        "--networks, layers beside it only if --sweep or an axis of layers is given")  # fmt: skip
    add("--input-shape", metavar="CxHxW",
        help="of a sample for each --network-from (default: 3x224x224)")  # fmt: skip
    add("--example-from", metavar="PKG.MOD:FUNCTION",
        help="makes the inputs for each --network-from, called with a batch size")  # fmt: skip
    add("--loss-from", metavar="PKG.MOD:FUNCTION", help="makes the loss of what each "
        "--network-from gives out (default: back from random gradients of these)")  # fmt: skip
    add("--placements", metavar="LIST", help="in networks: all (default), paper, official, or "
        "calls by their numbers, as sites:1-3+7")  # fmt: skip
    add("--replace", metavar="LIST", help="in networks: which of their own activations, as silu "
        "(default: all that are no gates)")  # fmt: skip
    add("--within", metavar="RATIO", help="of networks that take longer than, for example, 1.3x: "
        "give up the most expensive sites, and measure what is left too")  # fmt: skip
    add("--image-size", metavar="N", help="of networks, in pixels "
        "(default: the preset's; 224 for --shapes-from)")  # fmt: skip
    add("--activation-from", metavar="PKG.MOD:CLASS", action="append", default=[],
        help="sweep your own layer beside ours; repeatable")  # fmt: skip
    add("--impl-from", metavar="NAME=PKG.MOD:CLASS", action="append", default=[],
        help="sweep your own implementation of NAME beside ours, verified; repeatable")  # fmt: skip
    add("--device", metavar="NAME", help="default: the accelerator if there is one, else cpu")
    add("--cache", metavar="STATE", default=Settings.cache, help="the caches that each timed call "
        "starts from: warm (default), or cold, emptied before it")  # fmt: skip
    add("--clock", metavar="TIMES", default=Settings.clock,
        help="of an accelerator: eager, the time of calls as Python makes them, gaps between "
        "kernels included; device, that of its kernels alone, queued before they begin; or "
        "both (default): page and figures show eager, rows have the device's beside")  # fmt: skip
    add("--baseline", metavar="NAME", default="relu", help="compared with (default: relu)")
    add("--at-most", metavar="RATIO", help="which activations take so long at most, for example "
        "1.5x the baseline's time: the command that is told at the end says it")  # fmt: skip
    add("--threads", metavar="N", help="torch threads on the host (default: 1 on a CPU)")
    add(
        "--precision",
        metavar="SHARE",
        default=str(Settings.precision),
        help="end a case's visits when its interval is within ± this share (default: %(default)s)",
    )
    add(
        "--max-seconds",
        metavar="S",
        default=str(Settings.max_seconds),
        help="time a case for so long, over all passes (default: %(default)s)",
    )
    add(
        "--passes",
        metavar="N",
        default=str(Settings.passes),
        help="visit each case so often, spread over the sweep (default: %(default)s)",
    )
    add("--budget", metavar="TIME", help="end in, for example, 10m, drawing included: as many "
        "sizes as there is time for, each axis' ends first (default: none; full: 10h)")  # fmt: skip
    add("--run", metavar="NAME", help="folder in dynact's reports/ (default: the time); with a "
        "slash, as ./night, a folder of your own")  # fmt: skip
    add("--resume", action="store_true",
        help="go on with --run (default: the latest), or add --passes to it")  # fmt: skip
    add("--in-process", action="store_true", help="measure in pytest itself, for a debugger")
    add_list(add)


@dataclass(frozen=True)
class NetworkOptions:
    """What networks to measure; ``None`` takes the preset's."""

    networks: tuple[str, ...] | None = None
    placements: tuple[str, ...] | None = None
    image_size: int | None = None
    timm_image_size: int | None = None
    own_image_size: int | None = None
    own_sample: str | None = None
    own_loss: str | None = None
    replaced: str | None = None


@dataclass(frozen=True)
class SweepOptions:
    """What is asked for, checked as far as that can be done without the device."""

    preset: str
    layers: bool
    """Whether layers are measured beside networks and what explains these."""
    axes: dict[str, tuple[Any, ...]]
    """The user's own values for fields of `dynact.sweep.presets.Grid`."""
    shapes: tuple[Shape, ...] | None
    """To take in place of all channels and resolutions."""
    shapes_from: tuple[str, ...] | None
    """Networks whose shapes to take."""
    shapes_image_size: int
    shapes_sample: str
    """Of the user's own networks among these, as of a `NetworkCase`."""
    networks: NetworkOptions | None
    """``None`` where none are to be measured."""
    within: float | None
    """The most that networks are to take, over their own time."""
    own_layers: tuple[str, ...]
    own_impls: tuple[tuple[str, str], ...]
    """Activations, each with the user's own implementation of it."""
    baseline: str
    at_most: float | None
    """The most that an activation may take, over the baseline's time."""
    budget_s: float | None
    run: str | None
    """A name, or the path of a folder: see `is_path`."""
    resume: bool
    in_process: bool
    settings: Settings = field(default_factory=Settings)


def read_options(given: argparse.Namespace) -> SweepOptions:
    """Return what the options of `add_options` ask for.

    Raises
    ------
    ValueError
        If one is not understood, or some exclude each other: one line.
    """
    axes = {
        name: axis.parse(text, f"--{name.replace('_', '-')}")
        for name, axis in AXES.items()
        if (text := getattr(given, name)) is not None
    }
    for name, axis in AXES.items():
        for word in axes.get(name, ()):
            axis.check(word)
    no_layers = axes.get("activations") == ()
    if no_layers:
        _check_no_layers(given, axes)
    own_impls = tuple(dict.fromkeys(map(_own_impl, given.impl_from)))
    _check_impls(axes, {name for name, _ in own_impls})
    activations.activation(given.baseline)
    for name in given.activation_from:
        check_place(name, "--activation-from", "PKG.MOD:CLASS")
    if given.run is not None and not is_path(given.run):
        check_run_name(given.run)
    shapes, shapes_from = _shapes(given), _shapes_from(given)
    own_networks = _own_networks(given, shapes_from or ())
    layers = not no_layers and (
        bool(given.sweep or {*axes} - {*SHARED_AXES} or shapes or shapes_from)
        or not given.network_from
    )
    if given.at_most is not None and not layers:
        raise ValueError("--at-most is of layers, and none is measured; name --sweep or an axis")
    return SweepOptions(
        preset=choice("preset", given.sweep or USUAL_PRESET, PRESETS),
        layers=layers,
        # Of networks without layers, the preset's activations.
        axes={name: values for name, values in axes.items() if values},
        shapes=shapes,
        shapes_from=shapes_from,
        shapes_image_size=_image_size(given) or USUAL_IMAGE_SIZE,
        shapes_sample=own_networks.own_sample or given.input_shape or "",
        networks=_networks(given, axes, shapes_from, own_networks),
        within=_within(given),
        own_layers=tuple(given.activation_from),
        own_impls=own_impls,
        baseline=given.baseline,
        at_most=None if given.at_most is None else parse_multiple(given.at_most, "--at-most"),
        budget_s=None if given.budget is None else parse_seconds(given.budget, "--budget"),
        run=given.run,
        resume=given.resume,
        in_process=given.in_process,
        settings=Settings(
            device=given.device,
            threads=None if given.threads is None else _parse_threads(given.threads),
            clock=choice("clock", given.clock, TIMES),
            precision=parse_share(given.precision, "--precision"),
            max_seconds=parse_number(given.max_seconds, "--max-seconds"),
            passes=parse_count(given.passes, "--passes"),
            cache=choice("cache state", given.cache, CACHES),
        ),
    )


def _own_impl(text: str) -> tuple[str, str]:
    name, _, place = text.partition("=")
    if not PLACE.fullmatch(place):
        raise ValueError(f"--impl-from takes NAME=PKG.MOD:CLASS, got {text!r}")
    check_place(place, "--impl-from")
    activations.activation(name)
    return name, place


def _check_no_layers(given: argparse.Namespace, axes: dict[str, tuple[Any, ...]]) -> None:
    """Refuse what is of layers alone where none are to be measured."""
    of_layers = [name for name in axes if name not in SHARED_AXES]
    for name in (*of_layers, "shapes", "shapes_from", "activation_from"):
        if getattr(given, name):
            raise ValueError(
                f"--activations none measures networks alone, and --{name.replace('_', '-')} is of "
                "layers; leave one of them out"
            )
    if given.networks == NONE:
        raise ValueError("--activations none and --networks none leave nothing to measure")


def _check_impls(axes: dict[str, tuple[Any, ...]], with_own: set[str]) -> None:
    """Refuse an activation that was named and has none of the implementations that were."""
    for name in axes.get("activations", ()):
        if name in with_own or ":" in name:
            continue
        known = activations.implementations(name)
        if "impls" in axes and not {*known} & {*axes["impls"]}:
            raise ValueError(
                f"{name} has no implementation {' or '.join(axes['impls'])}: it has "
                f"{', '.join(known)}; leave it out of --activations, or name one in --impls"
            )


def is_path(run: str) -> bool:
    """Return whether ``--run`` names a folder of the user's own, not one among the reports."""
    return "/" in run


def check_run_name(name: str) -> None:
    """Raise ValueError if a run's folder cannot have that name."""
    if not re.fullmatch(r"\w[\w.-]*", name) or name == LATEST:
        raise ValueError(f"--run takes a name of letters, digits, '.', '_' and '-', got {name!r}")


def _shapes(given: argparse.Namespace) -> tuple[Shape, ...] | None:
    if given.shapes is None:
        return None
    _exclude(given, "shapes", ("channels", "resolutions", "shapes_from"))
    return parse_shapes(given.shapes, "--shapes")


def _exclude(given: argparse.Namespace, option: str, others: tuple[str, ...]) -> None:
    for name in others:
        if getattr(given, name) is not None:
            raise ValueError(
                f"--{option} and --{name.replace('_', '-')} exclude each other; name one of them"
            )


def _shapes_from(given: argparse.Namespace) -> tuple[str, ...] | None:
    if given.shapes_from is None:
        return None
    _exclude(given, "shapes-from", ("channels", "resolutions"))
    return _network_names(given.shapes_from, "--shapes-from", _image_size(given))


def _own_networks(given: argparse.Namespace, shapes_from: tuple[str, ...]) -> NetworkOptions:
    """Return the networks that are named one by one, and what the user's own take."""
    for name in given.network_from:
        if not name.startswith(architectures.TIMM):
            own.parse_factory(name)
    named = [architectures.architecture(name) for name in given.network_from]
    names = tuple(dict.fromkeys(network.name for network in named))
    if given.networks not in (None, NONE):
        listed = _split_names(given.networks, "--networks")
        named += [architectures.architecture(name) for name in listed]
    named += [architectures.architecture(name) for name in shapes_from]
    if not any(network.is_own for network in named):
        for option in ("input_shape", "example_from", "loss_from"):
            if getattr(given, option) is not None:
                raise ValueError(
                    f"--{option.replace('_', '-')} is of networks of your own; name one by "
                    "--network-from"
                )
        return NetworkOptions(names or None)
    if given.input_shape is not None and given.example_from is not None:
        raise ValueError("--input-shape and --example-from exclude each other; name one of them")
    for option in ("input_shape", "example_from"):
        is_given = getattr(given, option) is not None and given.image_size is not None
        if is_given and all(network.is_own for network in named):
            raise ValueError(
                f"--image-size and --{option.replace('_', '-')} exclude each other where all "
                "networks are your own; name one of them"
            )
    for option in ("example_from", "loss_from"):
        if getattr(given, option) is not None:
            check_place(getattr(given, option), f"--{option.replace('_', '-')}")
    size, sample = _image_size(given), given.example_from
    if given.input_shape is not None:
        try:
            shape = sample_shape(given.input_shape)
        except ValueError:
            raise ValueError(
                "--input-shape takes CxHxW, as 3x640x480, or other sizes, as 128, got "
                f"{given.input_shape!r}"
            ) from None
        if len(shape) == 3 and shape[0] == 3 and shape[1] == shape[2]:
            size = shape[1]
        else:
            size, sample = None, given.input_shape
    return NetworkOptions(
        names or None, own_image_size=size, own_sample=sample, own_loss=given.loss_from
    )


def _networks(
    given: argparse.Namespace,
    axes: dict[str, Any],
    shapes_from: tuple[str, ...] | None,
    own_networks: NetworkOptions,
) -> NetworkOptions | None:
    of_layers_alone = {*axes} - {"activations", "phases"} or given.shapes or shapes_from
    no_layers = axes.get("activations") == ()
    by_default = own_networks.networks or no_layers or not (of_layers_alone or given.budget)
    if own_networks.networks and given.networks == NONE:
        raise ValueError("--networks none and --network-from exclude each other; name one of them")
    if not (by_default if given.networks is None else given.networks != NONE):
        idle = {
            "placements": given.placements,
            "replace": given.replace,
            "within": given.within,
            "image-size": given.image_size,
        }
        if shapes_from:
            del idle["image-size"]
        for name, value in idle.items():
            if value is not None:
                raise ValueError(f"--{name} is of networks, and none is measured; name some")
        return None
    for name in ("modes", "memory_formats"):
        if getattr(given, name) is not None:
            raise ValueError(
                f"networks take no --{name.replace('_', '-')}; leave it out, or add --networks none"
            )
    image_size = _image_size(given)
    networks, placements = own_networks.networks, None
    if given.networks is not None:
        named = _network_names(given.networks, "--networks", image_size)
        networks = tuple(dict.fromkeys([*named, *(own_networks.networks or ())]))
    if given.placements is not None:
        named_placements = split_list(given.placements, "--placements")
        placements = tuple(dict.fromkeys(map(known_placement, named_placements)))
    return replace(
        own_networks,
        networks=networks,
        placements=placements,
        image_size=image_size,
        timm_image_size=image_size,
        replaced=_replaced(given),
    )


def _network_names(text: str, option: str, image_size: int | None) -> tuple[str, ...]:
    networks = [architectures.architecture(name) for name in _split_names(text, option)]
    for declared in networks:
        if image_size is not None:
            # A network whose own size is smaller gets that.
            declared.check_image_size(min(image_size, declared.image_size or image_size))
    return tuple(declared.name for declared in networks)


def _split_names(text: str, option: str) -> list[str]:
    """Return the words of a comma list of networks, some with commas in brackets."""
    split_list(text, option)
    names: list[str] = []
    for part in text.split(","):
        if names and names[-1].count("(") > names[-1].count(")"):
            names[-1] += f",{part}"
        else:
            names.append(part.strip())
    return names


def _within(given: argparse.Namespace) -> float | None:
    if given.within is None:
        return None
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)[x×]?", given.within)
    if not match or not 1 < float(match[1]) < inf:
        raise ValueError(
            f"--within takes a multiple of a network's own time above 1, as 1.3x, got "
            f"{given.within!r}"
        )
    if given.placements is not None and "all" not in split_list(given.placements, "--placements"):
        raise ValueError("--within gives up sites of placement all; name it in --placements too")
    return float(match[1])


def _replaced(given: argparse.Namespace) -> str | None:
    if given.replace is None:
        return None
    names = split_list(given.replace, "--replace")
    for name in names:
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"--replace takes names of activations, as silu, got {name!r}")
    # Whatever order they are named in, it is the same case.
    return "+".join(sorted(set(names)))


def _image_size(given: argparse.Namespace) -> int | None:
    return None if given.image_size is None else parse_count(given.image_size, "--image-size")


def split_list(text: str, option: str) -> tuple[str, ...]:
    """Return the words of a comma list.

    Raises
    ------
    ValueError
        If it is empty or has an empty part.
    """
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise ValueError(f"{option} takes a comma list without empty parts, got {text!r}")
    return words


def _parse_threads(text: str) -> int:
    threads, processors = parse_count(text, "--threads"), os.cpu_count() or 1
    if threads > MOST_THREADS * processors:
        raise ValueError(
            f"--threads {text}: this machine runs {processors} at once; "
            f"name {MOST_THREADS * processors} or fewer"
        )
    return threads


def parse_count(text: str, option: str) -> int:
    """Return a positive integer.

    Raises
    ------
    ValueError
        If it is not one.
    """
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", text):
        raise ValueError(f"{option} takes positive integers, got {text!r}")
    return int(text)


def parse_number(text: str, option: str) -> float:
    """Return a positive number, no more than there are seconds in a year.

    Raises
    ------
    ValueError
        If it is not one.
    """
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or not float(text):
        raise ValueError(f"{option} takes a positive number, got {text!r}")
    if float(text) > MOST_S:
        raise ValueError(f"{option} takes {MOST_S} at most, got {text!r}")
    return float(text)


def parse_share(text: str, option: str) -> float:
    """Return a number between 0 and 1, both excluded.

    Raises
    ------
    ValueError
        If it is not one.
    """
    share = parse_number(text, option)
    if share >= 1:
        raise ValueError(f"{option} takes a share between 0 and 1, got {text!r}")
    return share


def parse_activations(text: str, option: str) -> tuple[str, ...]:
    """Return the activations of a comma list, each once; of ``none`` no activation.

    ``all`` stands for all names of the registry; ``PKG.MOD:CLASS`` is the user's own layer.

    Raises
    ------
    ValueError
        If one is not known, or ``none`` is not alone.
    """
    words = split_list(text, option)
    if words == (NONE,):
        return ()
    if NONE in words:
        raise ValueError(f"{option} takes none by itself, got {text!r}")
    chosen: dict[str, None] = {}
    for word in words:
        if ":" in word:
            check_place(word, option, "PKG.MOD:CLASS")
        elif word != ALL:
            activations.activation(word)
        chosen |= dict.fromkeys(activations.names() if word == ALL else [word])
    return tuple(chosen)


def parse_multiple(text: str, option: str) -> float:
    """Return the multiple that ``1.5``, ``1.5x`` or ``1.5×`` is.

    Raises
    ------
    ValueError
        If it is not a positive number.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)[x×]?", text)
    if not match or float(match[1]) in (0, inf):
        raise ValueError(
            f"{option} takes a positive multiple of the baseline's time, as 1.5x, got {text!r}"
        )
    return float(match[1])


def parse_sizes(text: str, option: str) -> tuple[int, ...]:
    """Return the positive integers of a comma list, in order.

    Raises
    ------
    ValueError
        If one of them is not a positive integer.
    """
    return tuple(sorted({parse_count(word, option) for word in split_list(text, option)}))


def parse_resolutions(text: str, option: str) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) of a comma list of ``56`` or ``56x28``.

    Raises
    ------
    ValueError
        If a part is neither.
    """
    resolutions = set()
    for word in split_list(text, option):
        sides = [parse_count(side, option) for side in word.split("x")]
        if len(sides) > 2:
            raise ValueError(f"{option} takes 56 or 56x28, got {word!r}")
        resolutions.add((sides[0], sides[-1]))
    return tuple(sorted(resolutions))


def parse_shapes(text: str, option: str) -> tuple[Shape, ...]:
    """Return the (channels, height, width) of a comma list of ``64x40x40``, each once.

    Raises
    ------
    ValueError
        If a part is none.
    """
    shapes: dict[Shape, None] = {}
    for word in split_list(text, option):
        sizes = word.split("x")
        if len(sizes) != 3:
            raise ValueError(f"{option} takes channels x height x width, as 64x40x40, got {word!r}")
        channels, height, width = (parse_count(size, option) for size in sizes)
        shapes[channels, height, width] = None
    return tuple(shapes)


def parse_seconds(text: str, option: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``10m`` or ``1.5h``.

    Raises
    ------
    ValueError
        If it is not a positive number with one of these units, or longer than a year.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)([smh])", text)
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not seconds:
        raise ValueError(f"{option} takes a duration such as 90s, 10m or 1.5h, got {text!r}")
    if seconds > MOST_S:
        raise ValueError(f"{option} takes a year ({MOST_S // 3600}h) at most, got {text!r}")
    return seconds


@dataclass(frozen=True)
class Axis:
    """An axis of the grid that an option replaces."""

    parse: Callable[[str, str], tuple[Any, ...]]
    values: str
    """For --help."""
    check: Callable[[Any], object] = lambda _word: None
    """Raises ValueError if a value is not one of those that are known."""


def _known(kind: str, words: tuple[str, ...]) -> Callable[[str], str]:
    return lambda word: choice(kind, word, words)


# By the field of `dynact.sweep.presets.Grid`, which is the option's name too.
AXES = {
    "activations": Axis(parse_activations, f"{ACTIVATIONS}; or none, to measure networks alone"),
    "impls": Axis(
        split_list,
        f"implementations: {', '.join(IMPLS)} (compiled: a minute each)",
        _known("impl", IMPLS),
    ),
    "phases": Axis(split_list, "inference, training", _known("phase", PHASES)),
    "modes": Axis(split_list, "eager, compile, graph (of an accelerator's)", _known("mode", MODES)),
    "dtypes": Axis(split_list, "float32, float16, bfloat16, float64", _known("dtype", DTYPES)),
    "memory_formats": Axis(
        split_list, "contiguous, channels_last", _known("memory_format", MEMORY_FORMATS)
    ),
    "batches": Axis(parse_sizes, "batch sizes"),
    "channels": Axis(parse_sizes, "channel counts"),
    "resolutions": Axis(parse_resolutions, "56 or 56x28 (height × width)"),
}
