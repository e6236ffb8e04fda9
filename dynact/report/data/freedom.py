"""The degrees of freedom that rows' intervals have."""

import numpy as np
import pandas as pd

from dynact.timing.visits import degrees


def freedom_of(rows: pd.DataFrame) -> "pd.Series[float]":
    """Return the degrees of freedom of each row's interval.

    They are those of Student's t over its observations; infinitely many for rows of versions
    before visits, whose interval is taken for a normal one.
    """
    observations = rows["observations"].astype(float)
    return observations.map(lambda count: np.inf if np.isnan(count) else float(degrees(int(count))))
