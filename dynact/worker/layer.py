"""A layer at a shape: made, prepared and called as its case says, compared with another."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from dynact import activations
from dynact.activations.by_name import build
from dynact.cost import (
    HiddenWork,
    MemoryTracker,
    TrafficCounter,
    floor_bytes,
    fvcore_default_flops,
    not_a_leaf,
    peak_on_cpu,
    tensors_in,
)
from dynact.schema.cases import Case, KnownPair, target_case
from dynact.schema.redact import error_line
from dynact.timing import Pair
from dynact.worker import counters
from dynact.worker.captured import Replay, verify_replay
from dynact.worker.compiled import compile_alone
from dynact.worker.counter_cache import Counter, Figures, PartlyCountedError
from dynact.worker.device import Device
from dynact.worker.kept import Kept
from dynact.worker.modes import MEMORY_FORMATS, grad_mode, watched_mode
from dynact.worker.rotating_input import RotatingInput
from dynact.worker.shapes import Shape, input_shape, output_shape
from dynact.worker.verify import verify, verify_again

SEED = 0
WARM_UP_CALLS = 3
# Elements of an input: float64 takes a multiple of their memory and time.
MOST_TO_VERIFY = 2**20


@dataclass
class Feed:
    """Where each call finds its input and, in training, the gradient it starts back from."""

    x: Tensor
    gradient: Tensor | None = None
    may_be_written: bool = False
    """Whether what is called may write into x."""

    @property
    def given(self) -> Tensor:
        """What the layer is called on."""
        if self.may_be_written and self.x.requires_grad:
            return not_a_leaf(self.x)
        return self.x


class LayerWorkload:
    """A layer against another of the same shape, dtype, memory format and mode.

    Both are called the same way on one shared input drawn from N(0, 1), what BatchNorm hands an
    activation. A layer whose input has other channels, or that writes into it, has one of its own;
    where either side writes into its input, a training step of both begins with an operator that
    copies nothing, as a leaf may not be written into. Inference is eval mode under inference mode;
    training is train mode, forward and backward from a fixed random gradient, with the input and
    all parameters requiring one and gradients set to None between. What is replayed as a graph
    has a new one, and its input another place, in each visit.
    """

    def __init__(self, case: Case, device: Device, kept: Kept) -> None:
        self.case = case
        self._device = device
        self._kept = kept

    @contextmanager
    def ready(self) -> Iterator[Pair]:
        """Yield both layers made, compiled if the case is, checked, warm, and with their inputs."""
        case, device = self.case, self._device
        inputs = [self._input(case) for case in (target_case(case), of_baseline(case))]
        check_once(case, device, self._kept)
        layers = self._kept.get(case, lambda: _Layers(case, device, inputs))
        with layers.fed_from(inputs):
            yield layers.pair
            layers.verify_again()

    def _input(self, case: Case) -> RotatingInput:
        # Of a shape, whatever is called on it; what writes into it has its own.
        shapes = input_shape(case), output_shape(case)
        owner = case.activation if activations.writes_in_place(case.activation) else ""
        key = "input", case.phase, case.dtype, case.memory_format, shapes, owner
        return self._kept.get(
            key, lambda: RotatingInput(*draw_tensors(case, self._device), output_shape(case))
        )

    def target_counters(self) -> list[Counter]:
        """Return what is counted of the eager formulation, on the case's device.

        With real tensors: a layer that fails on meta tensors is counted all the same.
        """
        return _counters(replace(self.case, mode="eager"), self._device)

    def baseline_counters(self) -> list[Counter]:
        """Return the same of the baseline."""
        return _counters(replace(of_baseline(self.case), mode="eager"), self._device)


class _Layers:
    """Two layers to be compared, warm, whose inputs are there for a visit alone."""

    def __init__(self, case: Case, device: Device, inputs: Sequence[RotatingInput]) -> None:
        written = writes_in_place(case)
        self._feeds = [Feed(source.current, source.gradient, written) for source in inputs]
        self._inputs = inputs
        self._case = case
        self._device = device
        self._layers = [prepared(each, device) for each in (case, of_baseline(case))]
        self._reference: nn.Module | None = None
        self._looks = 0
        if case.impl != activations.REFERENCE:
            self._reference = prepared(replace(case, impl=activations.REFERENCE), device)
            self._layers[0].load_state_dict(self._reference.state_dict())
        self._compiled = case.mode == "compile"
        with grad_mode(case):
            calls = [
                ready_call(layer, case, feed)
                for layer, feed in zip(self._layers, self._feeds, strict=True)
            ]
        self._replays: list[Replay] = []
        if case.mode == "graph":
            for each in (case, of_baseline(case)):
                check_replay(each, device)
            self._replays = [Replay(call, device) for call in calls]
        self._visits = 0
        target, baseline = self._replays or calls
        # A graph finds its input where that lay when it was captured.
        before_round = None if self._replays else self._rotate
        rewarmed = isinstance(case, KnownPair) and case.warm_baseline
        self.pair = Pair(
            target,
            baseline,
            device.clock,
            before_round=before_round,
            baseline_clock=device.clock.rewarmed_by(baseline) if rewarmed else None,
        )

    @property
    def kept_bytes(self) -> int | None:
        """What the layers take; compiled ones are too long in the making to be given up."""
        if self._compiled:
            return None
        return sum(
            tensor.nbytes
            for layer in self._layers
            for tensor in (*layer.parameters(), *layer.buffers())
        )

    def verify_again(self) -> None:
        """Raise WrongError if an implementation that was timed does not do any more what it did."""
        if self._reference is not None:
            self._looks += 1
            check_again(self._layers[0], self._reference, self._case, self._device, self._looks)

    @contextmanager
    def fed_from(self, inputs: Sequence[RotatingInput]) -> Iterator[None]:
        self._inputs = inputs
        if self._replays:
            self._rotate(self._visits)
        else:
            self._feed()
        self._visits += 1
        try:
            with grad_mode(self._case):
                for replay in self._replays:
                    replay.capture()
            yield
        finally:
            for replay in self._replays:
                replay.release()
            if self._replays:
                # Once for both: all that is cached goes, and is to be allocated anew.
                self._device.release_memory()
            # Or what is given up would still be held here.
            self._inputs = ()
            for feed in self._feeds:
                del feed.x, feed.gradient

    def _rotate(self, turn: int) -> None:
        for source in self._inputs:
            source.rotate(turn)
        self._feed()

    def _feed(self) -> None:
        for feed, source in zip(self._feeds, self._inputs, strict=True):
            feed.x, feed.gradient = source.current, source.gradient


def check_once(case: Case, device: Device, kept: Kept) -> None:
    """Raise WrongError if an implementation does not do what its reference does.

    What was found right stays so for the process, whatever it is compared with.
    """
    if case.impl != activations.REFERENCE:
        alone = replace(case, baseline="")
        kept.get(("checked", alone), lambda: _Checked(alone, device))


class _Checked:
    """An implementation that does what its reference does."""

    kept_bytes: ClassVar[int] = 0

    def __init__(self, case: Case, device: Device) -> None:
        for dtype in dict.fromkeys(("float32", case.dtype)):
            tried = replace(_smaller(case), dtype=dtype)
            reference = replace(tried, impl=activations.REFERENCE)
            verify(prepared(tried, device), prepared(reference, device), tried, device.torch_device)


def check_replay(case: Case, device: Device) -> None:
    """Raise WrongError if a layer replayed as a graph does not do what its code does."""
    small = _smaller(case)
    with grad_mode(small):
        verify_replay(prepared(small, device), *draw_tensors(small, device), device)


def check_again(
    layer: nn.Module, reference: nn.Module, case: Case, device: Device, look: int
) -> None:
    """Raise WrongError if an implementation that was timed does not do any more what it did.

    Parameters
    ----------
    layer, reference
        Prepared for the case; the reference takes over the other's state.
    look
        See `verify.verify_again`.
    """
    verify_again(layer, reference, _smaller(case), device.torch_device, look)


def _smaller(case: Case) -> Case:
    """Return a case, the longest of its sizes halved until it has `MOST_TO_VERIFY` elements."""
    batch, height, width = case.batch, case.height, case.width
    while case.channels * batch * height * width > MOST_TO_VERIFY and max(batch, height, width) > 1:
        longest = max(batch, height, width)
        if longest == height:
            height = (height + 1) // 2
        elif longest == width:
            width = (width + 1) // 2
        else:
            batch = (batch + 1) // 2
    return replace(case, batch=batch, height=height, width=width)


def of_baseline(case: Case) -> Case:
    """Return the case of what a case's activation is compared with."""
    return replace(case, activation=case.baseline, impl=activations.REFERENCE)


def _counters(case: Case, device: Device) -> list[Counter]:
    case = replace(case, baseline="")
    subject = functools.cache(lambda: (prepared(case, device), draw_tensors(case, device)[0]))
    # What is generated shows no operators. The arithmetic is by definition the reference's.
    plain = case if case.impl in activations.PLAIN else replace(case, impl=activations.REFERENCE)
    shown = subject
    if plain is not case:
        shown = functools.cache(lambda: (prepared(plain, device), draw_tensors(plain, device)[0]))
    shared = replace(plain, phase="inference"), device
    own = case, device
    count_memory = _traffic_and_peak if plain is case else _peak
    return [
        Counter("parameters", shared, lambda: counters.parameters(shown()[0])),
        Counter("arithmetic", shared, lambda: counters.arithmetic(*shown())),
        Counter("fvcore's default", shared, lambda: _fvcore_default(*shown())),
        Counter("traffic", own, lambda: count_memory(*subject(), case, device)),
        Counter("saved for backward", own, lambda: counters.saved(*subject(), case.phase)),
    ]


def _fvcore_default(layer: nn.Module, x: Tensor) -> Figures:
    return {"flops_fvcore_default": fvcore_default_flops(layer, x)}


def _traffic_and_peak(layer: nn.Module, x: Tensor, case: Case, device: Device) -> Figures:
    feed = _feed(x, case, device)
    with watched_mode(case):
        # What a layer sets up at its first call, or a library, is not what a call costs.
        call_of(layer, feed)()
        call = call_of(layer, feed)
        there_anyway = [x, *layer.parameters(), *layer.buffers()]
        if feed.gradient is not None:
            there_anyway.append(feed.gradient)
        with (
            TrafficCounter() as traffic,
            MemoryTracker(there_anyway) as memory,
            HiddenWork() as hidden,
            _read_by(hidden, layer, there_anyway),
        ):
            call()
        allocated_bytes = device.peak_bytes(call)
    peak = {
        "peak_bytes": memory.peak_bytes if allocated_bytes is None else allocated_bytes,
        "peak_source": "tracker" if allocated_bytes is None else "allocator",
    }
    if hidden.found:
        floor = {"traffic_floor_bytes": _least_bytes(layer, case)}
        raise PartlyCountedError(counters.HIDDEN, floor | peak)
    return peak | {
        # The plain formulation is an implementation too: of a user's layer that returns its
        # input, or does not use its parameters, it is the better bound.
        "traffic_floor_bytes": min(_least_bytes(layer, case), traffic.bytes),
        "traffic_eager_bytes": traffic.bytes,
        "operator_calls": traffic.operator_calls,
        "data_dependent": traffic.reads_values,
    }


@contextmanager
def _read_by(hidden: HiddenWork, layer: nn.Module, given: Sequence[Tensor]) -> Iterator[None]:
    """Have it take note of what a layer returns, and of the gradients of all that is given.

    At once: autograd would copy a gradient that is held.
    """
    handles = [layer.register_forward_hook(lambda _l, _x, y: hidden.read(tensors_in(y), given))]
    handles += [
        leaf.register_hook(lambda gradient: hidden.read([gradient], given))  # type: ignore[no-untyped-call]
        for leaf in given
        if leaf.requires_grad
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _peak(layer: nn.Module, x: Tensor, case: Case, device: Device) -> Figures:
    """Count what can be counted of an implementation whose operators cannot be watched."""
    call = call_of(layer, _feed(x, case, device))
    with grad_mode(case):
        warm_up(call)
        allocated_bytes = device.peak_bytes(call)
        if allocated_bytes is None:
            allocated_bytes = peak_on_cpu(call)
    return {
        "traffic_floor_bytes": _least_bytes(layer, case),
        "peak_bytes": allocated_bytes,
        "peak_source": "allocator",
    }


def _feed(x: Tensor, case: Case, device: Device) -> Feed:
    return Feed(x, _draw_gradient(case, device), writes_in_place(case))


def _least_bytes(layer: nn.Module, case: Case) -> int:
    training = case.phase == "training"
    parameters = list(layer.parameters())
    return floor_bytes(
        activations.least_passes(case.activation, training),
        case.input_bytes,
        sum(parameter.nbytes for parameter in parameters),
        sum(parameter.nbytes for parameter in parameters if parameter.requires_grad and training),
    )


def prepared(case: Case, device: Device) -> nn.Module:
    """Return a case's layer on the device, in its dtype, memory format and mode."""
    torch.manual_seed(SEED)
    layer = build(case.activation, case.channels, case.impl)
    layer.to(device.torch_device, getattr(torch, case.dtype))
    layer.to(memory_format=MEMORY_FORMATS[case.memory_format])
    return layer.train(case.phase == "training")


def draw_tensors(case: Case, device: Device) -> tuple[Tensor, Tensor | None]:
    """Return the case's input and, in training, the gradient that a step starts back from.

    Both N(0, 1), the same for every activation of the same shapes.
    """
    x = _draw(input_shape(case), case, device, SEED)
    return x.requires_grad_(case.phase == "training"), _draw_gradient(case, device)


def feed_of(case: Case, device: Device) -> Feed:
    """Return what a case's layer is called with, as it is timed."""
    return Feed(*draw_tensors(case, device), writes_in_place(case))


def writes_in_place(case: Case) -> bool:
    """Return whether either side of a case writes into its input."""
    return any(map(activations.writes_in_place, (case.activation, case.baseline)))


def call_of(layer: nn.Module, feed: Feed) -> Callable[[], None]:
    """Return what is timed: a forward pass or, where the feed has a gradient, a training step."""
    if feed.gradient is None:

        def infer() -> None:
            layer(feed.x)

        return infer

    parameters = list(layer.parameters())

    def train() -> None:
        layer(feed.given).backward(feed.gradient)
        feed.x.grad = None
        for parameter in parameters:
            parameter.grad = None

    return train


def ready_call(layer: nn.Module, case: Case, feed: Feed) -> Callable[[], None]:
    """Return what is timed of a layer, warm: compiled if the case is, checked, and called before.

    Raises
    ------
    ValueError
        If what the layer returns is no activation's output.
    RuntimeError
        If torch.compile captured no graph of it.
    """
    if case.mode == "compile":
        compile_alone(layer, feed.given)
    check_output(case, feed.x, layer(feed.given))
    call = call_of(layer, feed)
    warm_up(call)
    return call


def warm_up(call: Callable[[], object]) -> None:
    """Call often enough that nothing is done for the first time when it is timed."""
    for _ in range(WARM_UP_CALLS):
        call()


def check_output(case: Case, x: Tensor, y: object) -> None:
    """Raise ValueError if a layer's output is not one that an activation may have."""
    if not isinstance(y, Tensor):
        raise ValueError(f"{_named(case)} returns a {type(y).__name__}, not a tensor")
    # Height and width are the input's: a known pair's target is higher than its case.
    shape = x.shape[0], case.channels, *x.shape[2:]
    if y.shape != shape:
        ought = "an activation keeps it" if x.shape == shape else f"this one's has to be {shape}"
        raise ValueError(
            f"{_named(case)} changes the shape from {tuple(x.shape)} to {tuple(y.shape)}; {ought}"
        )


def _named(case: Case) -> str:
    if case.impl in activations.PLAIN:
        return f"activation {case.activation!r}"
    return f"activation {case.activation!r} as {case.impl!r}"


def check_layer(case: Case, device: Device) -> None:
    """Try a user's layer once, before a sweep spends its time on it.

    A layer that fails when called may do so at this shape alone: that is left to the rows.

    Raises
    ------
    ValueError
        If it cannot be imported or made, changes the shape, or writes into its input, which both
        sides of a comparison share.
    """
    try:
        layer = prepared(case, device)
    except Exception as error:
        raise ValueError(f"{_named(case)}: {error_line(error)}") from None
    try:
        x, _ = draw_tensors(case, device)
        before = x.clone()
        with torch.no_grad():  # where a leaf may be written to, so that we can see it
            y = layer(x)
    except Exception:
        return
    check_output(case, x, y)
    if not torch.equal(x, before):
        raise ValueError(f"{_named(case)} writes into its input; make it in-place=False")


def _draw_gradient(case: Case, device: Device) -> Tensor | None:
    return _draw(output_shape(case), case, device, SEED + 1) if case.phase == "training" else None


def _draw(shape: Shape, case: Case, device: Device, seed: int) -> Tensor:
    generator = torch.Generator(device.torch_device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=device.torch_device).to(
        dtype=getattr(torch, case.dtype), memory_format=MEMORY_FORMATS[case.memory_format]
    )
