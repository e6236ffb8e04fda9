"""A run's rows in groups of equal settings, each with what its figures and tables share."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from dynact.report.data.aggregate import (
    cost_ratios,
    geometric_means,
    hold_between_runs,
    times_over_floor,
)
from dynact.report.data.host import MARK, host_decides
from dynact.report.data.names import display_name, display_names, with_subjects
from dynact.schema.alike import SETTINGS_FIELDS, SHAPE_FIELDS, USUAL, place_of_group
from dynact.schema.cases import BYTES_PER_ELEMENT
from dynact.schema.digits import measured_ratio


@dataclass(frozen=True, eq=False)
class SettingsGroup:
    """Rows that agree in every field of ``SETTINGS_FIELDS``: they may share one picture.

    Their ``activation`` tells implementations apart, see `dynact.report.data.names.subject`.
    """

    rows: pd.DataFrame
    suffix: str = ""
    """What sets it apart from the main group (``n32_bfloat16``); empty for the main one."""

    phase: str = ""
    """The only phase of its rows, where it was split by phase; else empty."""

    @cached_property
    def ok(self) -> pd.DataFrame:
        """The rows that were measured."""
        return self.rows[self.rows["status"] == "ok"]

    @cached_property
    def shapes(self) -> int:
        """Distinct (channels, height, width) among the rows."""
        return count_shapes(self.rows)

    @cached_property
    def baseline(self) -> str:
        """The baseline's display name."""
        return display_name(self.rows["baseline"].iloc[0])

    @cached_property
    def names(self) -> dict[str, str]:
        """Display names by activation, as `display_names` orders them."""
        return display_names(self.rows["activation"])

    @cached_property
    def means(self) -> pd.DataFrame:
        """What each activation costs over all shapes, as `geometric_means` returns it.

        ``cases`` is the number of shapes that the group has, also where not all of them were tried.
        """
        return geometric_means(self.rows).assign(cases=self.shapes)

    @cached_property
    def fewer_shapes(self) -> str:
        """Whose means are over fewer shapes than the group has, in a sentence; else empty."""
        measured = self.means["ok"].groupby(level="activation").min()
        fewer = measured[(measured > 0) & (measured < self.shapes)]
        if fewer.empty:
            return ""
        listed = ", ".join(f"{name} {fewer[a]}" for a, name in self.names.items() if a in fewer)
        return f"Not over all {self.shapes} shapes: {listed}."

    @cached_property
    def interval(self) -> str:
        """What the intervals of its overheads, and of their means, are, in words."""
        return f"95 % interval {'between runs' if self._between_runs else 'within this run'}"

    @cached_property
    def interval_note(self) -> str:
        """What those intervals do not hold, in a sentence; empty where they hold between runs."""
        note = "Another run, at another time, can lie outside its interval."
        return "" if self._between_runs else note

    @cached_property
    def _between_runs(self) -> bool:
        return hold_between_runs(self.rows)

    @cached_property
    def ranked(self) -> list[str]:
        """The activations, cheapest in the first phase first."""
        return list(map(str, self.means.index.unique("activation")))

    @cached_property
    def cost_ratios(self) -> pd.DataFrame:
        """What each activation counts over the baseline's, as `cost_ratios` returns it."""
        return cost_ratios(self.rows)

    @cached_property
    def times_over_floor(self) -> "pd.Series[float]":
        """Time / least time, as `times_over_floor` returns it."""
        return times_over_floor(self.rows)

    @cached_property
    def phases(self) -> list[str]:
        """Phases in alphabetical order."""
        return sorted(map(str, self.rows["phase"].unique()))

    @cached_property
    def by_phase(self) -> "dict[str, SettingsGroup]":
        """The group split by phase, in the order of ``phases``."""
        return {
            phase: SettingsGroup(self.rows[self.rows["phase"] == phase], self.suffix, phase)
            for phase in self.phases
        }

    @cached_property
    def description(self) -> str:
        """Words such as ``inference, batch 8, float32``, unusual settings added."""
        first = self.rows.iloc[0]
        usual = [first[f] for f in ("mode", "memory_format") if first[f] != USUAL[f]]
        words = [self.phase, f"batch {first['batch']}", first["dtype"], *usual]
        return ", ".join(str(word) for word in words if word)

    def mark_of(self, phase: str, activation: str) -> str:
        """Return what goes behind a mean's overhead, see `dynact.report.data.host`."""
        return MARK if (phase, activation) in self._host_decided else ""

    def device_alone(self, phase: str, activation: str) -> str:
        """Return the mean overhead of the device alone, where the host decided on the other.

        Empty where it did not, or not all of the shapes have one.
        """
        if not self.mark_of(phase, activation):
            return ""
        mean = self._device_means.loc[[(phase, activation)]].iloc[0]
        if mean["ok"] < self.means["ok"][phase, activation]:
            return ""
        return measured_ratio(mean["overhead"], mean["overhead_lo"], mean["overhead_hi"])

    @cached_property
    def _device_means(self) -> pd.DataFrame:
        names = ("overhead", "overhead_lo", "overhead_hi")
        known = self.ok.dropna(subset="device_overhead").index
        of_device = {name: self.rows[f"device_{name}"].astype(float) for name in names}
        status = self.rows["status"].where(self.rows.index.isin(known), "")
        return geometric_means(self.rows.assign(**of_device, status=status))

    @cached_property
    def _host_decided(self) -> set[tuple[str, str]]:
        rows = self.ok[host_decides(self.ok)]
        return set(zip(rows["phase"], rows["activation"], strict=True))

    def means_of(self, phase: str) -> pd.DataFrame:
        """Return the lines of ``means`` that are of one phase, by activation."""
        return self.means.loc[[phase]].droplevel("phase")

    def of_phase(self, phase: str) -> "SettingsGroup":
        """Return the part of the group that is of one phase."""
        return self.by_phase[phase]


def settings_groups(rows: pd.DataFrame) -> list[SettingsGroup]:
    """Split rows into groups, the main one first, see `place_of_group`."""
    groups = [
        (dict(zip(SETTINGS_FIELDS, key, strict=True)), group, count_shapes(group))
        for key, group in with_subjects(rows).groupby(list(SETTINGS_FIELDS))
    ]
    groups.sort(key=lambda group: place_of_group(group[0], group[2], len(group[1])))
    return [SettingsGroup(group, _suffix(key, groups[0][0])) for key, group, _ in groups]


def count_shapes(rows: pd.DataFrame) -> int:
    """Return the number of distinct (channels, height, width)."""
    return len(rows[list(SHAPE_FIELDS)].drop_duplicates())


def input_elements(rows: pd.DataFrame) -> "pd.Series[int]":
    """Return the number of elements of each row's output, and of inputs of as many channels."""
    return rows["batch"] * rows["channels"] * rows["height"] * rows["width"]


def input_bytes(rows: pd.DataFrame) -> "pd.Series[int]":
    """Return the bytes of each row's output, and of inputs of as many channels."""
    return input_elements(rows) * rows["dtype"].map(BYTES_PER_ELEMENT)


def at_largest_input(rows: pd.DataFrame, among: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the shape that has the largest input ``among`` some of them."""
    by_size = among.assign(elements=input_elements(among)).sort_values(["elements", *SHAPE_FIELDS])
    shape = by_size.iloc[-1]
    return rows[(rows[list(SHAPE_FIELDS)] == shape[list(SHAPE_FIELDS)]).all(axis="columns")]


def device_and_threads(rows: pd.DataFrame, environment: dict[str, Any]) -> str:
    """Return on what rows of one group were measured, and that it was from cold caches if so."""
    device, threads = environment["device"], environment["threads"]
    where = rows["device"].iloc[0]
    name = device["name"] if where == device["type"] else where
    cold = ", cold caches" if environment.get("clock", {}).get("cache") == "cold" else ""
    return f"{name}, {threads} thread{'s' if threads != 1 else ''}{cold}"


def _suffix(key: dict[str, object], main: dict[str, object]) -> str:
    order: Sequence[str] = ("batch", "dtype", "mode", "memory_format", "baseline", "device")
    lead = {"batch": "n", "baseline": "vs_"}
    parts = [f"{lead.get(f, '')}{key[f]}" for f in order if key[f] != main[f]]
    # A device ("cuda:0") or a user's baseline ("pkg.mod:Class") is not a file name as it stands.
    return re.sub(r"[^\w.-]", "-", "_".join(parts))
