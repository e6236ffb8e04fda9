"""Synthetic rows: the columns of ``results.load`` with figures that follow from a seed."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

NO_FIGURES = [
    "time_ns", "time_p20_ns", "time_p80_ns", "baseline_time_ns", "overhead", "overhead_lo",
    "overhead_hi", "pairs", "converged", "speed_drift", "timing_s",
]  # fmt: skip


def build_rows(
    activations: Sequence[str] = ("prelu", "frelu", "dyrelu_b"),
    channels: Sequence[int] = (32, 128),
    resolutions: Sequence[int] = (7, 28),
    phases: Sequence[str] = ("inference", "training"),
    batches: Sequence[int] = (8,),
    dtypes: Sequence[str] = ("float32",),
    seed: int = 0,
) -> pd.DataFrame:
    """Return one ok row a case, in the order of the sweep."""
    random = np.random.default_rng(seed)
    rank = {name: i for i, name in enumerate(activations)}
    rows: list[dict[str, Any]] = []
    elapsed = 12.0
    cases = product(batches, dtypes, phases, activations, channels, resolutions)
    for batch, dtype, phase, activation, c, r in cases:
        baseline = 2e-4 * batch * c * r * r * 1e3 + 4e3
        overhead = 0.9 * 1.22 ** rank[activation] * random.lognormal(0, 0.25)
        half = random.uniform(0.002, 0.02)
        timing, case = random.uniform(0.3, 1.0), random.uniform(1.0, 1.4)
        elapsed += case + 0.05
        rows.append(
            {
                "case_id": f"{activation}-{phase}-{dtype}-{batch}x{c}x{r}x{r}",
                "activation": activation, "impl": "reference", "phase": phase, "mode": "eager",
                "dtype": dtype, "memory_format": "contiguous", "batch": batch, "channels": c,
                "height": r, "width": r, "device": "cpu", "baseline": "relu",
                "time_ns": baseline * overhead, "time_p20_ns": baseline * overhead * 0.93,
                "time_p80_ns": baseline * overhead * 1.11, "baseline_time_ns": baseline,
                "overhead": overhead, "overhead_lo": overhead * (1 - half),
                "overhead_hi": overhead * (1 + half), "pairs": 40, "converged": True,
                "speed_drift": 0.01, "cache": "warm", "clock": "wall", "timing_s": timing,
                "case_s": case, "session": "2026-03-01T10:00:00+00:00", "elapsed_s": elapsed,
                "status": "ok", "message": "",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def fail_rows(rows: pd.DataFrame, where: Sequence[int], status: str, message: str) -> pd.DataFrame:
    """Return rows with some of them failed, as load gives them: their figures missing."""
    rows = rows.copy()
    index = rows.index[list(where)]
    rows["converged"] = rows["converged"].astype(object)
    for column in NO_FIGURES:
        rows.loc[index, column] = None
    rows.loc[index, "status"] = status
    rows.loc[index, "message"] = message
    return rows


@pytest.fixture
def make_rows() -> Callable[..., pd.DataFrame]:
    return build_rows


@pytest.fixture
def fail() -> Callable[..., pd.DataFrame]:
    return fail_rows


@pytest.fixture
def environment() -> dict[str, Any]:
    return {
        "started": "2026-03-01T10:00:00+00:00",
        "device": {"type": "cpu", "name": "Some CPU @ 2.00GHz", "memory_bytes": 8 * 2**30},
        "host": {"cpu": "Some CPU @ 2.00GHz", "cores": 2},
        "threads": 1,
        "versions": {"python": "3.11.7", "torch": "2.14.1", "dynact": "0.1.0"},
        "settings": {"precision": 0.01, "max_seconds": 1.0},
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "command": ["pytest", "benches", "--benchmark-only"],
    }
