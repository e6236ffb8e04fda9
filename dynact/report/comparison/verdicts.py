"""What may be said of ratios of overheads, of many at once."""

import numpy as np
import pandas as pd
from scipy import stats

FALSE_DISCOVERY_RATE = 0.05
SLOWER, FASTER, SAME, NOT_RESOLVED = VERDICTS = ("slower", "faster", "same", "not resolved")


def judge(ratios: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return the ratios of all cases of a comparison with ``p_adjusted`` and ``verdict``.

    Parameters
    ----------
    ratios
        As `welch.ratios` returns them.
    margin
        The share within which a difference does not matter, above 0.

    Returns
    -------
    DataFrame
        ``p_adjusted`` is Benjamini and Hochberg's: of the cases in which it is at most
        `FALSE_DISCOVERY_RATE`, no larger share is expected to be there by chance. ``verdict``:

        - *same*: the 95 % interval lies within 1 / (1 + margin) and 1 + margin (two one-sided
          tests, each at 2.5 %), whether or not the ratio can be told from 1;
        - *slower*, *faster*: else, if ``p_adjusted`` is at most `FALSE_DISCOVERY_RATE`;
        - *not resolved*: else, also where a side has no interval.
    """
    known = ratios["p"].notna()
    adjusted = pd.Series(np.nan, ratios.index)
    if known.any():
        adjusted[known] = stats.false_discovery_control(ratios["p"][known], method="bh")
    within = (ratios["ratio_lo"] >= 1 / (1 + margin)) & (ratios["ratio_hi"] <= 1 + margin)
    told = adjusted <= FALSE_DISCOVERY_RATE
    verdict = np.select(
        [within, told & (ratios["ratio"] > 1), told & (ratios["ratio"] < 1)],
        [SAME, SLOWER, FASTER],
        NOT_RESOLVED,
    )
    return ratios.assign(p_adjusted=adjusted, verdict=verdict)


def slower_by(judged: pd.DataFrame, share: float) -> pd.DataFrame:
    """Return the cases that can be told to be slower and whose ratio is above 1 + share.

    It is the ratio itself that is above, not all of its interval; the margin plays no part.
    """
    return judged[(judged["p_adjusted"] <= FALSE_DISCOVERY_RATE) & (judged["ratio"] > 1 + share)]
