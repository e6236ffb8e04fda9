"""What a device's graph makes of a call: its kernels, kept, and run by one call of the host."""

import functools
from contextlib import suppress

import torch
from torch import Tensor, nn

from dynact.cost import not_a_leaf
from dynact.schema.redact import error_line
from dynact.timing.clock import Call
from dynact.worker.device import Device, Graph
from dynact.worker.verify import compare

# As torch asks for, on the stream that kernels are then captured on.
WARM_UP_CALLS = 3


class NotCapturedError(NotImplementedError):
    """A call cannot be replayed as a graph; the message is one line for the user."""


class Replay:
    """A call whose kernels are captured in a graph, and replayed whenever this is called.

    They find their input where it lay, and leave their output where the graph has memory of its
    own: both stay in their place until it is captured anew.
    """

    def __init__(self, call: Call, device: Device) -> None:
        self._call = call
        self._device = device
        self._graph: Graph | None = None

    def __call__(self) -> None:
        """Replay it."""
        assert self._graph
        self._graph.replay()

    def capture(self) -> None:
        """Take the kernels of a call, in the grad mode that it is to be called in.

        Raises
        ------
        NotCapturedError
            If it does what no graph can hold, as to wait for a result.
        """
        self._device.synchronize()
        graph = self._device.new_graph()
        with _stream(self._device.torch_device):
            for _ in range(WARM_UP_CALLS):
                self._call()
            self._device.synchronize()
            graph.capture_begin()
            try:
                self._call()
                graph.capture_end()
            except Exception as error:
                # Of what is cut short here; what came first is said.
                with suppress(RuntimeError):
                    graph.capture_end()
                graph.reset()
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                raise NotCapturedError(
                    f"it cannot be captured as a graph: {error_line(error)}"
                ) from None
        self._graph = graph

    def release(self) -> None:
        """Give the graph up, if there is one; its memory serves no other until it is released."""
        if self._graph:
            self._graph.reset()
        self._graph = None


@functools.cache
def _stream(device: torch.device) -> torch.Stream:
    """Return the one that all capture on: an allocator keeps memory for each stream apart."""
    return torch.Stream(device)


def verify_replay(layer: nn.Module, x: Tensor, gradient: Tensor | None, device: Device) -> None:
    """Compare what a layer's graph does with what the layer does, on another input in its place.

    Parameters
    ----------
    layer
        One of its own: in training what BatchNorm remembers is changed.
    x
        Is changed. In training it requires a gradient.
    gradient
        What a training step starts back from; ``None`` in inference.

    Raises
    ------
    NotCapturedError
        If it cannot be captured.
    WrongError
        If an output or a gradient differs by more than roundings.
    """
    found: dict[str, Tensor] = {}
    replay = Replay(lambda: found.update(_results(layer, x, gradient)), device)
    other = x.detach().neg()
    try:
        replay.capture()
        # Anew for each: it may be written into.
        x.detach().copy_(other)
        # Of an output that is the input, before that changes.
        expected = {what: value.clone() for what, value in _results(layer, x, gradient).items()}
        x.detach().copy_(other)
        replay()
        device.synchronize()
        for what, value in expected.items():
            exactly = value.cpu().double()
            compare(what, found[what], value, exactly, "replayed as a graph", x.numel())
    finally:
        # What was found lies in its memory.
        replay.release()


def _results(layer: nn.Module, x: Tensor, gradient: Tensor | None) -> dict[str, Tensor]:
    """Return the output of a call and, in training, the gradients that there are, by name."""
    if gradient is None:
        return {"output": layer(x)}
    y = layer(not_a_leaf(x))
    leaves = {"the input": x, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad(y, list(leaves.values()), gradient, allow_unused=True)
    named = zip(leaves, gradients, strict=True)
    return {"output": y.detach()} | {f"gradient of {n}": g for n, g in named if g is not None}
