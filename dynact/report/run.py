"""A run, whichever version wrote it: what all its figures and tables share is found once."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dynact.activations import REFERENCE
from dynact.report.data.baseline_mode import slower_baseline
from dynact.report.data.host import which_time
from dynact.report.data.names import display_names, with_subjects
from dynact.report.data.network_frames import labelled, setting
from dynact.report.data.prediction import Prediction, predict
from dynact.report.data.profile import Profile, load_profile
from dynact.report.data.settings_groups import SettingsGroup, device_and_threads, settings_groups
from dynact.report.data.trust import not_trustworthy, told
from dynact.report.data.ways import Ways, ways_of
from dynact.schema.cases import CASE_FIELDS, NETWORK_FIELDS, Case, NetworkCase, SiteCase
from dynact.schema.profile import TABLES as PROFILE_TABLES
from dynact.schema.rows import figures_of, upgraded
from dynact.schema.run_folder import (
    GATES,
    WITHIN,
    RunNotFoundError,
    is_run,
    load_ceilings,
    load_environment,
    load_gates,
    load_visits,
    read_records,
)
from dynact.schema.settings import Settings
from dynact.schema.visits import VISITS, with_visits

COLUMNS = ("case_id", *CASE_FIELDS, *figures_of(Case.table))
NETWORK_COLUMNS = ("case_id", *NETWORK_FIELDS, *figures_of(NetworkCase.table))
# What figures are drawn from.
_SOURCES = (
    *(Case.table, NetworkCase.table, SiteCase.table, GATES, VISITS, WITHIN),
    *(f"traces/{name}.csv" for name in PROFILE_TABLES),
)


class Run:
    """A run folder; each of its files is read when first asked for, and then kept.

    Whatever is read raises what its loader does: `load`, `load_environment`, `load_ceilings`,
    `load_profile`.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        # Before anything is read: of what is stored meanwhile no figure claims to be drawn.
        self._digests = {name: _digest(self.folder / name) for name in _SOURCES}

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of the sweep's layers, as `load` returns them."""
        return load(self.folder)

    @cached_property
    def networks(self) -> pd.DataFrame:
        """The rows of whole networks, as `load_network_rows` returns them, with subjects."""
        return with_subjects(load_network_rows(self.folder))

    @cached_property
    def sites(self) -> pd.DataFrame:
        """The rows of layers at the networks' shapes, as `load_site_rows` does, with subjects."""
        return with_subjects(load_site_rows(self.folder))

    @cached_property
    def visits(self) -> pd.DataFrame:
        """Some fields of each `dynact.schema.visits.Visit`; none in older runs."""
        columns = [
            *("table", "case_id", "status", "time_ns"),
            *("session", "process", "elapsed_s", "visit_s", "timing_s"),
        ]
        # Of each line only these: there are many.
        visits = (
            [visit.get(name) for name in columns] for visit in read_records(self.folder / VISITS)
        )
        return pd.DataFrame(visits, columns=columns)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Device, versions and settings, as `load_environment` returns them."""
        return load_environment(self.folder)

    @cached_property
    def gates(self) -> list[dict[str, Any]]:
        """What the known pairs said in each session, the last word of each."""
        return list({gate["session"]: gate for gate in load_gates(self.folder)}.values())

    @cached_property
    def within(self) -> list[dict[str, Any]]:
        """What networks were advised to give up for a budget; none in older runs."""
        return list(read_records(self.folder / WITHIN))

    @cached_property
    def limits(self) -> dict[str, Any] | None:
        """The rates of the device, or None where they were not measured."""
        return load_ceilings(self.folder)

    @cached_property
    def profile(self) -> Profile | None:
        """The tables in traces/, or None where nothing was profiled."""
        return load_profile(self.folder)

    @cached_property
    def groups(self) -> list[SettingsGroup]:
        """The rows by settings, the main group first; none of networks alone."""
        return settings_groups(self.rows)

    @property
    def main(self) -> SettingsGroup:
        """The group with most shapes, where there are layers."""
        return self.groups[0]

    @cached_property
    def ways(self) -> dict[str, dict[str, Ways]]:
        """The ways to write the main group's activations, as `ways_of` returns them."""
        return ways_of(self.main, self.rows)

    @cached_property
    def names(self) -> dict[str, str]:
        """Display names of all activations among the rows and the profile."""
        profiled = () if self.profile is None else self.profile.steps["activation"]
        return display_names([*with_subjects(self.rows)["activation"], *profiled])

    @cached_property
    def labelled_networks(self) -> pd.DataFrame:
        """The rows of whole networks as `labelled` returns them."""
        return labelled(self.networks)

    @cached_property
    def network_names(self) -> dict[str, str]:
        """Display names of all activations in networks."""
        return display_names(self.networks["activation"])

    @cached_property
    def network_setting(self) -> str:
        """Batch, dtype and image size of the networks, in words."""
        return setting(self.networks)

    @cached_property
    def prediction(self) -> Prediction:
        """What the sites foretell of the networks, and what these really took."""
        return predict(self.networks, self.sites)

    def origin(self, files: tuple[str, ...]) -> str:
        """Return what a figure says it was drawn from: files, and a digest of all of them."""
        digest = hashlib.sha256()
        for name in files:
            # Of each, so that no line can wander from one file to the next unseen.
            digest.update(self._digests[name])
        return f"{' '.join(files)}, sha256 {digest.hexdigest()}"

    @property
    def device(self) -> str:
        """On what its main group, or networks alone, were measured."""
        rows = self.main.rows if self.groups else self.networks
        return device_and_threads(rows, self.environment)

    def caption(self, group: SettingsGroup | None, *, of_traces: bool = False) -> str:
        """Return where and when a group was measured, and what is to be said of it.

        That is which time it is of, how far its ratios are to be trusted, and whether its mode made
        its baseline slower.

        Parameters
        ----------
        group
            ``None`` in a run of networks alone.
        of_traces
            Whether it is for what a profiler timed.
        """
        words = [
            device_and_threads(group.rows, self.environment) if group else self.device,
            f"torch {self.environment['versions']['torch']}",
            self.date,
        ]
        measured = f"Measured on {', '.join(words)}."
        if not of_traces:
            rows = group.rows if group else self.networks
            measured = f"{measured} {which_time(rows)}".rstrip()
        slower = slower_baseline(group, self.rows) if group else ""
        if not_trustworthy(self.gates):
            doubt = "RATIOS NOT TRUSTWORTHY (known ratios were not found)."
            return f"{doubt} {measured} {slower}".rstrip()
        return " ".join(filter(None, (measured, told(self.gates), slower)))

    @property
    def date(self) -> str:
        """The day on which the run was started."""
        return pd.Timestamp(self.environment["started"]).strftime("%Y-%m-%d")


def load(run_folder: Path | str) -> pd.DataFrame:
    """Return the rows of a run, one line a case, with the columns `COLUMNS`.

    Raises
    ------
    RunNotFoundError
        If the folder holds no rows.jsonl, nor rows of networks.
    """
    folder = Path(run_folder)
    if not is_run(folder):
        raise RunNotFoundError(f"{folder.name!r} is not a run: it has no {Case.table}")
    return _frame(folder, Case.table, COLUMNS)


def load_network_rows(run_folder: Path | str) -> pd.DataFrame:
    """Return the network rows of a run, with the columns `NETWORK_COLUMNS`; none is no error."""
    return _frame(Path(run_folder), NetworkCase.table, NETWORK_COLUMNS)


def load_site_rows(run_folder: Path | str) -> pd.DataFrame:
    """Return what single layers take at the networks' shapes, as `load` does for the sweep's."""
    return _frame(Path(run_folder), SiteCase.table, COLUMNS)


def _frame(folder: Path, table: str, columns: tuple[str, ...]) -> pd.DataFrame:
    rows = pd.DataFrame(list(_rows(folder, table)), columns=list(columns))
    # Networks of versions before had no other.
    usual = {"impl": REFERENCE, "sample": "", "loss": "", "replaced": ""}
    texts = {name: rows[name].astype(object) for name in usual if name in columns}
    return rows.assign(
        **{name: text.where(text.notna(), usual[name]) for name, text in texts.items()}
    )


def _rows(folder: Path, table: str) -> Iterator[dict[str, Any]]:
    # The rows may have been stored before the last visits: the process was killed between.
    visits = load_visits(folder, table)
    precision = _precision(folder) if visits else 0.0
    for record in map(upgraded, read_records(folder / table)):
        of_case = visits.get(record["case_id"])
        yield with_visits(record, of_case, precision) if of_case else record


def _precision(folder: Path) -> float:
    settings: dict[str, float] = load_environment(folder).get("settings", {})
    return settings.get("precision", Settings.precision)


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest()
