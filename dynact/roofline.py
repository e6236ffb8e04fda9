"""How fast a device could do a case at best, by rates that were measured on it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ceilings:
    """The rates that bound any layer on a device."""

    copies: tuple[tuple[int, float], ...]
    """(bytes of a tensor, bytes read and written a second when it is copied), sizes ascending."""
    flops_per_s: dict[str, float]
    """Of a matrix product, by dtype."""

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Ceilings":
        """Return those of a run's ceilings.json."""
        copies = tuple((copy["bytes"], copy["bytes_per_s"]) for copy in record["copies"])
        return cls(copies, record["flops_per_s"])

    def bandwidth_bytes_per_s(self, tensor_bytes: int) -> float:
        """Return the rate at which a tensor of this size is copied.

        Between measured sizes it is interpolated on log scales. Where a larger tensor was copied
        faster, as at sizes where the call itself takes the time, its rate holds: a ceiling.
        """
        sizes, rates = zip(*self.copies, strict=True)
        ceiling = np.maximum.accumulate(rates[::-1])[::-1]
        return math.exp(np.interp(math.log(tensor_bytes), np.log(sizes), np.log(ceiling)))

    def figures(
        self, input_bytes: int, dtype: str, traffic_bytes: int | None, flops: int | None
    ) -> dict[str, Any]:
        """Return a row's ceilings and its floor, the longer of moving the bytes and the flops."""
        bandwidth = self.bandwidth_bytes_per_s(input_bytes)
        rate = self.flops_per_s.get(dtype)
        floor_ns = None
        if traffic_bytes is not None and flops is not None and rate is not None:
            floor_ns = max(traffic_bytes / bandwidth, flops / rate) * 1e9
        return {
            "bandwidth_bytes_per_s": bandwidth,
            "peak_flops_per_s": rate,
            "floor_time_ns": floor_ns,
        }
