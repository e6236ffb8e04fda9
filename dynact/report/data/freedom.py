"""The degrees of freedom that rows' intervals have."""

import numpy as np
import pandas as pd

from dynact.schema.visits import LEAST_VISITS
from dynact.timing.visits import degrees


def freedom_of(rows: pd.DataFrame) -> "pd.Series[float]":
    """Return the degrees of freedom of each row's interval.

    They are those of Student's t over the visits that it is of, as
    `dynact.schema.visits.telling` chooses them; infinitely many for rows of versions before
    visits, whose interval is taken for a normal one.
    """
    visits = rows["visits"].astype(float)
    undisturbed = visits - rows["disturbed_visits"].astype(float).fillna(0.0)
    told = undisturbed.where(undisturbed >= LEAST_VISITS, visits)
    return told.map(lambda count: np.inf if np.isnan(count) else float(degrees(int(count))))
