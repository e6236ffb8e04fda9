"""What the cost model of the simulated accelerator says of a layer, added up by hand.

Each activation is a list of its kernels: how many times each moves the whole input, how many times
one number a channel, its FLOPs an element where they may matter, and what of all it reads another
kernel of the same call has moved before.
"""

from dataclasses import dataclass
from typing import NamedTuple

from dynact.schema.cases import Case

ELEMENT_BYTES = 4


class Kernel(NamedTuple):
    inputs: int
    channels: int = 0
    flops: int = 0
    reads: int = 1
    """Of ``inputs``."""
    found: int = 0
    """Of ``reads``, those that were moved before."""
    channels_found: int = 0


# A sum over all but the channels of what PReLU's backward leaves for its slopes is one of them.
# What a backward pass begins with, the gradient, nothing has moved before.
_RELU_LIKE = {
    "inference": [Kernel(2)],
    "training": [Kernel(2), Kernel(3, reads=2, found=1)],
}
KERNELS = {
    ("relu", phase): kernels for phase, kernels in _RELU_LIKE.items()
} | {
    ("gelu", phase): kernels for phase, kernels in _RELU_LIKE.items()
} | {
    ("prelu", "inference"): [Kernel(2, 1)],
    ("prelu", "training"): [
        Kernel(2, 1),
        Kernel(4, 1, reads=2, found=1, channels_found=1),
        Kernel(1, 1, found=1, channels_found=1),
    ],
    # A depthwise 3 × 3 convolution with its bias, a normalisation by four numbers, a maximum.
    ("frelu", "inference"): [
        Kernel(2, 10, 18),
        Kernel(2, 4, found=1),
        Kernel(3, reads=2, found=2),
    ],
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

    def kernel_ns(self, nbytes: float, flops: float = 0.0, found: float = 1.0) -> float:
        """Return what a kernel takes that finds a share of what it reads in an L2 that it fits."""
        share = found if nbytes <= self.l2_bytes else 0.0
        moving_ns = nbytes * (share / self.l2_bytes_per_ns + (1 - share) / self.bytes_per_ns)
        return max(self.latency_ns, moving_ns, flops / self.flops_per_ns)

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

    def cold_device_ns(self, activation: str, case: Case) -> float:
        """Return what the device alone takes of a call that finds its caches empty."""
        return sum(self._kernels_ns(activation, case, cold=True))

    def cold_call_ns(self, activation: str, case: Case) -> float:
        """Return what events read of a call that is queued while a flush runs before it."""
        flush_ns = self.flush_ns()
        queued_ns, done_ns = 0.0, flush_ns
        for kernel_ns in self._kernels_ns(activation, case, cold=True):
            queued_ns += self.launch_ns
            done_ns = max(queued_ns, done_ns) + kernel_ns
        return done_ns - flush_ns

    def cold_host_share(self, activation: str, case: Case) -> float:
        """Return what of that time the host takes to queue what the flush leaves it to queue."""
        queueing_ns = len(KERNELS[activation, case.phase]) * self.launch_ns
        left_ns = max(queueing_ns - self.flush_ns(), 0.0)
        return left_ns / self.cold_call_ns(activation, case)

    def flush_ns(self) -> float:
        """Return what a flush takes: eight times the L2 goes through it."""
        return self.kernel_ns(8 * self.l2_bytes)

    def _kernels_ns(self, activation: str, case: Case, *, cold: bool = False) -> list[float]:
        elements = case.batch * case.channels * case.height * case.width

        def sized(inputs: int, channels: int) -> int:
            return inputs * elements + channels * case.channels

        kernels = KERNELS[activation, case.phase]
        sizes = [ELEMENT_BYTES * sized(kernel.inputs, kernel.channels) for kernel in kernels]
        fit = [size <= self.l2_bytes for size in sizes]
        # Else some find what others have not emptied the cache of since the last call.
        assert cold or len(set(fit)) == 1, case.id
        return [
            self.kernel_ns(
                size,
                kernel.flops * elements,
                sized(kernel.found, kernel.channels_found) / sized(kernel.reads, kernel.channels)
                * all(fit[:number])
                if cold
                else 1.0,
            )
            for number, (kernel, size) in enumerate(zip(kernels, sizes, strict=True))
        ]  # fmt: skip

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
