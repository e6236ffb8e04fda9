"""What empties a device's caches, so that the next call finds nothing in them."""

import torch

from dynact.worker.device import Device

# Of a cache, streamed through it: after half of that some of what a processor's had held was still
# there.
TIMES_THE_CACHE = 8
# Where neither device nor system says how large it is: as large as hosts have for a processor's
# cores, and as accelerators have behind the cache that they tell of (an MI300X).
ASSUMED_HOST_BYTES = 64 * 2**20
ASSUMED_ACCELERATOR_BYTES = 256 * 2**20


class Flush:
    """Reads and writes as much as the caches hold several times over.

    By an elementwise operator, from one buffer into another, as layers do: what it leaves in the
    caches is half read, half still to be written back, as in a stream of layers. What only reads
    leaves them clean, and the next call finds room for its output at no cost; what only writes has
    the next call pay for twice as much; and a copy may go past the caches.

    Raises
    ------
    ValueError
        If there is no memory for it: one line.
    """

    @torch.inference_mode()
    def __init__(self, device: Device) -> None:
        assumed = ASSUMED_ACCELERATOR_BYTES if device.is_accelerator else ASSUMED_HOST_BYTES
        self.cache_bytes = device.cache_bytes() or assumed
        """What the last-level cache is taken to hold."""
        needed_bytes = TIMES_THE_CACHE * self.cache_bytes
        try:
            # No zeros: a system may keep all of them in one page.
            self._source = torch.ones(needed_bytes // 8, device=device.torch_device)
            self._target = torch.empty_like(self._source)
        except RuntimeError:
            raise ValueError(
                f"--cache cold flushes by buffers of {needed_bytes >> 20} MiB in all, for which "
                f"{device.torch_device} has no memory; free some, or leave it out"
            ) from None

    # Whatever mode is timed, it is the same flush.
    @torch.inference_mode()
    def __call__(self) -> None:
        """Queue it, or where the device is the host have it done."""
        torch.neg(self._source, out=self._target)
