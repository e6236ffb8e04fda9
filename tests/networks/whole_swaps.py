"""What holds of swaps in any network, whatever it is built of."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dynact.cost._watch import OperatorWatch
from dynact.networks import GATE, swap_activations
from dynact.networks.known import MODULES
from dynact.networks.sites import UNKNOWN_CHANNELS
from dynact.networks.swap import Swap

Loss = Callable[[Any], Tensor]

# Of the registry's those that are what torch calls by that name, bit by bit.
_SAME = frozenset(("relu", "relu6", "silu", "gelu", "hardswish"))
# It acts on maps and on tokens, and learns; and torch has an operator for it alone.
_NEW = "prelu"
# Why one may stay, beside gates.
_KEPT = UNKNOWN_CHANNELS, "its samples are not the first dimension of its input"
_OPERATORS = {"relu6": "hardtanh"}


class _Operators(OperatorWatch):  # type: ignore[no-untyped-call]
    """Counts the activations that reach torch's dispatcher, whoever calls them in which way."""

    def __init__(self, found: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = found

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__.removesuffix("_")
        if name in MODULES.values():
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def replace_all(model: nn.Module, images: Tensor, loss: Loss) -> list[Swap]:
    """Swap in a layer that learns: each call is replaced or named, and each new one is reached."""
    swapped, swaps = swap_activations(model.eval(), _NEW, example_input=images)

    assert _run(model, images) == _originals(swaps)
    kept = [swap for swap in swaps if swap.kept_because]
    assert _run(swapped, images) == _originals(kept)
    assert [swap for swap in kept if not swap.kept_because.startswith((GATE, *_KEPT))] == []
    assert len(kept) < len(swaps)

    torch.autograd.backward(loss(swapped.train()(images)))
    old = {name for name, _ in model.named_parameters()}
    new = {name: p.grad for name, p in swapped.named_parameters() if name not in old}
    assert len(new) == len(swaps) - len(kept)
    assert [name for name, gradient in new.items() if gradient is None] == []
    return swaps


def _run(model: nn.Module, images: Tensor) -> Counter[str]:
    found: Counter[str] = Counter()
    with torch.no_grad(), _Operators(found):
        model(images)
    return found


def _originals(swaps: list[Swap]) -> Counter[str]:
    names = [swap.site.original for swap in swaps]
    return Counter(_OPERATORS.get(name, name) for name in names)


def replace_by_itself(model: nn.Module, images: Tensor, loss: Loss, calls: list[Swap]) -> None:
    """Swap each of the originals found for itself: no bit changes, in eval mode or in training."""
    own = {name: name for name in {swap.site.original for swap in calls} & _SAME}
    before = _state(model)
    swapped, swaps = swap_activations(model, own, example_input=images)

    assert all(swap.kept_because in ("", GATE) for swap in swaps if swap.site.original in own)
    assert any(not swap.kept_because for swap in swaps)
    assert list(swapped.state_dict()) == list(model.state_dict())
    for state in (_state(model), _state(swapped)):
        assert _are_equal(state, before)
    for training in (False, True):
        expected, found = (_step(each.train(training), images, loss) for each in (model, swapped))
        for what in expected:
            assert _are_equal(found[what], expected[what]), what


def _state(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def _step(model: nn.Module, images: Tensor, loss: Loss) -> dict[str, Any]:
    torch.manual_seed(0)
    model.zero_grad()
    output = model(images)
    lost = loss(output)
    torch.autograd.backward(lost)
    return {
        "output": tree_leaves(output),
        "loss": lost,
        "gradients": [parameter.grad for parameter in model.parameters()],
        "buffers": list(model.buffers()),
        "random numbers": torch.get_rng_state(),
    }


def _are_equal(found: object, expected: object) -> bool:
    pairs = zip(tree_leaves(found), tree_leaves(expected), strict=True)
    return all(x is y or torch.equal(x, y) for x, y in pairs)
