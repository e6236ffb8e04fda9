"""Synthetic rows: the columns of ``report.run.load`` with figures that follow from a seed."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynact.schema.cases import BYTES_PER_ELEMENT

COUNTS = [
    "parameters", "parameters_normalisation", "buffers", "flops", "flops_fvcore_default",
    "flops_by_operator", "uncounted_ops", "baseline_flops", "traffic_floor_bytes",
    "traffic_eager_bytes", "operator_calls", "baseline_traffic_eager_bytes",
    "saved_for_backward_bytes", "saved_input_bytes", "saved_output_bytes",
    "baseline_saved_for_backward_bytes", "peak_bytes",
    "peak_source", "baseline_peak_bytes", "bandwidth_bytes_per_s", "peak_flops_per_s",
    "floor_time_ns", "counting_s",
]  # fmt: skip
NO_FIGURES = [
    "time_ns", "time_p20_ns", "time_p80_ns", "baseline_time_ns", "overhead", "overhead_lo",
    "overhead_hi", "pairs", "converged", "speed_drift", "timing_s", *COUNTS,
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
                "host_share": None, "baseline_host_share": None,
                "device_time_ns": None, "baseline_device_time_ns": None, "device_overhead": None,
                "device_overhead_lo": None, "device_overhead_hi": None,
                "overhead": overhead, "overhead_lo": overhead * (1 - half),
                "overhead_hi": overhead * (1 + half), "visits": None,
                "processes": None, "observations": None, "disturbed_visits": None,
                "pairs": 40, "converged": True,
                "speed_drift": 0.01, "cache": "warm", "clock": "wall",
                **build_counts(rank[activation], batch * c * r * r, dtype, phase == "training"),
                "timing_s": timing,
                "case_s": case, "session": "2026-03-01T10:00:00+00:00", "elapsed_s": elapsed,
                "status": "ok", "message": "",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def build_counts(rank: int, elements: int, dtype: str, training: bool) -> dict[str, Any]:
    """Return what can be counted: the first activation is as the baseline, each next needs more."""
    size = elements * BYTES_PER_ELEMENT[dtype]
    operators = {"conv": 10 * rank * elements, "batch_norm": 2 * rank * elements, "max": elements}
    flops, floor = sum(operators.values()), (5 if training else 2) * size
    bandwidth, peak = 6e10 / (1 + size / 1e5), 9e10
    return {
        "occurrences": None,
        "parameters": 12 * rank, "parameters_normalisation": 2 * rank, "buffers": rank,
        "flops": flops, "flops_fvcore_default": 7 * rank * elements,
        "flops_by_operator": {name: count for name, count in operators.items() if count},
        "uncounted_ops": [], "baseline_flops": elements,
        "traffic_floor_bytes": floor, "traffic_eager_bytes": floor + 3 * rank * size,
        "operator_calls": (1 + rank) * (3 if training else 1),
        "baseline_traffic_eager_bytes": floor,
        "saved_for_backward_bytes": (1 + rank) * size if training else 0,
        "saved_input_bytes": size if training and rank else 0,
        "saved_output_bytes": 0 if rank else size * training,
        "baseline_saved_for_backward_bytes": size * training,
        "peak_bytes": (1 + 2 * rank + training) * size, "peak_source": "tracker",
        "data_dependent": False,
        "baseline_peak_bytes": (1 + training) * size,
        "bandwidth_bytes_per_s": bandwidth, "peak_flops_per_s": peak,
        "floor_time_ns": max(floor / bandwidth, flops / peak) * 1e9, "counting_s": 0.1,
    }  # fmt: skip


def uncounted_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as load gives them of a run from before anything was counted."""
    return rows.assign(**dict.fromkeys(COUNTS))


def lacking_rows(rows: pd.DataFrame, **operators: list[str]) -> pd.DataFrame:
    """Return rows with the operators, by activation, that their FLOPs lack."""
    return rows.assign(uncounted_ops=[operators.get(a, []) for a in rows["activation"]])


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


def visit(rows: pd.DataFrame, visits: int) -> pd.DataFrame:
    """Return rows as load gives them of a run whose cases were visited so often."""
    measured = rows["status"] == "ok"
    # Of several processes, two visits of most of them.
    counts = {
        "visits": visits, "processes": 4, "observations": visits // 2 + visits % 2,
        "disturbed_visits": visits // 4,
    }  # fmt: skip
    return rows.assign(
        **{name: [n if ok else None for ok in measured] for name, n in counts.items()}
    )


def visit_once(rows: pd.DataFrame, where: Sequence[int] | None = None) -> pd.DataFrame:
    """Return rows of a run with visits in which some cases, or all, were visited once."""
    rows = visit(rows, 7)
    index = rows.index if where is None else rows.index[list(where)]
    rows["converged"] = rows["converged"].astype(object)
    for column in ("overhead_lo", "overhead_hi"):
        rows[column] = rows[column].astype(object)
        rows.loc[index, column] = None
    counted = ["visits", "observations", "disturbed_visits", "converged"]
    rows.loc[index, counted] = [1, 1, 0, False]
    return rows


@pytest.fixture
def make_rows() -> Callable[..., pd.DataFrame]:
    return build_rows


@pytest.fixture
def fail() -> Callable[..., pd.DataFrame]:
    return fail_rows


@pytest.fixture
def lack() -> Callable[..., pd.DataFrame]:
    return lacking_rows


@pytest.fixture
def uncount() -> Callable[[pd.DataFrame], pd.DataFrame]:
    return uncounted_rows


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
