"""What several visits of a pair say together, where each saw another moment of the machine.

Estimators were compared on 24 visits of 0.07 s of each of 186 pairs on a CPU, the first half
against the second and odd against even, as if they were two runs. Mean of the visits' median
paired ratios: intervals agree in 96–98 %, half-width 1.5 %, the halves differ by 0.7 % (median).
Ratio of 25th percentiles, trimmed mean: 97–98 %, 1.0 %, 0.35 %. Of 10th percentiles pooled over
visits, jackknife: 96–97 %, 0.8 %, 0.3 %. Mean over the calmer half: 96–98 %, 1.3 %, 0.5 %. Where
another program ran beside, a visit's median ratio was off by 2.9 % and in one of ten by more than
34 %, its ratio of 25th percentiles by 2.1 % and 17 %. So what is estimated is the cost while
little else disturbs: low percentiles, of visits most of which agree.

That comparison is of visits of one process. Those of several are brought together before, process
by process (`dynact.schema.visits.observations`), so that there are few: too few to trim.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import exp, fsum, inf, log, sqrt
from statistics import fmean
from typing import NamedTuple

CONFIDENCE = 0.95
# Of the visits, at either end: bursts last for several, and are others' doing. Of fewer visits
# trimming costs more width than it saves, and some coverage (of six normal ones, 94 for 95 %).
TRIMMED = 0.2
TRIMMED_FROM = 10


class Estimate(NamedTuple):
    """A ratio, and the interval that covers the true one."""

    middle: float
    lower: float | None
    """``None`` of one visit alone: nothing says how far the next would lie."""
    upper: float | None

    @property
    def half_width(self) -> float | None:
        """Half of the interval in the logarithm, where it is as wide up as down."""
        if self.lower is None or self.upper is None:
            return None
        return log(self.upper / self.lower) / 2


class OfCase(NamedTuple):
    """What was found of one of several cases that are brought together."""

    estimate: Estimate
    degrees: float
    """Of freedom, of its interval; infinitely many where that is a normal one."""
    weight: float = 1.0


def over_cases(found: Sequence[OfCase]) -> Estimate:
    """Return the weighted geometric mean of cases' ratios, with its 95 % interval.

    A case's interval is Student's t, so its standard error is the half-width over the quantile of
    its degrees of freedom; that of the mean log ratio is sqrt(Σ (weight · error)²) / Σ weight, with
    the degrees of freedom of Welch and Satterthwaite (Biometrics Bulletin 2, 1946, p. 110). Cases
    are taken as independent: those of a pass come in random order, so what disturbs a few visits in
    a row meets different ones. What lasts a whole pass meets all of them, and this interval does
    not see it.

    Parameters
    ----------
    found
        At least one; where one has no interval, neither has the mean.
    """
    total = fsum(one.weight for one in found)
    mean = fsum(one.weight * log(one.estimate.middle) for one in found) / total
    squares: list[tuple[float, float]] = []
    for estimate, freedom, weight in found:
        if estimate.half_width is None:
            return Estimate(exp(mean), None, None)
        error = estimate.half_width / student_quantile(freedom, (1 + CONFIDENCE) / 2)
        squares.append(((weight * error) ** 2, freedom))
    variance = fsum(square for square, _ in squares)
    of_freedom = fsum(square**2 / freedom for square, freedom in squares)
    together = variance**2 / of_freedom if of_freedom else inf
    half_width = student_quantile(together, (1 + CONFIDENCE) / 2) * sqrt(variance) / total
    return Estimate(exp(mean), exp(mean - half_width), exp(mean + half_width))


def over_visits(ratios: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the trimmed mean of visits' ratios, with its interval, both of their logarithms.

    The interval is Student's with the winsorised variance (Tukey & McLaughlin, "Less vulnerable
    confidence and significance procedures for location", Sankhyā A 25, 1963). Fewer than
    `TRIMMED_FROM` visits are not trimmed.

    Parameters
    ----------
    ratios
        At least one, positive, of visits far enough apart to be independent of each other.
    confidence
        The probability, in (0, 1), that the interval covers the ratio that visits scatter about.
    """
    logs = sorted(map(log, ratios))
    count, cut = len(logs), _trimmed(len(logs))
    kept = logs[cut : count - cut]
    middle = fmean(kept)
    if count < 2:
        return Estimate(exp(middle), None, None)
    winsorised = [kept[0]] * cut + kept + [kept[-1]] * cut
    mean = fmean(winsorised)
    squares = fsum((value - mean) ** 2 for value in winsorised)
    error = sqrt(squares / (len(kept) * (len(kept) - 1)))
    half_width = student_quantile(degrees(count), (1 + confidence) / 2) * error
    return Estimate(exp(middle), exp(middle - half_width), exp(middle + half_width))


def degrees(visits: int) -> int:
    """Return the degrees of freedom of the interval of so many visits."""
    return visits - 2 * _trimmed(visits) - 1


@lru_cache(maxsize=1024)
def student_quantile(degrees: float, probability: float) -> float:
    """Return the quantile of Student's t."""
    # Imported on demand: it takes as long as all else that a sweep's parent imports.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _trimmed(visits: int) -> int:
    return int(TRIMMED * visits) if visits >= TRIMMED_FROM else 0
