"""Any network as what is counted: one of a single input."""

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from dynact.cost import tensors_in
from dynact.networks.passes import Example, call_with


def plain(network: nn.Module, example: Example) -> tuple[nn.Module, Tensor]:
    """Return a network of a single input, with a list of tensors as output, and that input.

    Of several inputs it is the first of floating point, or else the first; the others are the
    example's.
    """
    return _Plain(network, example).train(network.training), first_tensor(example)


def first_tensor(example: Example) -> Tensor:
    """Return the first tensor of floating point in an example, or else the first of any type."""
    tensors = tensors_in(example)
    return next((x for x in tensors if x.is_floating_point()), tensors[0])


class _Plain(nn.Module):
    def __init__(self, network: nn.Module, example: Example) -> None:
        super().__init__()
        self.network = network
        self._example = example
        self._input = first_tensor(example)

    def forward(self, x: Tensor) -> list[Tensor]:
        inputs = tree_map_only(Tensor, lambda y: x if y is self._input else y, self._example)
        return tensors_in(call_with(self.network, inputs))
