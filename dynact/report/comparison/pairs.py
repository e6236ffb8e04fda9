"""Which case of one side is compared with which of the other."""

from dataclasses import dataclass

import pandas as pd

from dynact.schema.cases import CASE_FIELDS, NETWORK_FIELDS

# What each side brings.
FIGURES = (
    *("overhead", "overhead_lo", "overhead_hi", "visits", "observations"),
    *("time_ns", "baseline_time_ns"),
)
# What may differ between two runs as a whole, or within one, and be what is compared.
BETWEEN = ("mode", "impl", "dtype", "memory_format")
_OF_A_RUN = (*BETWEEN, "device")
# What the baseline is measured under too: where it became slower, an overhead shrinks.
OF_THE_BASELINE = ("mode", "dtype", "memory_format")


@dataclass(frozen=True, eq=False)
class Pairs:
    """The cases that both sides measured, side by side, and those that only one did."""

    cases: pd.DataFrame
    """One line a pair: the later side's case, its `FIGURES`, and as ``reference_*`` the other
    side's."""
    only_reference: list[str]
    """Case ids, as those below of cases with status ok."""
    only_later: list[str]
    differing: dict[str, tuple[str, str]]
    """Fields in which the sides differ as a whole: the reference's value and the later's."""


def pairs_between_runs(reference: pd.DataFrame, later: pd.DataFrame) -> Pairs:
    """Return the cases of two runs that agree in every field.

    A field in which either run has a single value, and not the same, such as the device, does not
    keep their cases apart: it is what is compared.

    Parameters
    ----------
    reference, later
        Rows of the same table, as its loader returns them.
    """
    one, other = _measured(reference), _measured(later)
    differing = {}
    for field in _fields(one):
        here, there = set(one[field]), set(other[field])
        if field in _OF_A_RUN and len(here) == len(there) == 1 and here != there:
            differing[field] = (str(*here), str(*there))
    return _paired(one, other, differing)


def pairs_within_run(rows: pd.DataFrame, field: str, reference: str, later: str) -> Pairs:
    """Return the cases of a run that differ in one field alone, in which they have two values."""
    measured = _measured(rows)
    one, other = (measured[measured[field] == value] for value in (reference, later))
    return _paired(one, other, {field: (reference, later)})


def _paired(one: pd.DataFrame, other: pd.DataFrame, differing: dict[str, tuple[str, str]]) -> Pairs:
    key = [field for field in _fields(one) if field not in differing]
    figures = ["case_id", *FIGURES]
    both = other[["case_id", *_fields(other), *FIGURES]].merge(
        one[[*key, *figures]].rename(columns={name: f"reference_{name}" for name in figures}),
        on=key,
    )
    return Pairs(
        both,
        [*one["case_id"][~one["case_id"].isin(both["reference_case_id"])]],
        [*other["case_id"][~other["case_id"].isin(both["case_id"])]],
        differing if len(both) else {},
    )


def _measured(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["status"] == "ok"].drop_duplicates("case_id", keep="last")


def _fields(rows: pd.DataFrame) -> list[str]:
    return [name for name in dict.fromkeys((*CASE_FIELDS, *NETWORK_FIELDS)) if name in rows]
