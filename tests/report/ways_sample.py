"""Made-up rows of an activation in several implementations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tests.report.conftest import build_rows

# The half-width of every interval, as a factor.
WITHIN = 1.02


def written(
    impl: str,
    overheads: Sequence[float],
    activation: str = "dyrelu_b",
    phases: Sequence[str] = ("inference", "training"),
    **changes: Any,
) -> pd.DataFrame:
    """Return rows of one implementation, as many shapes as overheads, the same in each phase."""
    channels = [32 * 2**i for i in range(len(overheads))]
    rows = build_rows((activation,), channels, (7,), phases)
    ratio = np.tile(np.asarray(overheads, float), len(phases))
    return rows.assign(
        case_id=rows["case_id"] + f"-{impl}",
        impl=impl,
        overhead=ratio,
        overhead_lo=ratio / WITHIN,
        overhead_hi=ratio * WITHIN,
        time_ns=rows["baseline_time_ns"] * ratio,
        floor_time_ns=rows["baseline_time_ns"] * 1.5,
    ).assign(**changes)


def together(*parts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of several implementations."""
    return pd.concat(parts, ignore_index=True)
