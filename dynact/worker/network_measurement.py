"""What was measured of a network with other activations in it, and its report."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dynact.networks.swap import Swap
from dynact.schema.digits import NO_FIGURE, ratio_with_interval
from dynact.schema.prefix import rate, with_prefix
from dynact.schema.rows import NetworkRow
from dynact.schema.visits import HOST_DECIDES_ABOVE
from dynact.timing import format_ns

_MOST_REASONS = 2
_WHAT, _CELL = 24, 24


class Share(NamedTuple):
    """A share of a time, in [0, 1], and its 95 % interval; where it is not known, None."""

    middle: float
    low: float | None
    high: float | None


@dataclass(frozen=True, repr=False)
class NetworkMeasurement:
    """A network with other activations against itself; printed, it is a report.

    The figures of each phase have the names of a network row's columns (docs/columns.md), as in
    ``found.training.overhead``; those of the network as it is begin with ``baseline_``.
    """

    inference: NetworkRow
    training: NetworkRow
    swaps: tuple[Swap, ...]
    """What became of each activation, in the order of the pass; they hold no layers."""
    shape: tuple[int, ...]
    """Of the example's largest tensor with a batch, which is its first dimension."""
    threads: int
    """Of torch on the host."""
    activation_shares: Mapping[str, Share]
    """By phase, which share of the original network's time the activations are that were replaced;
    empty where it was not asked for."""

    def records(self) -> list[dict[str, Any]]:
        """Return a flat mapping for each phase: `pandas.DataFrame` takes the list."""
        return [row.record() for row in self._rows]

    @property
    def _rows(self) -> tuple[NetworkRow, NetworkRow]:
        return self.inference, self.training

    def __repr__(self) -> str:
        case = self.inference.case
        shape = "×".join(map(str, self.shape))
        lines = [
            f"{case.network}: {shape}, {case.dtype}, {case.device}, {self.threads} host thread"
            + "s" * (self.threads > 1),
            *self._became(),
            _line("", "as it is", "with the new ones", "ratio (95 % interval)"),
            *(line for row in self._rows for line in self._of_phase(row)),
            *self._counts(),
            *self._notes(),
        ]
        return "\n".join(line.rstrip() for line in lines)

    def _became(self) -> list[str]:
        new = Counter(
            f"{swap.site.original} → {swap.activation}"
            for swap in self.swaps
            if not swap.kept_because
        )
        kept = Counter(
            f"{swap.site.original}, {swap.kept_because}" for swap in self.swaps if swap.kept_because
        ).most_common()
        impl = self.inference.case.impl
        lines = [
            f"replaced: {', '.join(f'{count} {what}' for what, count in new.items())} ({impl})",
            *(f"kept: {count} {what}" for what, count in kept[:_MOST_REASONS]),
        ]
        if others := sum(count for _, count in kept[_MOST_REASONS:]):
            lines[-1] += f"; {others} more for other reasons"
        return lines

    def _of_phase(self, row: NetworkRow) -> list[str]:
        phase = row.case.phase
        if row.overhead is None or row.time_ns is None or row.baseline_time_ns is None:
            return [f"{phase}: failed ({row.status}). {row.message}"]
        interval = (math.nan if end is None else end for end in (row.overhead_lo, row.overhead_hi))
        times = (
            f"{format_ns(time_ns)}, {rate(row.case.batch / time_ns * 1e9)}/s"
            for time_ns in (row.baseline_time_ns, row.time_ns)
        )
        lines = [_line(f"{phase}, samples/s", *times, ratio_with_interval(row.overhead, *interval))]
        if share := self.activation_shares.get(phase):
            # Both networks are the same without.
            with_new = 1 - (1 - share.middle) / row.overhead
            lines.append(
                _line("  its activations", _percent(share), f"about {_whole(with_new)} of the time")
            )
        memory = [("  peak memory", row.baseline_peak_bytes, row.peak_bytes)]
        if phase == "training":
            saved = row.baseline_saved_for_backward_bytes, row.saved_for_backward_bytes
            memory.insert(0, ("  kept for backward", *saved))
        return lines + [_counted(*each, "B") for each in memory]

    def _counts(self) -> list[str]:
        row = next((row for row in self._rows if row.status == "ok"), None)
        if row is None:
            return []
        return [
            _counted("parameters", row.baseline_parameters, row.parameters, ""),
            _counted("MACs of one sample", row.baseline_macs, row.macs, ""),
        ]

    def _notes(self) -> list[str]:
        ok = [row for row in self._rows if row.status == "ok"]
        if not ok:
            return []
        parts = [f"{' and '.join(str(row.visits) for row in ok)} visits in this process alone"]
        if any(not row.converged for row in ok):
            parts.append("some interval is wider than ±1 %: more seconds= narrow it")
        if disturbed := sum(row.disturbed_visits or 0 for row in ok):
            parts.append(f"other programs disturbed {disturbed} of them")
        if waiting := [row.case.phase for row in ok if _waits_for_host(row)]:
            parts.append(f"in {' and '.join(waiting)} the device waited for its host")
        if messages := list(dict.fromkeys(row.message for row in ok if row.message)):
            parts += messages
        return ["; ".join(parts)]


def _waits_for_host(row: NetworkRow) -> bool:
    return max(row.host_share or 0, row.baseline_host_share or 0) > HOST_DECIDES_ABOVE


def _line(what: str, *cells: str) -> str:
    return what.ljust(_WHAT) + "".join(cell.ljust(_CELL) for cell in cells)


def _counted(what: str, original: int | None, new: int | None, unit: str) -> str:
    cells = [NO_FIGURE if count is None else with_prefix(count, unit) for count in (original, new)]
    if original and new is not None:
        cells.append(f"{new / original:.2f}×")
    return _line(what, *cells)


def _percent(share: Share) -> str:
    if share.low is None or share.high is None:
        return f"about {_whole(share.middle)}"
    return f"{_whole(share.middle)} ({_whole(share.low)} to {_whole(share.high)})"


def _whole(share: float) -> str:
    # Adding 0 makes a positive one of what rounding leaves of −0.
    return f"{round(100 * share) + 0} %".replace("-", "−")
