"""An input that rotates through places in memory, so that no ratio hangs on one lucky place."""

from collections import deque

import torch
from torch import Tensor

# Always an odd number, so that each place meets both orders of the sides.
MOST_PLACES = 7
# Larger inputs stream past most caches, wherever they lie; and memory that is new to each round
# has to be got from the system, which took up to ten times as long as the call.
MOST_BYTES = 28 * 2**20


class RotatingInput:
    """Equal inputs at several places, of which one at a time is current.

    Where an input and its output lie decides how they share a cache: within one process a ReLU
    of the second-level cache's size was seen to take 30 µs at one place and 57 µs at another.

    Parameters
    ----------
    gradient
        What a training step starts back from, wherever the input lies.
    output_shape
        Of the outputs, where it is not the input's.
    """

    def __init__(
        self,
        x: Tensor,
        gradient: Tensor | None = None,
        output_shape: tuple[int, ...] | None = None,
    ) -> None:
        places = min(max(MOST_BYTES // max(x.nbytes, 1), 1), MOST_PLACES)
        places -= 1 - places % 2
        self.current = x
        """The input to use now."""
        self.gradient = gradient
        self._inputs = [x, *(_another(x) for _ in range(places - 1))]
        self._output_shape = output_shape or x.shape
        self._spares = deque(self._spare() for _ in range(places - 1))

    @property
    def kept_bytes(self) -> int:
        """What all places take."""
        tensors = [*self._inputs, *self._spares]
        if self.gradient is not None:
            tensors.append(self.gradient)
        return sum(tensor.nbytes for tensor in tensors)

    def rotate(self, turn: int) -> None:
        """Make the input of a turn current, and let its outputs lie elsewhere too."""
        self.current = self._inputs[turn % len(self._inputs)]
        if self._spares:
            # Takes the place where outputs lay; what is given up is where they will lie.
            self._spares.append(self._spare())
            self._spares.popleft()

    def _spare(self) -> Tensor:
        return self.current.new_empty(self._output_shape)


def _another(x: Tensor) -> Tensor:
    return x.detach().clone(memory_format=torch.preserve_format).requires_grad_(x.requires_grad)
