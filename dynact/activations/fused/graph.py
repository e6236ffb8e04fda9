"""A formula run as one compiled graph, of which the inputs alone are kept for the backward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental import _config as fx

Formula = Callable[..., Any]
# By name, as (("gate", "sigmoid"),): to be part of a key.
Constants = tuple[tuple[str, Any], ...]


class Graph:
    """A formula of tensors, of which each call is one graph of torch.compile.

    Sizes stay variable: there is a graph for each rank, dtype and kind of device, and for what else
    dynamo tells apart (memory formats, modes, sizes that are 1), not for each shape. For the
    backward pass the inputs alone are kept: what else it needs is computed again within its graph,
    which costs less than memory would. Where a compiler
    is at work already, around a whole network, it gets the formula itself; and so does autograd
    where a gradient is to be differentiated again.

    Parameters
    ----------
    formula
        Of tensors, the first of which is the layer's input, and of constants by name.
    derivative
        Another formula with the same gradients, where one is better to differentiate.
    variable
        The dimensions whose sizes stay variable, in each tensor; None for all.
    """

    def __init__(
        self,
        formula: Formula,
        derivative: Formula | None = None,
        variable: Sequence[int] | None = None,
    ) -> None:
        self._formula = formula
        self._derivative = derivative or formula
        self._variable = variable
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._ran_at: set[Any] = set()

    def __call__(self, *inputs: Tensor, **constants: Any) -> Tensor:
        """Return what the formula returns.

        Raises
        ------
        NotImplementedError
            Without a C++ compiler, or on a device that torch.compile generates no code for.
        """
        given = tuple(constants.items())
        # On the meta device there is nothing to run.
        if torch.compiler.is_compiling() or inputs[0].is_meta:
            y: Tensor = self._formula(*inputs, **constants)
        elif torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
            y = _FromInputs.apply(self, given, *inputs)
        else:
            y = self.forward(given, *inputs)
        return y

    def forward(self, constants: Constants, *inputs: Tensor) -> Any:
        """Return what the formula returns, without a gradient."""
        formula = self._formula

        def of(*inputs: Tensor) -> Any:
            return formula(*inputs, **dict(constants))

        return self._run("forward", constants, of, inputs)

    def backward(
        self, needed: tuple[bool, ...], constants: Constants, gradient: Tensor, *inputs: Tensor
    ) -> Iterator[Tensor | None]:
        """Yield the gradients of the inputs for which one is needed, None for the others."""
        derivative = self._derivative

        def of(gradient: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
            def of_needed(*some: Tensor) -> Any:
                each = iter(some)
                given = [
                    next(each) if need else tensor
                    for need, tensor in zip(needed, inputs, strict=True)
                ]
                return derivative(*given, **dict(constants))

            some = [tensor for need, tensor in zip(needed, inputs, strict=True) if need]
            pull_back = torch.func.vjp(of_needed, *some)[1]
            gradients: tuple[Tensor, ...] = pull_back(gradient)
            return gradients

        found = iter(self._run(needed, constants, of, (gradient, *inputs)))
        return (next(found) if need else None for need in needed)

    def differentiable_backward(
        self, needed: tuple[bool, ...], constants: Constants, gradient: Tensor, *inputs: Tensor
    ) -> Iterator[Tensor | None]:
        """Yield what `backward` does, each with a graph of its own."""
        # Aliases: one input may have been computed from another, which is not this graph's part.
        aliases = [tensor.view_as(tensor) for tensor in inputs]
        y = self._derivative(*aliases, **dict(constants))
        some = [tensor for need, tensor in zip(needed, aliases, strict=True) if need]
        found = iter(torch.autograd.grad(y, some, gradient, create_graph=True))
        return (next(found) if need else None for need in needed)

    def _run(
        self, which: Any, constants: Constants, of: Callable[..., Any], given: tuple[Tensor, ...]
    ) -> Any:
        x = given[0]
        key = which, constants, x.dtype, x.device.type, tuple(size == 1 for size in x.shape)
        run = self._compiled.get(key)
        if run is None:
            if not generates_code_for(x.device.type):
                raise NotImplementedError(
                    "a fused implementation is compiled where it runs, and torch.compile generates "
                    f'no code for {x.device.type}; use impl="reference"'
                )
            run = self._compiled[key] = compiled(of, None if self._variable else True)
        # Or dynamo would take the sizes of parameters for constants, and compile for what has a
        # gradient and what has none.
        plain = [tensor.detach() for tensor in given]
        # With what else dynamo compiles anew for.
        modes = torch.is_inference_mode_enabled(), torch.is_autocast_enabled(x.device.type)
        shapes = key, modes, x.stride(), *(tensor.shape for tensor in given)
        new = shapes not in self._ran_at
        if new:
            self._mark_variable(plain)
        try:
            # Entering it takes as long as a small call.
            with _separate_sizes() if new else nullcontext():
                y = run(*plain)
        except Exception as error:
            # Imported on demand: importing an activation is not to import dynamo.
            from torch._dynamo.exc import FailOnRecompileLimitHit

            if isinstance(error, FailOnRecompileLimitHit):
                # Of one piece of code dynamo keeps a few graphs, for what else differs: memory
                # formats and modes. A new piece begins anew.
                self._compiled.pop(key, None)
                self._ran_at.clear()
                return self._run(which, constants, of, given)
            if "No working C++ compiler" in str(error):
                raise NotImplementedError(
                    "a fused implementation is compiled where it runs, and no working C++ compiler "
                    'was found; install g++, or use impl="reference"'
                ) from error
            raise
        self._ran_at.add(shapes)
        return y

    def _mark_variable(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            for dim in self._variable or ():
                if dim < tensor.dim():
                    torch._dynamo.maybe_mark_dynamic(tensor, dim)


def generates_code_for(device_type: str) -> bool:
    """Return whether torch.compile generates code for such a device, as ``"cuda"``."""
    # Imported on demand: importing an activation is not to import the compiler.
    from torch._inductor.codegen import common

    common.init_backend_registration()
    return common.get_scheduling_for_device(device_type) is not None


def compiled(of: Callable[..., Any], dynamic: bool | None) -> Callable[..., Any]:
    """Return a function of tensors as one graph of its own."""
    of.__code__ = of.__code__.replace()
    run: Callable[..., Any] = torch.compile(of, fullgraph=True, dynamic=dynamic)
    return run


def _separate_sizes() -> AbstractContextManager[None]:
    """Have each variable size its own symbol while something is compiled.

    Otherwise those that happen to be equal share one, and all of them are fixed where one is.
    """
    patched: AbstractContextManager[None] = fx.patch(use_duck_shape=False)  # type: ignore[attr-defined]
    return patched


class _FromInputs(torch.autograd.Function):
    """Keeps a graph's inputs, and computes the rest again."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, constants: Constants, *inputs: Tensor) -> Any:
        ctx.graph, ctx.constants = graph, constants
        ctx.save_for_backward(*inputs)
        device = inputs[0].device.type
        ctx.autocast = {
            "device_type": device,
            "dtype": torch.get_autocast_dtype(device),
            "enabled": torch.is_autocast_enabled(device),
        }
        return graph.forward(constants, *inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # On where a gradient is to be differentiated again.
        again = torch.is_grad_enabled()
        pull_back = ctx.graph.differentiable_backward if again else ctx.graph.backward
        asked = ctx.needs_input_grad[2:], ctx.constants, gradient, *ctx.saved_tensors
        device = ctx.autocast["device_type"]
        if not (ctx.autocast["enabled"] or torch.is_autocast_enabled(device)):
            return None, None, *pull_back(*asked)
        # As in the forward pass, that what is computed again is the same.
        with torch.autocast(**ctx.autocast):
            return None, None, *pull_back(*asked)
