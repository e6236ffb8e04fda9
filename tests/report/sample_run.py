"""Runs of made-up tables, without a folder."""

from typing import Any

import pandas as pd

from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.run import Run


def run_of(**tables: Any) -> Run:
    """Return a run that holds these instead of what its folder would: rows, networks, gates, …"""
    run = Run("there/is/none")
    vars(run).update(tables)
    return run


def phase_of(rows: pd.DataFrame) -> SettingsGroup:
    """Return rows of one phase as the part of a group that they are."""
    (part,) = SettingsGroup(rows).by_phase.values()
    return part
