"""What the cost model of the simulated accelerator says of a layer, added up by hand.

Each activation is a list of its kernels: how many times each moves the whole input, how many times
one number a channel, and its FLOPs an element where they may matter.
"""

from dataclasses import dataclass
from typing import NamedTuple

from dynact.schema.cases import Case

ELEMENT_BYTES = 4


class Kernel(NamedTuple):
    inputs: int
    channels: int = 0
    flops: int = 0


# A sum over all but the channels of what PReLU's backward leaves for its slopes is one of them.
_RELU_LIKE = {"inference": [Kernel(2)], "training": [Kernel(2), Kernel(3)]}
KERNELS = {
    ("relu", phase): kernels for phase, kernels in _RELU_LIKE.items()
} | {
    ("gelu", phase): kernels for phase, kernels in _RELU_LIKE.items()
} | {
    ("prelu", "inference"): [Kernel(2, 1)],
    ("prelu", "training"): [Kernel(2, 1), Kernel(4, 1), Kernel(1, 1)],
    # A depthwise 3 × 3 convolution with its bias, a normalisation by four numbers, a maximum.
    ("frelu", "inference"): [Kernel(2, 10, 18), Kernel(2, 4), Kernel(3)],
}  # fmt: skip
# What a call has alive at once beside input, gradient and parameters: inputs, and whether there is
# a gradient of a number a channel.
PEAKS = {
    ("relu", "inference"): (1, 0),
    ("relu", "training"): (2, 0),
    ("gelu", "inference"): (1, 0),
    ("gelu", "training"): (2, 0),
    ("prelu", "inference"): (1, 0),
    ("prelu", "training"): (3, 1),
    ("frelu", "inference"): (2, 0),
}


@dataclass(frozen=True)
class Oracle:
    """A device's cost model; times in ns."""

    launch_ns: float
    latency_ns: float
    bytes_per_ns: float
    flops_per_ns: float
    l2_bytes: int = 0
    l2_bytes_per_ns: float = 1.0

    def kernel_ns(self, nbytes: float, flops: float = 0.0) -> float:
        fits = nbytes <= self.l2_bytes
        bandwidth = self.l2_bytes_per_ns if fits else self.bytes_per_ns
        return max(self.latency_ns, nbytes / bandwidth, flops / self.flops_per_ns)

    def eager_ns(self, kernels_ns: list[float]) -> float:
        """Return what events read of a call in a long block of calls, after one of the same.

        The slower of the host, who queues them, and the device: in a block that the device has
        caught up with, the settling call leaves it as far behind the host as any other does.
        """
        return max(len(kernels_ns) * self.launch_ns, sum(kernels_ns))

    def device_ns(self, activation: str, case: Case) -> float:
        """Return what the device alone takes of a call."""
        return sum(self._kernels_ns(activation, case))

    def host_share(self, activation: str, case: Case) -> float:
        """Return what of a call's time the host takes to queue it."""
        kernels = len(KERNELS[activation, case.phase])
        return kernels * self.launch_ns / self.call_ns(activation, case)

    def call_ns(self, activation: str, case: Case) -> float:
        return self.eager_ns(self._kernels_ns(activation, case))

    def _kernels_ns(self, activation: str, case: Case) -> list[float]:
        elements = case.batch * case.channels * case.height * case.width
        return [
            self.kernel_ns(
                ELEMENT_BYTES * (kernel.inputs * elements + kernel.channels * case.channels),
                kernel.flops * elements,
            )
            for kernel in KERNELS[activation, case.phase]
        ]

    def copy_s(self, tensor_bytes: int) -> float:
        return self.eager_ns([self.kernel_ns(2 * tensor_bytes)]) / 1e9

    def moving_bytes_per_s(self, tensor_bytes: int) -> float:
        """Return the faster rate, of a copy and of adding two."""
        moved = 2 * tensor_bytes, 3 * tensor_bytes
        return max(size / self.eager_ns([self.kernel_ns(size)]) for size in moved) * 1e9


def peak_bytes(activation: str, case: Case, block_bytes: int = 512) -> int:
    """Return the most bytes that a call allocates at once, each tensor in whole blocks."""
    elements = case.batch * case.channels * case.height * case.width
    inputs, channels = PEAKS[activation, case.phase]

    def allocated(count: int) -> int:
        return -(-count * ELEMENT_BYTES // block_bytes) * block_bytes

    return inputs * allocated(elements) + channels * allocated(case.channels)
