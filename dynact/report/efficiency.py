"""Where the wall time of a sweep went."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Efficiency:
    """Seconds of a sweep, over all its sessions."""

    wall_s: float
    timing_s: float
    """Spent in timed or settling calls."""

    startup_s: float
    """From a session's start to its first case, the gate's own cases aside."""

    setup_s: float
    """Spent in cases but not in their timed calls: building, warm-up, compilation, counting."""

    @property
    def rest_s(self) -> float:
        """Seconds between cases: starting workers, storing rows, cases that were cut off."""
        return self.wall_s - self.timing_s - self.startup_s - self.setup_s


def efficiency(rows: pd.DataFrame, gates: list[dict[str, Any]]) -> Efficiency:
    """Add up the wall time of a run.

    A session lasts until its last row is stored. The gate runs before the session's first case.
    """
    seconds = rows[["session", "elapsed_s", "case_s", "timing_s"]].copy()
    figures = ["elapsed_s", "case_s", "timing_s"]
    seconds[figures] = seconds[figures].astype(float).fillna(0.0)
    gate = pd.DataFrame(gates, columns=["session", "case_s", "timing_s"])
    gate[["case_s", "timing_s"]] = gate[["case_s", "timing_s"]].astype(float).fillna(0.0)

    first = seconds.sort_values("elapsed_s").groupby("session").first()
    before = first["elapsed_s"] - first["case_s"]
    startup = before.sub(gate.groupby("session")["case_s"].sum(), fill_value=0.0)
    timing = seconds["timing_s"].sum() + gate["timing_s"].sum()
    return Efficiency(
        wall_s=float(seconds.groupby("session")["elapsed_s"].max().sum()),
        timing_s=float(timing),
        startup_s=float(np.maximum(startup, 0.0).sum()),
        setup_s=float(seconds["case_s"].sum() + gate["case_s"].sum() - timing),
    )
