"""Figures of many shapes, brought together."""

import math

import pytest

from dynact.report.data.aggregate import geometric_means


def test_geometric_mean_of_equal_intervals_has_the_closed_form(make_rows):
    rows = make_rows(("prelu",), (1, 2, 4, 8), (7,), ("inference",))
    rows["overhead"] = [1.0, 2.0, 4.0, 8.0]
    rows["overhead_lo"] = rows["overhead"] / math.e**0.1
    rows["overhead_hi"] = rows["overhead"] * math.e**0.1
    mean = geometric_means(rows).loc[("inference", "prelu")]
    # √(4 · 0.1²) / 4 = 0.05
    assert mean["overhead"] == pytest.approx(2**1.5)
    assert mean["overhead_lo"] == pytest.approx(2**1.5 * math.exp(-0.05))
    assert mean["overhead_hi"] == pytest.approx(2**1.5 * math.exp(0.05))
    assert (mean["smallest"], mean["largest"]) == pytest.approx((1.0, 8.0))


def test_geometric_mean_leaves_failures_out(make_rows, fail):
    rows = make_rows(("prelu",), (1, 2, 4), (7,), ("inference",))
    mean = geometric_means(fail(rows, [1], "oom", "")).loc[("inference", "prelu")]
    logs = [math.log(rows.loc[i, "overhead"]) for i in (0, 2)]
    halves = [math.log(rows.loc[i, "overhead_hi"] / rows.loc[i, "overhead_lo"]) / 2 for i in (0, 2)]
    half = math.sqrt(sum(h**2 for h in halves)) / 2
    assert mean["overhead"] == pytest.approx(math.exp(sum(logs) / 2))
    assert mean["overhead_hi"] == pytest.approx(math.exp(sum(logs) / 2 + half))
    assert (mean["ok"], mean["cases"]) == (2, 3)
