"""A network of one's own against itself with other activations, measured in this process."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dynact import activations, timing
from dynact.cost import tensors_in
from dynact.networks.loss import Backward, Loss, RandomGradients, backward_from
from dynact.networks.passes import (
    Example,
    batch_of,
    call_with,
    copied,
    copy_what_it_writes_into,
    devices_of,
    doubled,
    fresh,
    map_batched,
    same_random_numbers,
)
from dynact.networks.swap import Names, Swap, swap_activations, swap_to_compare
from dynact.schema.cases import PHASES, NetworkCase
from dynact.schema.duration import format_seconds
from dynact.schema.redact import error_line
from dynact.schema.rows import NetworkRow
from dynact.schema.settings import Settings
from dynact.schema.visits import Visit, estimate, has_converged, measured_figures
from dynact.worker import counters
from dynact.worker.counter_cache import Counter, Figures
from dynact.worker.counts import count_workload
from dynact.worker.device import Device, open_device
from dynact.worker.network import sites_of
from dynact.worker.network_measurement import NetworkMeasurement, Share
from dynact.worker.plain import plain
from dynact.worker.step import step_of, warm_pair
from dynact.worker.terminal_line import terminal_line
from dynact.worker.visit import visit_workload

# Of a pair, at least: the interval of two is Student's with a factor of 12.7.
FEWEST_VISITS = 3


def measure_network(
    model: nn.Module,
    swaps: Names,
    *,
    example_input: Example,
    impl: str = activations.REFERENCE,
    loss: Loss | None = None,
    seconds: float = 10.0,
    activation_share: bool = False,
) -> NetworkMeasurement:
    """Measure what other activations cost in a network: time, memory, parameters, arithmetic.

    The network is paired with a copy that has the other activations, in inference (eval mode under
    inference mode) and in training (train mode, forward and backward, without an optimiser), as
    `dynact.timing.Pair` pairs, in several visits of either phase in turn. Its own activations are
    called as the new ones are, see `swap_to_compare`. Both are called on the example, where it is,
    in its dtype and with torch's number of threads: on processors that other programs work on too,
    several take many times as long as one (`torch.set_num_threads`). Autocast, which keeps what it
    has cast from call to call, belongs into the network's own forward. The new layers are not
    compared with their references, as a sweep does before it times them. No random number of the
    caller's is drawn. Where stderr is a terminal, a line there says how far it is.

    Parameters
    ----------
    model
        Any network; it is not changed. Several copies of it are made.
    swaps
        What takes the place of what, as in ``{"silu": "frelu", "relu": "dyrelu_b"}``; or the name
        of what takes the place of all. Names of the registry, or ``"pkg.mod:Class"``.
    example_input
        The network's one argument, a batch on the network's device; a tuple of several arguments,
        or a dict of them by name. Its tensors require no gradient here. The batch is that of most
        elements. What is counted of one sample is that of the first, if twice the batch makes
        outputs twice as long; else the batch's, divided by its size.
    impl
        Which implementation of the new activations, see `dynact.activations.implementations`.
    loss
        Makes of the network's output in train mode the scalar that the backward pass starts from.
        Without it, it starts from a random gradient, N(0, 1), of each output that requires one, the
        same in all steps.
    seconds
        For timed calls of either phase, but three visits are made in any case. A phase ends before
        that once its interval is within ±1 %.
    activation_share
        Whether to find out which share of the network's time its own activations are, where they
        are replaced: it is paired with a third copy that has none there. What stood in a pass for
        them alone, such as a copy of what they wrote into, is in that share. Takes half as long
        again, or more.

    Returns
    -------
    NetworkMeasurement
        Its figures are a row's by phase; printed, it is a report. What goes wrong in one phase, as
        when memory is short, is the row's `status` and `message`.

    Raises
    ------
    ValueError
        If the network does not run on the example, cannot be copied, or is compiled or scripted;
        if there is no such activation or implementation, the network does not call one that is to
        be replaced, or it can nowhere be; if seconds is not positive.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be positive, got {seconds}")
    # With gradients, in whatever mode of autograd the caller is.
    same = same_random_numbers(devices_of(model, example_input))
    with torch.inference_mode(False), same, terminal_line() as show:
        example = fresh(example_input)
        for x in tensors_in(example):
            x.requires_grad_(False)
        if not any(isinstance(x, Tensor) and x.dim() > 0 for x in tree_leaves(example)):
            raise ValueError(
                "example_input holds no tensor with a batch, in tuples, lists or dicts"
            )
        x = _main_input(example)
        show("dynact: replacing activations")
        original = copied(model)
        copy_what_it_writes_into(original, example)
        _try(original, example)
        swapped, baseline, became = swap_to_compare(
            original, swaps, example_input=example, impl=impl
        )
        device = open_device(str(x.device))
        backward = backward_from(loss) if loss else RandomGradients()
        sides = _Sides(baseline, swapped, example, device, backward)

        def shown() -> nn.Module:
            if impl in activations.PLAIN:
                return swapped
            return swap_activations(original, swaps, example_input=example)[0]

        pairs = {
            phase: _TwoNetworks(_case(model, swaps, impl, example, phase), sides, shown, became)
            for phase in PHASES
        }
        without = {}
        if activation_share:
            replaced = {swap.site for swap in became if not swap.kept_because}
            bare, baseline, _ = swap_to_compare(
                original, "identity", replaced.__contains__, example_input=example
            )
            pair = _Sides(baseline, bare, example, device, backward)
            without = {
                phase: _TwoNetworks(each.case, pair, shown, became) for phase, each in pairs.items()
            }
        visits = _visited([*pairs.values(), *without.values()], device, seconds, show)
        show("dynact: counting")
        rows = {phase: _row(each, visits[each], device) for phase, each in pairs.items()}
        shares = {phase: _share(visits[each]) for phase, each in without.items()}
    return NetworkMeasurement(
        rows["inference"],
        rows["training"],
        tuple(replace(swap, layer=None) for swap in became),
        (batch_of(example), *x.shape[1:]),
        torch.get_num_threads(),
        {phase: share for phase, share in shares.items() if share is not None},
    )


def _try(network: nn.Module, example: Example) -> None:
    """Run a network once; what it keeps of a pass, no later one finds made in inference mode."""
    network.eval()
    try:
        with torch.no_grad():
            call_with(network, example)
    except Exception as error:
        raise ValueError(f"the network fails on the example input: {error_line(error)}") from error


def _main_input(example: Example) -> Tensor:
    """Return the largest tensor of a batch, of floating point if one is; of images the first."""
    batches: list[Tensor] = []

    def note(part: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        batches.append(part if isinstance(part, Tensor) else part[0][None])
        return part

    map_batched(note, example)
    return max(batches, key=lambda x: (x.is_floating_point(), x.numel()))


def _first_sample(network: nn.Module, example: Example) -> Example | None:
    """Return the first sample of a batch; None unless twice the batch makes outputs twice as long.

    Else what is as long as the batch may be none, as a matrix that mixes its samples.
    """
    batch = batch_of(example)
    try:
        with torch.no_grad():
            outputs = tensors_in(call_with(network, example))
            of_two = tensors_in(call_with(network, doubled(example)))
    except Exception:
        return None
    pairs = [(y.shape, both.shape) for y, both in zip(outputs, of_two, strict=False)]
    grown = [(2 * y[0], *y[1:]) == both for y, both in pairs if y and y[0] == batch]
    return map_batched(lambda x: x[:1], example) if grown and all(grown) else None


def _case(model: nn.Module, swaps: Names, impl: str, example: Example, phase: str) -> NetworkCase:
    if not isinstance(swaps, str):
        swaps = ", ".join(f"{original}→{name}" for original, name in swaps.items())
    x = _main_input(example)
    dtype = next((y.dtype for y in (x, *model.parameters()) if y.is_floating_point()), x.dtype)
    sizes = x.shape[1:] or (1,)
    is_square = len(sizes) == 3 and sizes[0] == 3 and sizes[1] == sizes[2]
    return NetworkCase(
        type(model).__name__, swaps, "all", phase, str(dtype).removeprefix("torch."),
        batch_of(example), sizes[-1] if is_square else 0, str(x.device), impl,
        "" if is_square else "x".join(map(str, sizes)),
    )  # fmt: skip


@dataclass(eq=False)
class _Sides:
    """Two networks and what they are called on."""

    original: nn.Module
    other: nn.Module
    example: Example
    device: Device
    backward: Backward

    def enter(self, phase: str) -> None:
        """Put both networks into the mode of a phase."""
        for network in (self.original, self.other):
            network.train(phase == "training")

    def call(self, network: nn.Module, phase: str) -> Callable[[], None]:
        """Return what is timed."""
        return step_of(network, self.example, self.backward if phase == "training" else None)


class _TwoNetworks:
    """A workload of two networks that are at hand, in one phase."""

    def __init__(
        self,
        case: NetworkCase,
        sides: _Sides,
        shown: Callable[[], nn.Module],
        swaps: Sequence[Swap],
    ) -> None:
        self.case = case
        self._sides = sides
        self._shown = shown
        self._swaps = swaps
        self._pair: timing.Pair | None = None

    @contextmanager
    def ready(self) -> Iterator[timing.Pair]:
        """Yield both networks warm, in the mode of the phase."""
        sides, phase = self._sides, self.case.phase
        sides.enter(phase)
        if self._pair is None:
            target, baseline = (
                sides.call(network, phase) for network in (sides.other, sides.original)
            )
            self._pair = warm_pair(target, baseline, self.case, sides.device)
        yield self._pair

    def target_counters(self) -> list[Counter]:
        """Return what is counted of the network with the new activations."""
        sites = Counter("sites", object(), lambda: sites_of(self._swaps))
        return [*self._counters(self._sides.other, self._shown), sites]

    def baseline_counters(self) -> list[Counter]:
        """Return the same of the network as it is."""
        original = self._sides.original
        return self._counters(original, lambda: original)

    def _counters(self, network: nn.Module, shown: Callable[[], nn.Module]) -> list[Counter]:
        sides, phase = self._sides, self.case.phase

        def saved() -> Figures:
            sides.enter(phase)
            return counters.saved(*plain(network, sides.example), phase)

        # Nothing else has an equal key: what is counted is of these networks alone.
        return [
            Counter("parameters", object(), lambda: counters.parameters(network)),
            Counter("arithmetic", object(), lambda: self._arithmetic(shown())),
            Counter("peak memory", object(), lambda: self._peak(network)),
            Counter("saved for backward", object(), saved),
        ]

    def _peak(self, network: nn.Module) -> Figures:
        sides, case = self._sides, self.case
        sides.enter(case.phase)
        call = sides.call(network, case.phase)
        inputs = tensors_in(sides.example)
        return counters.peak(
            call, case, sides.device, lambda: counters.tracked_peak(call, case, network, inputs)
        )

    def _arithmetic(self, network: nn.Module) -> Figures:
        """Count one sample; where none can be cut out, the batch by the sample."""
        example, batch = self._sides.example, self.case.batch
        network.eval()
        one = _first_sample(network, example)
        counted = counters.arithmetic(*plain(network, example if one is None else one))
        if one is None:
            counted["flops"] = round(counted["flops"] / batch)
            counted["macs"] = round(counted["macs"] / batch)
            counted["flops_by_operator"] = {
                name: round(flops / batch) for name, flops in counted["flops_by_operator"].items()
            }
        return counted | {"counted_image_size": self.case.image_size}


def _visited(
    workloads: Sequence[_TwoNetworks],
    device: Device,
    seconds: float,
    show: Callable[[str], None],
) -> dict[_TwoNetworks, list[Visit]]:
    """Visit each in turn until its time is up or its interval is narrow."""
    start_s = time.perf_counter()
    visits: dict[_TwoNetworks, list[Visit]] = {workload: [] for workload in workloads}
    for number in range(1, Settings.passes + 1):
        for workload, of_one in visits.items():
            if of_one and _is_done(of_one, seconds):
                continue
            left = format_seconds(sum(_left_s(each, seconds) for each in visits.values()))
            show(f"dynact: {workload.case.phase}, visit {number} · {left} left, then counting")
            visit_s = seconds / Settings.passes
            answer = visit_workload(workload, device, visit_s)
            case = workload.case
            of_one.append(
                Visit(
                    case.table, case.id, number, answer.status, answer.message, visit_s, "",
                    time.perf_counter() - start_s, **answer.figures,
                )
            )  # fmt: skip
    return visits


def _is_done(visits: Sequence[Visit], seconds: float) -> bool:
    if visits[-1].status != "ok":
        return True
    spent_s = sum(visit.timing_s or 0 for visit in visits)
    return (len(visits) >= FEWEST_VISITS and spent_s >= seconds) or has_converged(
        visits, Settings.precision
    )


def _left_s(visits: Sequence[Visit], seconds: float) -> float:
    """Return how long further visits of a workload take, if its interval stays wide."""
    if not visits:
        return seconds
    if _is_done(visits, seconds):
        return 0.0
    timing_s, visit_s = (
        fmean(getattr(visit, name) or 0.0 for visit in visits) for name in ("timing_s", "visit_s")
    )
    needed = max(math.ceil(seconds / timing_s), FEWEST_VISITS) if timing_s else Settings.passes
    return visit_s * (min(needed, Settings.passes) - len(visits))


def _row(workload: _TwoNetworks, visits: Sequence[Visit], device: Device) -> NetworkRow:
    figures = measured_figures(visits, Settings.precision)
    if figures["status"] == "ok":
        counted = count_workload(workload, device)
        figures |= counted.figures | {"message": counted.message}
    return NetworkRow(workload.case, **figures)


def _share(visits: Sequence[Visit]) -> Share | None:
    """Return which share of the original's time it lacks without its activations."""
    if any(visit.status != "ok" for visit in visits):
        return None
    without = estimate(visits)
    low, high = (None if end is None else 1 - end for end in (without.upper, without.lower))
    return Share(1 - without.middle, low, high)
