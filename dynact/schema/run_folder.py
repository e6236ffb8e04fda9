"""Rows, and the run folder that keeps them: append, resume, load."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from dynact.schema.cases import CASE_FIELDS, Case
from dynact.schema.network_cases import NETWORK_FIELDS, NetworkCase

STATUSES = ("ok", "oom", "timeout", "crashed", "error", "unsupported")
LATEST = "latest"
ROWS = "rows.jsonl"
"""What the sweep found: a layer at a shape, a line each."""
NETWORK_ROWS = "network_rows.jsonl"
SITE_ROWS = "site_rows.jsonl"
"""Layers again, at the shapes that the measured networks have, to explain their rows by."""
GATES = "gates.jsonl"
CEILINGS = "ceilings.json"
LONGEST_NAME = 120
"""Of a folder, in characters: below every file system's limit, and readable."""


class RunError(ValueError):
    """A run folder cannot be used as asked; the message is one line for the user."""


class RunNotFoundError(RunError):
    """There is no such run."""


AnyCase = Case | NetworkCase


@dataclass(frozen=True)
class Measured:
    """A case and what timing it found; figures are ``None`` unless ``status`` is ``"ok"``."""

    case: AnyCase
    status: str
    """One of `STATUSES`."""
    message: str = ""
    """Why the status is not ``"ok"``, or what could not be counted, in one line."""
    time_ns: float | None = None
    """Median time of one call (a forward pass, or a training step)."""
    time_p20_ns: float | None = None
    time_p80_ns: float | None = None
    baseline_time_ns: float | None = None
    overhead: float | None = None
    """Median of paired ratios, target time / baseline time."""
    overhead_lo: float | None = None
    overhead_hi: float | None = None
    pairs: int | None = None
    converged: bool | None = None
    """Whether the interval became as narrow as asked for before time ran out."""
    speed_drift: float | None = None
    """How the device's time per call changed during the case: last third / first third."""
    cache: str | None = None
    """The state each timed call started from: ``"warm"`` or ``"cold"``."""
    clock: str | None = None
    counting_s: float | None = None
    """Seconds spent in counting, after timing and apart from it."""
    timing_s: float | None = None
    """Seconds spent in timed or settling calls."""
    case_s: float | None = None
    """Seconds that timing it took, set-up and warm-up included."""
    session: str | None = None
    """When the session that measured it started (ISO 8601, local time)."""
    elapsed_s: float | None = None
    """Seconds of that session when the row was stored."""

    def record(self) -> dict[str, Any]:
        """Return the row as one flat mapping, the case's id and values first."""
        return {"case_id": self.case.id, **asdict(self.case), **self.figures()}

    def figures(self) -> dict[str, Any]:
        """Return all but the case."""
        return {name: getattr(self, name) for name in _figures(type(self))}


def _figures(kind: type[Measured]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name != "case")


@dataclass(frozen=True)
class Row(Measured):
    """What was found of a single layer."""

    case: Case
    occurrences: int | None = None
    """How often the networks that the shapes were taken from have this one."""
    parameters: int | None = None
    """Elements that learn, those of normalisation included."""
    parameters_normalisation: int | None = None
    """Scales and shifts of normalisation layers, which papers leave out."""
    buffers: int | None = None
    """Elements that do not learn: running statistics, constants."""
    flops: int | None = None
    """Of one forward pass in eval mode, in both phases, as papers count."""
    flops_fvcore_default: int | None = None
    """What fvcore says of the same pass, unaided."""
    flops_by_operator: str | None = None
    """Parts of ``flops``, the largest first: ``"conv:3612672 batch_norm:401408"``."""
    uncounted_ops: str | None = None
    """Operators that ``flops`` lacks, ``", "`` between them; empty if it has them all."""
    baseline_flops: int | None = None
    traffic_floor_bytes: int | None = None
    """The least that an implementation of what is timed must read and write."""
    traffic_eager_bytes: int | None = None
    """What the operators of the eager formulation read and write, each on its own."""
    kernels: int | None = None
    """Operators of the eager formulation that read or write: launches on an accelerator."""
    baseline_traffic_eager_bytes: int | None = None
    data_dependent: bool | None = None
    """Whether the host reads values off tensors: such work is counted as for this input."""
    saved_for_backward_bytes: int | None = None
    """What autograd keeps from forward to backward, parameters aside; 0 in inference."""
    saved_input_bytes: int | None = None
    """The part of it that is the input itself."""
    saved_output_bytes: int | None = None
    """The part of it that is the output itself."""
    baseline_saved_for_backward_bytes: int | None = None
    peak_bytes: int | None = None
    """The most allocated at once above input, parameters and, in training, output gradient."""
    peak_source: str | None = None
    """``"allocator"``: the device's own statistics; ``"tracker"``: the tensors' storages."""
    baseline_peak_bytes: int | None = None
    bandwidth_bytes_per_s: float | None = None
    """The fastest this device was seen to copy a tensor of the input's size or larger."""
    peak_flops_per_s: float | None = None
    """The rate of this device's matrix product in the case's dtype."""
    floor_time_ns: float | None = None
    """The longer of moving ``traffic_floor_bytes`` and doing ``flops`` at those rates.

    A copy reads as much as it writes; what reads more may be faster.
    """


@dataclass(frozen=True)
class NetworkRow(Measured):
    """What was found of a network whose activations were replaced.

    The baseline is the same network with its own activations.
    """

    case: NetworkCase
    parameters: int | None = None
    """Elements that learn, those of normalisation included."""
    baseline_parameters: int | None = None
    flops: int | None = None
    """Of one image's forward pass in eval mode."""
    baseline_flops: int | None = None
    macs: int | None = None
    """Multiply-accumulates of the same pass, of convolutions and matrix products alone."""
    baseline_macs: int | None = None
    uncounted_ops: str | None = None
    """Operators that ``flops`` lacks, ``", "`` between them; empty if it has them all."""
    peak_bytes: int | None = None
    """The most allocated at once above images and parameters."""
    peak_source: str | None = None
    """``"allocator"``: the device's own statistics; ``"tracker"``: the tensors' storages."""
    baseline_peak_bytes: int | None = None
    saved_for_backward_bytes: int | None = None
    """What autograd keeps from forward to backward, parameters aside; 0 in inference."""
    baseline_saved_for_backward_bytes: int | None = None
    memory_fixed_bytes: float | None = None
    """Of all memory, that of parameters included, what does not grow with the batch.

    At large batches: a small one may need more, by no more than the gradients take.
    """
    memory_per_image_bytes: float | None = None
    """By what all memory grows with each image of the batch."""
    baseline_memory_fixed_bytes: float | None = None
    baseline_memory_per_image_bytes: float | None = None
    counted_image_size: int | None = None
    """Height and width of the image that ``flops`` and ``macs`` are of: the network's own size."""
    sites: str | None = None
    """What was replaced, in order of depth: ``"features.0.2=relu6:32x112x112 fc.1=relu:120"``."""
    kept_sites: str | None = None
    """What kept its activation, and why: ``"fc1.relu=relu:120 – why; fc2.relu=relu:84 – why"``."""


def new_row(case: AnyCase, status: str, message: str = "", **figures: Any) -> Measured:
    """Return the kind of row that a case gets."""
    if isinstance(case, NetworkCase):
        return NetworkRow(case, status, message, **figures)
    return Row(case, status, message, **figures)


FIGURES = _figures(Row)
COLUMNS = ("case_id", *CASE_FIELDS, *FIGURES)
NETWORK_COLUMNS = ("case_id", *NETWORK_FIELDS, *_figures(NetworkRow))


def load(run_folder: Path | str) -> pd.DataFrame:
    """Return the rows of a run, one line a row, with the columns `COLUMNS`.

    Raises
    ------
    RunNotFoundError
        If the folder holds no rows.jsonl.
    """
    path = Path(run_folder) / ROWS
    if not path.is_file():
        raise RunNotFoundError(f"{Path(run_folder).name!r} is not a run: it has no {ROWS}")
    return read_rows(path, COLUMNS)


def load_network_rows(run_folder: Path | str) -> pd.DataFrame:
    """Return the network rows of a run, with the columns `NETWORK_COLUMNS`; none is no error."""
    return read_rows(Path(run_folder) / NETWORK_ROWS, NETWORK_COLUMNS)


def load_site_rows(run_folder: Path | str) -> pd.DataFrame:
    """Return what single layers take at the networks' shapes, as `load` does for the sweep's."""
    return read_rows(Path(run_folder) / SITE_ROWS, COLUMNS)


def read_rows(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a file of JSON lines, none where it is not there."""
    records = list(_records(path)) if path.is_file() else []
    return pd.DataFrame(records, columns=list(columns))


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
    """Return the gate's verdicts, one for each session that ran it."""
    path = Path(run_folder) / GATES
    return list(_records(path)) if path.is_file() else []


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
        if (folder / ROWS).is_file():
            return folder
    raise _no_run(name or LATEST, reports)


class LockedFolder:
    """A folder that is being written, locked against other writers: rows, and their environment.

    Raises
    ------
    RunError
        If it is in use; cannot be written; or its rows were measured in another environment
        (names the difference).
    """

    def __init__(self, folder: Path, rows: str, environment: dict[str, Any]) -> None:
        self.folder = folder
        self._rows = folder / rows
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

    def close(self) -> None:
        """Let other processes use the run."""
        self._lock.release()

    def _record_environment(self, environment: dict[str, Any]) -> None:
        path = self.folder / "environment.json"
        # Before the first row there is nothing to compare with, only a start that was cut short.
        if not (path.exists() and self._rows.exists()):
            others = [p.name for p in self.folder.glob("*.jsonl") if p.name != GATES]
            if others:
                raise RunError(
                    f"run {self.folder.name!r} is of another kind, it has {others[0]}; name "
                    "another --run"
                )
            _write_whole(path, environment)
            return
        then, now = _flatten(load_environment(self.folder)), _flatten(environment)
        differences = [
            f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
            for key in sorted(then.keys() | now.keys())
            if then.get(key) != now.get(key) and not key.startswith(("command", "started"))
        ]
        if differences:
            raise RunError(
                f"cannot resume run {self.folder.name!r}, its rows would not be comparable: "
                + "; ".join([*differences, "name another --run"])
            )


class RunFolder(LockedFolder):
    """A run that is being written, locked against other writers.

    Each row is on disk before `append` returns, so that whatever happens next costs no row.

    Raises
    ------
    RunError
        If the run exists and is not to be resumed, or the other way round; is in use; cannot be
        written; or its rows were measured in another environment (names the difference).
    """

    def __init__(self, folder: Path, *, resume: bool, environment: dict[str, Any]) -> None:
        rows = folder / ROWS
        if resume and not rows.is_file():
            raise _no_run(folder.name, folder.parent)
        if not resume and rows.exists():
            raise RunError(
                f"run {folder.name!r} exists; add --resume to measure what is missing, "
                "or name another --run"
            )
        super().__init__(folder, ROWS, environment)
        self._gates = folder / GATES
        self._is_latest = False
        with _in_one_line(folder):
            for others in (self._gates, folder / NETWORK_ROWS, folder / SITE_ROWS):
                if others.exists():
                    _repair(others)
            if resume:
                self._point_latest_here()

    def done(self, file: str = ROWS) -> set[str]:
        """Return the ids of the cases that have a row."""
        path = self.folder / file
        return {record["case_id"] for record in _records(path)} if path.exists() else set()

    def append(self, row: Measured, file: str = ROWS) -> None:
        """Store a row; it is on disk when this returns.

        Raises
        ------
        RunError
            If it cannot be written (a full disk); the rows before it stay whole.
        """
        _append(self.folder / file, row.record())
        if not self._is_latest:
            self._point_latest_here()

    def append_gate(self, record: dict[str, Any]) -> None:
        """Store a verdict of the gate; same promise and error as `append`."""
        _append(self._gates, record)

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
        try:
            _write_whole(self.folder / CEILINGS, record)
        except OSError as error:
            raise RunError(f"cannot write {CEILINGS}: {error.strerror}; free some space") from None

    def _point_latest_here(self) -> None:
        # Renamed into place: a reader never finds it missing.
        fresh = self.folder.parent / f".{LATEST}.{os.getpid()}"
        fresh.symlink_to(self.folder.name)
        fresh.replace(self.folder.parent / LATEST)
        self._is_latest = True


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


def _append(path: Path, record: dict[str, Any]) -> None:
    # A lone surrogate, as in a strange file name, becomes the escape that JSON has for it.
    line = json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
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


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            # A line without its end was being written when the process died.
            if line.endswith(b"\n"):
                yield json.loads(line)


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
