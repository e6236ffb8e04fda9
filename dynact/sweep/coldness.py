"""Whether a cold run is: what each of its sessions shows of the caches before a call."""

from collections.abc import Mapping, Sequence
from typing import Any

from dynact.schema.cases import KnownPair
from dynact.schema.digits import ratio_with_interval
from dynact.schema.messages import WorkerInfo
from dynact.schema.prefix import with_prefix
from dynact.schema.visits import LEAST_VISITS, Visit, estimate

# In place: a large output has to be got from the system where the allocator keeps no memory, which
# takes several times as long as the call.
RELU = "relu_inplace"
# Of the last-level cache: on a shared machine a run has but a part of it to itself. An accelerator
# has its own, and of less it would take a launch's time whatever the caches hold.
SHARE = 1 / 8
ACCELERATOR_SHARE = 1 / 4
# How many times as large an input is that no cache holds.
TIMES_LARGER = 32
# Of its share of that one: as much goes into its reading. What it writes may stay in the caches for
# others to write back; on a CPU it was seen to take 0.6 to 0.9, and a warm one 0.2.
LEAST_SHARE = 0.5


def coldness_pairs(info: WorkerInfo) -> list[KnownPair]:
    """Return a cold ReLU that fits the cache against a warm one, and one far beyond it against it.

    None where the caches are not emptied.
    """
    if not info.flushed_bytes:
        return []
    width, channels = 64, 16
    row_bytes = 4 * channels * width
    share = ACCELERATOR_SHARE if info.is_accelerator else SHARE
    rows = max(int(share * info.flushed_bytes) // row_bytes, 1)
    shape = 1, channels, rows, width
    case = (
        RELU, "reference", "inference", "eager", "float32", "contiguous", *shape, info.device, RELU
    )  # fmt: skip
    larger = KnownPair(*case, more_rows=(TIMES_LARGER - 1) * rows)
    return [KnownPair(*case, warm_baseline=True), larger]


def coldness(visited: Mapping[KnownPair, Sequence[Visit]]) -> dict[str, Any] | None:
    """Return whether visits of `coldness_pairs` show that calls found the caches empty.

    They do if the cold ReLU is seen to take longer than the warm one, and not seen to take less
    than memory needs to read its input: half its share of the one beyond the caches.

    Returns
    -------
    dict or None
        ``proven``, a ``message`` that says by what or why not, ``input_bytes``, and each ratio as
        its middle and the ends of its interval; of too few visits, for which ``proven`` is None,
        the message alone. ``None`` where nothing was emptied.
    """
    ratios: dict[str, tuple[float, ...]] = {}
    for pair, visits in visited.items():
        ok = [visit for visit in visits if visit.status == "ok"]
        failed = [visit for visit in visits if visit.status != "ok"]
        if len(ok) < LEAST_VISITS:
            if not failed:
                few = f"the pairs that tell it have {len(ok)} of {LEAST_VISITS} visits"
                return {"proven": None, "message": f"not proven to be cold yet: {few}"}
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
    is_faster_than_memory = ratios["over_share"][2] < LEAST_SHARE
    relu = f"a ReLU in place on {with_prefix(input_bytes, 'B')} takes"
    of_warm = f"{over_warm} the time of one that finds its input in the caches"
    of_share = f"{over_share} its share of one on {TIMES_LARGER} times as much"
    if not is_slower:
        message = f"not cold: {relu} {of_warm}"
    elif is_faster_than_memory:
        message = f"not cold: {relu} {of_share}; memory needs half of that to read its input"
    else:
        message = f"cold: {relu} {of_warm}, {of_share}"
    return {
        "proven": is_slower and not is_faster_than_memory,
        "message": message,
        "input_bytes": input_bytes,
        **ratios,
    }
