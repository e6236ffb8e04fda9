"""Whether a cold run is: what each of its sessions shows of the caches before a call."""

from collections.abc import Mapping, Sequence
from typing import Any

from dynact.schema.cases import KnownPair
from dynact.schema.digits import ratio_with_interval
from dynact.schema.messages import WorkerInfo
from dynact.schema.prefix import with_prefix
from dynact.schema.visits import LEAST_VISITS, Visit, estimate

# Of the last-level cache, for input and output together: on a shared machine a run has but a part
# of it to itself.
SHARE = 1 / 8
# How many times as large an input is that no cache holds.
TIMES_LARGER = 64
# How much faster than beyond the caches a cold call may be: what reads and writes less pays less
# for what memory does beside.
SLACK = 0.1


def coldness_pairs(info: WorkerInfo) -> list[KnownPair]:
    """Return a cold ReLU that fits the cache against a warm one, and one beyond it against both.

    None where the caches are not emptied.
    """
    if not info.flushed_bytes:
        return []
    width, channels = 64, 16
    row_bytes = 2 * 4 * channels * width
    rows = max(int(SHARE * info.flushed_bytes) // row_bytes, 1)
    shape = 1, channels, rows, width
    case = (
        "relu", "reference", "inference", "eager", "float32", "contiguous", *shape, info.device,
        "relu",
    )  # fmt: skip
    larger = KnownPair(*case, more_rows=(TIMES_LARGER - 1) * rows)
    return [KnownPair(*case, warm_baseline=True), larger]


def coldness(visited: Mapping[KnownPair, Sequence[Visit]]) -> dict[str, Any] | None:
    """Return whether visits of `coldness_pairs` show that calls found the caches empty.

    They do if the cold ReLU is seen to take longer than the warm one, and not seen to take less
    than its share of the one beyond the caches, whose time is the memory's.

    Returns
    -------
    dict or None
        ``proven``, a ``message`` that says by what or why not, ``input_bytes``, and each ratio as
        its middle and the ends of its interval. ``None`` where nothing was emptied, or there are
        too few visits yet.
    """
    ratios: dict[str, tuple[float, ...]] = {}
    for pair, visits in visited.items():
        ok = [visit for visit in visits if visit.status == "ok"]
        failed = [visit for visit in visits if visit.status != "ok"]
        if len(ok) < LEAST_VISITS:
            if not failed:
                return None
            why = f"{failed[0].status}: {failed[0].message}"
            return {"proven": False, "message": f"not shown to be cold: {why}"}
        middle, lower, upper = estimate(ok)
        assert lower is not None
        assert upper is not None
        if pair.warm_baseline:
            ratios["over_warm"] = middle, lower, upper
        else:
            whole = 1 + pair.more
            ratios["over_share"] = whole / middle, whole / upper, whole / lower
    if not ratios:
        return None
    input_bytes = next(iter(visited)).input_bytes
    over_warm, over_share = (ratio_with_interval(*ratios[n]) for n in ("over_warm", "over_share"))
    is_slower = ratios["over_warm"][1] > 1
    is_faster_than_memory = ratios["over_share"][2] < 1 - SLACK
    relu = f"a ReLU on {with_prefix(input_bytes, 'B')} takes"
    of_warm = f"{over_warm} the time of one that finds its input in the caches"
    of_share = f"{over_share} its share of one on {TIMES_LARGER} times as much"
    if not is_slower:
        message = f"not cold: {relu} {of_warm}"
    elif is_faster_than_memory:
        message = f"not cold: {relu} {of_share}, which no cache holds"
    else:
        message = f"cold: {relu} {of_warm}, {of_share}"
    return {
        "proven": is_slower and not is_faster_than_memory,
        "message": message,
        "input_bytes": input_bytes,
        **ratios,
    }
