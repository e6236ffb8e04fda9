"""The folder that keeps a run: rows append, whatever happens to the writer; and what reads them."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dynact.schema.cases import CASE_TYPES, Case, NetworkCase
from dynact.schema.rows import Measured
from dynact.schema.visits import VISITS, Visit, visit_of_record

LATEST = "latest"
GATES = "gates.jsonl"
# Which sites networks give up for a budget, as advised: asked again, a run says the same.
WITHIN = "within.jsonl"
# What a session may ask for anew of a run: it tells how much is measured, not how.
_OF_A_SESSION = (
    *("command", "started"),
    *(f"settings.{name}" for name in ("precision", "max_seconds", "passes")),
)
CEILINGS = "ceilings.json"
# What networks of the user's own are made of.
NETWORKS = "networks.json"
# Of a folder, in characters: below every file system's limit, and readable.
LONGEST_NAME = 120
# How figures of the gate were called before.
_FORMER_GATE_NAMES = {
    f"{kind}_{former}": f"{kind}_overhead{end}"
    for kind in ("self", "more")
    for former, end in (("ratio", ""), ("lo", "_lo"), ("hi", "_hi"))
}


class RunError(ValueError):
    """A run folder cannot be used as asked; the message is one line for the user."""


class RunNotFoundError(RunError):
    """There is no such run."""


def load_environment(run_folder: Path | str) -> dict[str, Any]:
    """Return what environment.json says of the device, the versions and the settings.

    Raises
    ------
    RunError
        If it is cut short, or was changed and lacks what every reader needs: one line.
    OSError
        If it is not there.
    """
    path = Path(run_folder) / "environment.json"
    remedy = "restore it from a copy, or measure again under another --run"
    needed = {"started": str, "threads": int, "device": dict, "versions": dict}
    return _load_record(path, needed, remedy)


def load_gates(run_folder: Path | str) -> list[dict[str, Any]]:
    """Return the gate's verdicts, one for each session that ran it, as this version stores them."""
    return [
        {_FORMER_GATE_NAMES.get(name, name): value for name, value in gate.items()}
        for gate in read_records(Path(run_folder) / GATES)
    ]


def load_visits(run_folder: Path | str, table: str) -> dict[str, list[Visit]]:
    """Return the visits of a table's cases by case id, in the order made; none in older runs."""
    visits: dict[str, list[Visit]] = {}
    for record in read_records(Path(run_folder) / VISITS):
        if record["table"] == table:
            visits.setdefault(record["case_id"], []).append(visit_of_record(record))
    return visits


def load_ceilings(run_folder: Path | str) -> dict[str, Any] | None:
    """Return the rates of the device, or None where the run has not measured them.

    Raises
    ------
    RunError
        If their file is cut short, or was changed and lacks some: one line.
    """
    path = Path(run_folder) / CEILINGS
    if not path.is_file():
        return None
    remedy = "remove it, and --resume measures it again"
    needed = {"session": str, "copies": list, "flops_per_s": dict, "case_s": float}
    return _load_record(path, needed, remedy)


def _load_record(path: Path, needed: dict[str, type], remedy: str) -> dict[str, Any]:
    """Return the object that a file holds, with what it must hold, of the right kind."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise RunError(
            f"{path.parent.name}/{path.name} is cut short or no JSON; {remedy}"
        ) from None
    for key, kind in needed.items():
        if not (isinstance(record, dict) and isinstance(record.get(key), kind)):
            raise RunError(
                f"{path.parent.name}/{path.name} lacks {key!r}, or it is no {kind.__name__}; "
                f"{remedy}"
            )
    found: dict[str, Any] = record
    return found


def folder_name(text: str) -> str:
    """Return a name for a text's own folder that any file system takes; equal for equal texts.

    A case id with a user's class ("pkg.mod:Class") is no such name as it stands.
    """
    plain = re.sub(r"[^\w.-]", "-", text, flags=re.ASCII)
    if plain == text and re.match(r"\w", text) and len(text) <= LONGEST_NAME:
        return text
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
    return f"{plain.lstrip('.')[: LONGEST_NAME - 9]}-{digest[:8]}"


def find_run(name: str | None, reports: Path) -> Path:
    """Return the folder of a run: a name under ``reports``, a path, or by default the latest.

    Raises
    ------
    RunNotFoundError
        If there is no such run; the message lists those there are.
    """
    for folder in (reports / (name or LATEST), Path(name or LATEST)):
        if is_run(folder):
            return folder
    raise _no_run(name or LATEST, reports)


def is_run(folder: Path) -> bool:
    """Return whether a folder holds the rows of a sweep, of layers or of networks alone."""
    return any((folder / table).is_file() for table in (Case.table, NetworkCase.table))


def check_run(folder: Path, resume: bool) -> None:
    """Raise RunError if a run exists that is not to be resumed, or the other way round."""
    rows = folder / Case.table
    if resume and not rows.is_file():
        raise _no_run(folder.name, folder.parent)
    if not resume and rows.exists() and _has_lines(folder):
        raise RunError(
            f"run {folder.name!r} exists; add --resume to measure what is missing, "
            "or name another --run"
        )


class LockedFolder:
    """A folder that is being written, locked against other writers: rows, and their environment.

    One that was made here goes again when it is closed without anything measured in it.

    Raises
    ------
    RunError
        If it is in use; cannot be written; or its rows were measured in another environment
        (names the difference).
    """

    def __init__(self, folder: Path, rows: str, environment: dict[str, Any]) -> None:
        self.folder = folder
        self._rows = folder / rows
        self._was_made_here = not folder.exists()
        with _in_one_line(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".lock", timeout=0)
            self._lock.acquire()
            self._record_environment(environment)
            _repair(self._rows)

    def append_record(self, record: dict[str, Any]) -> None:
        """Store a row; it is on disk when this returns.

        Raises
        ------
        RunError
            If it cannot be written (a full disk); the rows before it stay whole.
        """
        _append(self._rows, record)

    @property
    def is_empty(self) -> bool:
        """Whether nothing that was measured is stored."""
        return not _has_lines(self.folder)

    def close(self) -> None:
        """Let other processes use the run."""
        if self._was_made_here and self.is_empty:
            shutil.rmtree(self.folder, ignore_errors=True)
        # Closed again, the name may be another process's.
        self._was_made_here = False
        self._lock.release()

    def _record_environment(self, environment: dict[str, Any]) -> None:
        path = self.folder / "environment.json"
        # Before the first row there is nothing to compare with, only a start that was cut short.
        if self.is_empty or not (path.exists() and self._rows.exists()):
            others = [
                p.name
                for p in self.folder.glob("*.jsonl")
                if p.name not in (GATES, VISITS) and p.stat().st_size
            ]
            if others:
                raise RunError(
                    f"run {self.folder.name!r} is of another kind, it has {others[0]}; name "
                    "another --run"
                )
            _write_whole(path, environment)
            return
        recorded = load_environment(self.folder)
        then, now = _flatten(recorded), _flatten(environment)
        differences = [
            f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
            for key in sorted(then.keys() | now.keys())
            if then.get(key) != now.get(key) and key not in _OF_A_SESSION
        ]
        if differences:
            raise RunError(
                f"cannot resume run {self.folder.name!r}, its rows would not be comparable: "
                + "; ".join([*differences, "name another --run"])
            )
        if "settings" in environment:
            _write_whole(path, recorded | {"settings": environment["settings"]})


class RunFolder(LockedFolder):
    """A run that is being written, locked against other writers.

    Each row is on disk before `append` returns, so that whatever happens next costs no row.

    Parameters
    ----------
    networks
        Of each network that may be another one next time, and what it takes, what it is made of:
        a description for each of its parts.
    is_among_reports
        Whether ``latest`` beside it is to lead to it.

    Raises
    ------
    RunError
        If the run exists and is not to be resumed, or the other way round; is in use; cannot be
        written; or its rows were measured in another environment, or of other networks (names the
        difference).
    """

    def __init__(
        self,
        folder: Path,
        *,
        resume: bool,
        environment: dict[str, Any],
        networks: Mapping[str, Mapping[str, str]] | None = None,
        is_among_reports: bool = True,
    ) -> None:
        check_run(folder, resume)
        super().__init__(folder, Case.table, environment)
        # Elsewhere that name may be another's.
        self._is_latest = not is_among_reports
        with _in_one_line(folder):
            self._record_networks(networks or {})
            for name in (GATES, VISITS, WITHIN, *CASE_TYPES):
                if (folder / name).exists():
                    _repair(folder / name)
            if resume and is_among_reports:
                self._point_latest_here()

    def _record_networks(self, networks: Mapping[str, Mapping[str, str]]) -> None:
        path = self.folder / NETWORKS
        recorded = {}
        if path.is_file() and not self.is_empty:
            remedy = "restore it from a copy, or name another --run"
            recorded = _load_record(path, {}, remedy)
        for name in networks.keys() & recorded.keys():
            then, now = recorded[name], networks[name]
            parts = [part for part in {**then, **now} if then.get(part) != now.get(part)]
            if parts:
                first = parts[0]
                more = f" ({len(parts)} parts differ)" if len(parts) > 1 else ""
                raise RunError(
                    f"cannot resume run {self.folder.name!r}, {name} is another network now: "
                    f"{first} was {then.get(first, 'not there')} and is "
                    f"{now.get(first, 'not there')}{more}; name another --run"
                )
        if networks:
            _write_whole(path, {**recorded, **networks})

    def records(self, table: str) -> list[dict[str, Any]]:
        """Return the lines of a table, as stored."""
        return list(read_records(self.folder / table))

    def visits(self) -> Iterator[Visit]:
        """Yield all visits, in the order made."""
        return map(visit_of_record, read_records(self.folder / VISITS))

    def append_visit(self, visit: Visit) -> None:
        """Store a visit; same promise and error as `append`."""
        _append(self.folder / VISITS, visit.record())

    def replace(self, table: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Store all lines of a table anew: readers find those before or these.

        Raises
        ------
        RunError
            If they cannot be written (a full disk); those before stay.
        """
        path = self.folder / table
        fresh = path.with_suffix(".new")
        with _safe_on_full_disk(table), fresh.open("wb") as file:
            file.writelines(map(_line, records))
            file.flush()
            os.fsync(file.fileno())
            fresh.replace(path)

    def append(self, row: Measured) -> None:
        """Store a row; it is on disk when this returns.

        Raises
        ------
        RunError
            If it cannot be written (a full disk); the rows before it stay whole.
        """
        _append(self.folder / row.case.table, row.record())
        if not self._is_latest:
            self._point_latest_here()

    def ceilings(self) -> dict[str, Any] | None:
        """Return the device's rates, or None where this run has not measured them yet."""
        return load_ceilings(self.folder)

    def store_ceilings(self, record: dict[str, Any]) -> None:
        """Store the device's rates, once for the run.

        Raises
        ------
        RunError
            If they cannot be written (a full disk).
        """
        with _safe_on_full_disk(CEILINGS):
            _write_whole(self.folder / CEILINGS, record)

    def _point_latest_here(self) -> None:
        # Renamed into place: a reader never finds it missing.
        fresh = self.folder.parent / f".{LATEST}.{os.getpid()}"
        fresh.symlink_to(self.folder.name)
        fresh.replace(self.folder.parent / LATEST)
        self._is_latest = True


def _has_lines(folder: Path) -> bool:
    return any(table.stat().st_size for table in folder.glob("*.jsonl"))


@contextmanager
def _in_one_line(folder: Path) -> Iterator[None]:
    try:
        yield
    except Timeout:
        raise RunError(f"run {folder.name!r} is in use by another process") from None
    except OSError as error:
        raise RunError(
            f"cannot write to {folder.parent.name}/{folder.name}: {error.strerror}; "
            "make it writable or free some space"
        ) from None


def _no_run(name: str, reports: Path) -> RunNotFoundError:
    folders = (path.parent for path in reports.glob("*/rows.jsonl"))
    runs = sorted(folder.name for folder in folders if not folder.is_symlink())
    there_are = f"runs in {reports.name}/: {', '.join(runs)}" if runs else "there are none yet"
    return RunNotFoundError(f"no run {name!r}; {there_are}")


def _write_whole(path: Path, record: dict[str, Any]) -> None:
    # Renamed into place: a reader never finds half of it.
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)


@contextmanager
def _safe_on_full_disk(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {name}: {error.strerror}; free some space") from None


def _line(record: Mapping[str, Any]) -> bytes:
    # A lone surrogate, as in a strange file name, becomes the escape that JSON has for it.
    return json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def _append(path: Path, record: Mapping[str, Any]) -> None:
    line = _line(record)
    try:
        with path.open("ab", buffering=0) as file:
            whole = file.tell()
            try:
                if file.write(line) < len(line):
                    raise OSError(0, "No space left on device")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(whole)
                raise
    except OSError as error:
        raise RunError(
            f"cannot append to {path.name}: {error.strerror}; the rows before are safe, "
            "the run can go on from there"
        ) from None


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file of JSON lines, none where it is not there.

    Raises
    ------
    RunError
        If a line is no JSON: one line that names it.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            # A line without its end was being written when the process died.
            if line.endswith(b"\n"):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise RunError(
                        f"{path.parent.name}/{path.name}: line {number} is no JSON; remove that "
                        "line, and --resume measures its case again"
                    ) from None


def _repair(path: Path) -> None:
    with path.open("ab+") as file:
        file.seek(0)
        whole = sum(len(line) for line in file if line.endswith(b"\n"))
        file.truncate(whole)


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
