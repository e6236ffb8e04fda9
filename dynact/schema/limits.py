"""How fast a device could do a case at best, by rates that were measured on it."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ceilings:
    """The rates that bound any layer on a device."""

    copies: tuple[tuple[int, float], ...]
    """(bytes of a tensor, bytes read and written a second of such), sizes ascending.

    Empty where the device's rates could not be measured.
    """
    flops_per_s: dict[str, float]
    """Of a matrix product, by dtype."""
    call_s: float = 0.0
    """What the shortest of these calls took; 0 in older runs, which do not say."""

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Ceilings":
        """Return those of a run's ceilings.json."""
        copies = tuple((copy["bytes"], copy["bytes_per_s"]) for copy in record["copies"])
        return cls(copies, record["flops_per_s"], record.get("call_s", 0.0))

    def bandwidth_bytes_per_s(self, tensor_bytes: int) -> float | None:
        """Return the fastest rate at which tensors of this size or a larger one were moved.

        Small copies are slow because the call takes the time, not the memory: what a larger one
        reaches, a smaller one could. A size between two measured ones goes with the smaller, so
        that the edge of a cache costs no ceiling.
        """
        if not self.copies:
            return None
        sizes = [size for size, _ in self.copies]
        rates = [rate for _, rate in self.copies]
        return max(rates[max(bisect_right(sizes, tensor_bytes) - 1, 0) :])

    def figures(
        self, input_bytes: int, dtype: str, traffic_bytes: int | None, flops: int | None
    ) -> dict[str, Any]:
        """Return a row's ceilings and its floor: moving the bytes, the flops, or a call alone."""
        bandwidth = self.bandwidth_bytes_per_s(input_bytes)
        rate = self.flops_per_s.get(dtype)
        floor_ns = None
        if bandwidth and rate and traffic_bytes is not None and flops is not None:
            # Whatever moves anything takes a call.
            call_s = self.call_s if traffic_bytes else 0.0
            floor_ns = max(traffic_bytes / bandwidth, flops / rate, call_s) * 1e9
        return {
            "bandwidth_bytes_per_s": bandwidth,
            "peak_flops_per_s": rate,
            "floor_time_ns": floor_ns,
        }
