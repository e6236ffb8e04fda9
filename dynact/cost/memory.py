"""What a layer needs of memory beside its input and its parameters, on any device."""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, UntypedStorage, nn

from dynact.cost._tensors import not_a_leaf, tensors_in
from dynact.cost._watch import OperatorWatch


class MemoryTracker(OperatorWatch):
    """Tracks, while active, the storages that operators return, as long as they live.

    It counts whole storages, on any device, meta included. Unlike an allocator it does not round,
    and does not see the workspace that an operator frees before it returns, nor, within a
    backward pass, the result of an addition that replaces one of its terms.

    Parameters
    ----------
    existing
        Tensors that are there anyway and not counted: input, parameters, buffers, the gradient
        of the output.
    """

    peak_bytes: int
    """The most bytes that were alive at once."""

    def __init__(self, existing: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._existing = WeakSet(tensor.untyped_storage() for tensor in existing)
        # Storages themselves, for an address may soon be another's.
        self._live: dict[weakref.ref[UntypedStorage], int] = {}
        self._bytes = 0

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the operator and note what it returns."""
        self._note_peak()
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            if tensor.untyped_storage() not in self._existing:
                self._note(tensor.untyped_storage())
        in_backward = torch._C._current_graph_task_id() != -1
        if not (in_backward and func in _IN_PLACE_WITHOUT_A_MODE):
            self._note_peak()
        return result

    def _note(self, storage: UntypedStorage) -> None:
        # Anew each time, for a size may change.
        reference = weakref.ref(storage, self._forget)
        self._bytes += storage.nbytes() - self._live.get(reference, 0)
        self._live[reference] = storage.nbytes()

    def _forget(self, reference: "weakref.ref[UntypedStorage]") -> None:
        self._bytes -= self._live.pop(reference, 0)

    def _note_peak(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._bytes)


# While a dispatch mode is active, autograd sums gradients into new tensors, and fills, scatters
# and puts at indices into new ones; without it, it does so in place. What then dies with the call
# would not have been there.
_IN_PLACE_WITHOUT_A_MODE = frozenset(
    (
        torch.ops.aten.add.Tensor,
        torch.ops.aten.index_put.default,
        torch.ops.aten.masked_fill.Scalar,
        torch.ops.aten.scatter.src,
    )
)


def peak_on_cpu(call: Callable[[], object]) -> int:
    """Return the most bytes that a call had allocated at once from torch's allocator on the CPU.

    As the allocator reports to the profiler: of generated code too, whose operators no dispatch
    mode sees. What is allocated before is not counted.
    """
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        call()
    events = profile.profiler.kineto_results.events()
    changes: list[tuple[int, int]] = [
        (event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"
    ]
    peak: int = max(
        accumulate((nbytes for _, nbytes in sorted(changes, key=itemgetter(0))), initial=0)
    )
    return peak


@dataclass(frozen=True)
class Saved:
    """Bytes of the distinct storages that autograd keeps from forward to backward."""

    input: int
    """The layer's input."""
    output: int
    """The layer's output."""
    rest: int
    """All other, parameters and buffers excepted: they are there anyway."""

    @property
    def total(self) -> int:
        """All together."""
        return self.input + self.output + self.rest


def saved_for_backward(module: nn.Module, x: Tensor) -> Saved:
    """Run the forward pass once and return what autograd keeps of it.

    The module itself stays as it is: BatchNorm's statistics are updated in a copy. What an
    ``autograd.Function`` keeps without ``save_for_backward`` is not seen.

    Parameters
    ----------
    module
        In the mode to ask about, usually train.
    x
        Its input, which requires a gradient.
    """
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    there_anyway = {t.untyped_storage() for t in (*module.parameters(), *buffers.values())}
    # A graph that does not lead to the output is gone by the end, and what it held with it.
    held = WeakSet[_Held]()

    def pack(tensor: Tensor) -> _Held:
        # Detached: a saved output that keeps its graph, which keeps this, would never be freed.
        saved = _Held(tensor.detach())
        held.add(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        y = torch.func.functional_call(module, buffers, (not_a_leaf(x),))
    kept = {t.untyped_storage() for t in tensors_in([saved.tensor for saved in held])}
    kept -= there_anyway
    of_input = kept & {x.untyped_storage()}
    of_output = kept & {t.untyped_storage() for t in tensors_in(y)} - of_input
    return Saved(_bytes(of_input), _bytes(of_output), _bytes(kept - of_input - of_output))


@dataclass(eq=False)
class _Held:
    tensor: Tensor


def _bytes(storages: Iterable[UntypedStorage]) -> int:
    return sum(storage.nbytes() for storage in storages)
