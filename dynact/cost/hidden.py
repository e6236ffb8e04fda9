"""Work that is done outside of torch's operators, and that no count of operators can have."""

from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, UntypedStorage, nn

from dynact.cost._as_found import as_found
from dynact.cost._operators import only_allocates, takes_only_a_shape, written_over
from dynact.cost._tensors import tensors_in
from dynact.cost._watch import OperatorWatch


def is_all_shown(module: nn.Module, x: Tensor) -> bool:
    """Whether module(x), in eval mode, computes by torch's operators alone.

    The module stays as it is. See `HiddenWork` for what is noticed.
    """
    given = x.detach().clone()
    with as_found(module), HiddenWork() as hidden:
        y = module(given)
        hidden.read(tensors_in(y), [given, *module.parameters(), *module.buffers()])
    return not hidden.found


class HiddenWork(OperatorWatch):
    """Notices, while active, results that no operator computed.

    A kernel of one's own, in Triton or C++, is called by no operator unless it is registered as
    one. It writes into memory that was allocated and that no operator has written to; or the
    result's memory comes from elsewhere, as NumPy's. One that adds to zeros is not noticed, nor
    one whose result only other such kernels read.
    """

    found: bool
    """Whether an operator or the caller read what no operator computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unwritten = WeakSet[UntypedStorage]()
        self._made = WeakSet[UntypedStorage]()
        self.found = False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the operator and note whose memory it reads and writes."""
        kwargs = kwargs or {}
        written = {tensor.untyped_storage() for tensor in written_over(func, args, kwargs)}
        self._unwritten -= written
        given = {tensor.untyped_storage() for tensor in tensors_in((args, kwargs))}
        result = func(*args, **kwargs)
        made = {tensor.untyped_storage() for tensor in tensors_in(result)} - given
        self._made |= made
        if only_allocates(func):
            self._unwritten |= {storage for storage in made if storage.nbytes() > 0}
        elif (made or written) and not takes_only_a_shape(func):
            self.found |= any(storage in self._unwritten for storage in given)
        return result

    def read(self, results: Iterable[Tensor], given: Iterable[Tensor]) -> None:
        """Take note that the caller reads what was computed.

        Parameters
        ----------
        results
            Outputs or gradients.
        given
            What was there before: input, parameters, buffers, the gradient of the output.
        """
        known = {tensor.untyped_storage() for tensor in given}
        storages = {tensor.untyped_storage() for tensor in results if tensor.numel() > 0}
        is_from_elsewhere = storages and not any(
            storage in self._made or storage in known for storage in storages
        )
        if is_from_elsewhere or any(storage in self._unwritten for storage in storages):
            self.found = True
