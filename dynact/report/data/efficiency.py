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
    """From a session's start to its first case, gate and ceilings aside."""

    setup_s: float
    """Spent in cases but not in timed calls or counting: building, warm-up, compilation."""

    counting_s: float
    """Spent in counting what a case costs without a clock."""

    ceilings_s: float
    """Spent in measuring how fast the device copies and multiplies, once in a run."""

    @property
    def rest_s(self) -> float:
        """Seconds between cases: starting workers, storing rows, cases that were cut off."""
        known_s = (
            self.timing_s, self.startup_s, self.setup_s, self.counting_s, self.ceilings_s
        )  # fmt: skip
        return self.wall_s - sum(known_s)


def efficiency(
    rows: pd.DataFrame,
    visits: pd.DataFrame,
    gates: list[dict[str, Any]],
    rates: dict[str, Any] | None,
) -> Efficiency:
    """Add up the wall time of a run.

    A session lasts until its last visit is stored; ceilings are measured behind the first. In a run
    of a version before visits it lasts until its last row, and before the first case come the
    gate and, in one of the sessions, the ceilings.

    Parameters
    ----------
    rows
        Of all that was counted.
    visits
        As `dynact.report.run.Run.visits`.
    """
    if len(visits):
        return _of_visits(rows, visits, rates)
    seconds = rows[["session", "elapsed_s", "case_s", "timing_s", "counting_s"]].copy()
    figures = ["elapsed_s", "case_s", "timing_s", "counting_s"]
    seconds[figures] = seconds[figures].astype(float).fillna(0.0)
    gate = pd.DataFrame(gates, columns=["session", "case_s", "timing_s"])
    gate[["case_s", "timing_s"]] = gate[["case_s", "timing_s"]].astype(float).fillna(0.0)

    first = seconds.sort_values("elapsed_s").groupby("session").first()
    before = first["elapsed_s"] - first["case_s"] - first["counting_s"]
    startup = before.sub(gate.groupby("session")["case_s"].sum(), fill_value=0.0)
    ceilings = 0.0
    # A session that was cut off before its first row has no wall time either.
    if rates is not None and rates["session"] in startup:
        ceilings = rates["case_s"]
        startup[rates["session"]] -= ceilings
    timing = seconds["timing_s"].sum() + gate["timing_s"].sum()
    counting = seconds["counting_s"].sum()
    return Efficiency(
        wall_s=float(seconds.groupby("session")["elapsed_s"].max().sum()),
        timing_s=float(timing),
        startup_s=float(np.maximum(startup, 0.0).sum()),
        setup_s=float(seconds["case_s"].sum() + gate["case_s"].sum() - timing),
        counting_s=float(counting),
        ceilings_s=ceilings,
    )


def _of_visits(
    rows: pd.DataFrame, visits: pd.DataFrame, rates: dict[str, Any] | None
) -> Efficiency:
    figures = ["elapsed_s", "visit_s", "timing_s"]
    seconds = visits[["session", *figures]].copy()
    seconds[figures] = seconds[figures].astype(float).fillna(0.0)
    first = seconds.sort_values("elapsed_s").groupby("session").first()
    timing = seconds["timing_s"].sum()
    return Efficiency(
        wall_s=float(seconds.groupby("session")["elapsed_s"].max().sum()),
        timing_s=float(timing),
        startup_s=float((first["elapsed_s"] - first["visit_s"]).sum()),
        setup_s=float(seconds["visit_s"].sum() - timing),
        counting_s=float(rows["counting_s"].astype(float).sum()),
        ceilings_s=0.0 if rates is None else rates["case_s"],
    )
