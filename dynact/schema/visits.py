"""A visit of a case, and what all of its visits say together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import geometric_mean, median, quantiles
from typing import Any, Literal

from dynact.timing.visits import Estimate, over_visits

VISITS = "visits.jsonl"
# Of a processor, taken by others or by the system: above, a visit is disturbed. A host's own
# housekeeping stays far below, another program that computes takes a whole one.
DISTURBED_ABOVE = 0.25
# Of the median over a case's visits, either way: a visit that reads another ratio saw something
# else. Where memory lies moves a ratio by up to 2; a host that takes memory away for a moment, by
# 17 and more, and says so nowhere.
OUT_OF_LINE = 3.0
# Of visits, to be made of each case; and of observations, before an interval is trusted to be
# narrow: looked at from three processes on, intervals that ended within ±1 % covered the truth in
# 32 to 91 % (simulated).
LEAST_VISITS = 5
# Of the interval that ends a case's visits: it is looked at after each pass, and each look is one
# more chance to be narrow by luck.
STOPPING_CONFIDENCE = 0.99
# Of a call's time, for the host to queue it: above, the device waited for its host. It takes the
# whole then, of which readings in other moments than the call's may differ by some percent.
HOST_DECIDES_ABOVE = 0.9
# From so many processes on, each is one observation.
LEAST_PROCESSES = 3
# What of a visit has an interval over visits.
Ratio = Literal["overhead", "device_overhead"]


@dataclass(frozen=True, slots=True)
class Visit:
    """What one short measurement of a case found, at one moment; None where it failed."""

    table: str
    """Of the case, see `dynact.schema.cases.CASE_TYPES`."""
    case_id: str
    number: int
    """Of the pass over all cases that it was made in, from 1."""
    status: str
    """As a row's."""
    message: str
    seconds: float
    """How long it was to be timed."""
    session: str
    elapsed_s: float
    """From the session's start until the visit was stored."""
    extra: bool = False
    """Whether it was made for time that was left, beyond the passes asked for."""
    process: int | None = None
    """The number by which the system knew the process that made it."""
    visit_s: float | None = None
    """Spent in it, from the request to the answer."""
    timing_s: float | None = None
    """Spent in timed or settling calls."""
    compile_s: float | None = None
    """Spent in it by torch.compile; None for nothing."""
    overhead: float | None = None
    """The quotient of the next two."""
    time_ns: float | None = None
    """Of one call, in the calm quarter of the target's blocks: their lower quartile."""
    baseline_time_ns: float | None = None
    host_share: float | None = None
    """The host's time to queue a call of the target over ``time_ns``; None where it does the work
    itself."""
    baseline_host_share: float | None = None
    """The same of the baseline."""
    device_time_ns: float | None = None
    """Of one call of the target, all of it queued before it begins; None where device and host are
    one, and where it cannot be queued ahead."""
    baseline_device_time_ns: float | None = None
    pairs: int | None = None
    cache: str | None = None
    clock: str | None = None
    steal_share: float | None = None
    """Processors that the hypervisor gave to others meanwhile."""
    other_share: float | None = None
    """Processors that other processes worked on meanwhile."""

    foreign_processes: int | None = None
    """How many other processes worked on an accelerator at its end, where it says so."""
    foreign_memory_bytes: int | None = None
    """What these held of its memory, where it says so."""
    clock_mhz: int | None = None
    """Of the accelerator then, where it says so."""
    temperature_c: int | None = None
    """Of the accelerator then, where it says so."""
    slowdowns: list[str] | None = None
    """Why its clock was held down then, where it says so."""

    @property
    def device_overhead(self) -> float | None:
        """The quotient of the device's times, where both are known."""
        if self.device_time_ns is None or self.baseline_device_time_ns is None:
            return None
        return self.device_time_ns / self.baseline_device_time_ns

    @property
    def disturbed(self) -> bool:
        """Whether others are seen to take away so much that it is to be made again."""
        taken = (self.steal_share or 0) + (self.other_share or 0)
        # What an accelerator does has events of its own; its host may be large and busy.
        of_host = self.clock not in ("event", "device") and taken > DISTURBED_ABOVE
        return bool(of_host or self.foreign_processes or self.slowdowns)

    def record(self) -> dict[str, Any]:
        """Return it as a line of `VISITS`."""
        return asdict(self)


_FIELDS = frozenset(field.name for field in fields(Visit))


def visit_of_record(record: Mapping[str, Any]) -> Visit:
    """Return the visit of a line, whatever a later version wrote beside."""
    return Visit(**{name: value for name, value in record.items() if name in _FIELDS})


def undisturbed(visits: Sequence[Visit]) -> list[Visit]:
    """Return those of a case's successful visits that nothing disturbed, as far as can be told.

    Where there are `LEAST_VISITS` or more of them, one that is out of line with the others was
    disturbed too, whatever by.
    """
    calm = [visit for visit in visits if not visit.disturbed]
    if len(calm) < LEAST_VISITS:
        return calm
    usual = median(_all_of(calm, "overhead"))
    return [v for v in calm if 1 / OUT_OF_LINE <= (v.overhead or usual) / usual <= OUT_OF_LINE]


def telling(visits: Sequence[Visit]) -> list[Visit]:
    """Return the visits that figures are of: the undisturbed where there are enough, else all."""
    calm = undisturbed(visits)
    return calm if len(calm) >= LEAST_VISITS else list(visits)


def observations(visits: Sequence[Visit], ratio: Ratio = "overhead") -> list[float]:
    """Return the ratios that visits found, as far as they are independent of each other.

    Where a process's memory happens to lie moves all of its visits alike, by 1 % (median of 32
    cases over 8 processes on a CPU, up to 4 %): two runs' intervals over visits agreed in 87 % of
    176 cases, over processes' means in 96 %. Of fewer than `LEAST_PROCESSES`, each visit is one.
    """
    by_process = _by_process(visits, ratio)
    if len(by_process) < LEAST_PROCESSES:
        return [found for of_one in by_process.values() for found in of_one]
    return [geometric_mean(of_one) for of_one in by_process.values()]


def _by_process(visits: Sequence[Visit], ratio: Ratio) -> dict[tuple[str, int | None], list[float]]:
    by_process: dict[tuple[str, int | None], list[float]] = {}
    for visit in telling(visits):
        found = getattr(visit, ratio)
        if found is not None:
            by_process.setdefault((visit.session, visit.process), []).append(found)
    return by_process


def estimate(visits: Sequence[Visit]) -> Estimate:
    """Return the overhead that visits found; at least one of them succeeded."""
    return over_visits(observations(visits))


def measured_figures(visits: Sequence[Visit], precision: float) -> dict[str, Any]:
    """Return what a row says of timing, by column, with its status and why that is not "ok".

    Parameters
    ----------
    visits
        All of a case, at least one, in the order made.
    precision
        The half-width at which the interval is narrow enough.
    """
    ok = [visit for visit in visits if visit.status == "ok"]
    failed = [visit for visit in visits if visit.status != "ok"]
    if not ok:
        return {"status": failed[0].status, "message": failed[0].message}
    times_ns = _all_of(telling(ok), "time_ns")
    baseline_times_ns = _all_of(telling(ok), "baseline_time_ns")
    # Of one value, that.
    p20_ns, *_, p80_ns = quantiles([*times_ns, *times_ns], n=5, method="inclusive")
    return {
        "status": "ok",
        "time_ns": median(times_ns),
        "time_p20_ns": p20_ns,
        "time_p80_ns": p80_ns,
        "baseline_time_ns": median(baseline_times_ns),
        "host_share": _median_of(ok, "host_share"),
        "baseline_host_share": _median_of(ok, "baseline_host_share"),
        "device_time_ns": _median_of(ok, "device_time_ns"),
        "baseline_device_time_ns": _median_of(ok, "baseline_device_time_ns"),
        **_ratio_figures(ok, "device_overhead"),
        **_ratio_figures(ok, "overhead"),
        "visits": len(ok),
        "processes": len(_by_process(ok, "overhead")),
        "observations": len(observations(ok)),
        "disturbed_visits": len(ok) - len(undisturbed(ok)),
        "failed_visits": len(failed),
        "pairs": sum(_all_of(ok, "pairs")),
        "converged": has_converged(ok, precision),
        "speed_drift": _last_over_first(baseline_times_ns),
        "cache": ok[-1].cache,
        "clock": ok[-1].clock,
        "timing_s": sum(_all_of(visits, "timing_s")),
        "case_s": sum(_all_of(visits, "visit_s")),
        "compile_s": max(_all_of(visits, "compile_s"), default=None),
        "session": visits[-1].session,
        "elapsed_s": visits[-1].elapsed_s,
    }


def with_visits(
    record: Mapping[str, Any], visits: Sequence[Visit], precision: float
) -> dict[str, Any]:
    """Return a row's record with what all visits of its case say."""
    return {**record, **measured_figures(visits, precision)}


def has_converged(visits: Sequence[Visit], precision: float) -> bool:
    """Return whether successful visits have an interval at most so wide, of enough observations."""
    observed = observations(visits)
    if len(observed) < LEAST_VISITS:
        return False
    half_width = over_visits(observed, STOPPING_CONFIDENCE).half_width
    return half_width is not None and half_width <= precision


def _all_of(visits: Sequence[Visit], name: str) -> list[Any]:
    return [figure for visit in visits if (figure := getattr(visit, name)) is not None]


def _median_of(visits: Sequence[Visit], name: str) -> float | None:
    found = _all_of(telling(visits), name)
    return median(found) if found else None


def _ratio_figures(visits: Sequence[Visit], ratio: Ratio) -> dict[str, float | None]:
    observed = observations(visits, ratio)
    found = over_visits(observed) if observed else (None, None, None)
    return dict(zip((ratio, f"{ratio}_lo", f"{ratio}_hi"), found, strict=True))


def _last_over_first(times_ns: Sequence[float]) -> float:
    third = max(len(times_ns) // 3, 1)
    return median(times_ns[-third:]) / median(times_ns[:third])
