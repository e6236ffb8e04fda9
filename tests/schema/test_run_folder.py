"""Rows on disk: whatever happens to the writer, no row is lost or doubled."""

import errno
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynact.report.run import COLUMNS, load, load_network_rows, load_site_rows
from dynact.schema import run_folder as results
from dynact.schema.cases import CASE_TYPES, Case
from dynact.schema.rows import Measured, NetworkRow, Row
from dynact.schema.run_folder import (
    GATES,
    RunError,
    RunFolder,
    RunNotFoundError,
    find_run,
    folder_name,
    load_ceilings,
    load_environment,
    load_gates,
    load_visits,
    read_records,
)
from dynact.schema.visits import Visit
from tests.sweeping import CASES, ROWS, case_of, network_case_of, ok_row, site_of

ENVIRONMENT = {
    "command": ["pytest", "benches"],
    "started": "2026-03-01T10:00:00",
    "settings": {"precision": 0.01},
    "threads": 1,
    "device": {"type": "cpu", "name": "Some CPU"},
    "versions": {"torch": "2.14.1"},
    "git": None,
}


VISITS_MADE = [
    Visit(
        "rows.jsonl", "a", number, "ok", "", 0.07, session="2026-03-01T10:00:00", elapsed_s=1.0,
        overhead=2.0, time_ns=2e3, baseline_time_ns=1e3, pairs=4, timing_s=0.07, visit_s=0.08,
    )
    for number in (1, 2, 3)
]  # fmt: skip


def open_run(folder: Path, resume: bool = False, **changes: Any) -> RunFolder:
    return RunFolder(folder, resume=resume, environment=ENVIRONMENT | changes)


def write_run(folder: Path, rows: Sequence[Row], resume: bool = False) -> None:
    run = open_run(folder, resume)
    for row in rows:
        run.append(row)
    run.close()


def records_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows as plain values; what is missing in a row is None."""
    table = load(folder).astype(object)
    values = table.where(table.notna(), None).to_numpy()
    return [dict(zip(table.columns, line, strict=True)) for line in values]


def some_rows(count: int) -> list[Row]:
    return [ok_row(case_of(f"a{i}"), overhead=1.5 + i) for i in range(count)]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "run"


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@settings(max_examples=50)
@given(st.lists(ROWS, min_size=1, max_size=6, unique_by=lambda row: row.case))
def test_what_is_appended_is_loaded(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(Path(folder) / "run")
        for row in rows:
            run.append(row)
        assert run.records("rows.jsonl") == [row.record() for row in rows]
        run.close()
        assert tuple(load(run.folder).columns) == COLUMNS
        assert records_of(run.folder) == [row.record() for row in rows]


def test_a_message_that_is_no_valid_text_is_kept(run_folder: Path) -> None:
    row = Row(case_of(), "error", "no such file: \udcff\n\u2028\x00'\"")
    write_run(run_folder, [row])
    assert records_of(run_folder) == [row.record()]


def test_rows_are_on_disk_when_append_returns(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(run_folder)
    synced: list[bytes] = []

    def note(_descriptor: int) -> None:
        synced.append((run_folder / "rows.jsonl").read_bytes())

    monkeypatch.setattr(os, "fsync", note)
    for count, row in enumerate(some_rows(3), start=1):
        run.append(row)
        assert len(synced) == count
        assert synced[-1] == (run_folder / "rows.jsonl").read_bytes()
        assert synced[-1].count(b"\n") == count


def test_append_never_reads(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(50)
    run = open_run(run_folder)
    run.append(rows[0])
    modes: list[str] = []
    open_file = Path.open

    def note(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        modes.append(mode)
        return open_file(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", note)
    for name in ("read_records", "_repair", "load_environment"):
        monkeypatch.setattr(results, name, None)
    for row in rows[1:]:
        run.append(row)
    # Opened for writing at the end only: a file opened so cannot be read.
    assert modes == ["ab"] * 49


@dataclass(frozen=True)
class Kept:
    """One of a run's files of JSON lines."""

    name: str
    lines: Sequence[Any]
    """What is appended, the last of it in letters of several bytes."""
    append: Callable[[RunFolder, Any], None]
    read: Callable[[Path], list[Any]]
    expected: Sequence[Any]
    """What is read of it, a line each."""


WORDY = "größer – 猫"
LAYERS = [replace(row, message=WORDY) for row in some_rows(3)]
# The sweep's own cases again: a site at a shape of the sweep has the same id.
SITES = [replace(row, case=site_of(row.case.activation)) for row in LAYERS]
NETWORKS = [NetworkRow(network_case_of(f"a{i}"), "oom", WORDY) for i in range(3)]
OF_TABLES: dict[str, Sequence[Measured]] = {
    "rows.jsonl": LAYERS, "site_rows.jsonl": SITES, "network_rows.jsonl": NETWORKS,
}  # fmt: skip


def kept_rows(name: str, load_rows: Callable[[Path], pd.DataFrame]) -> Kept:
    rows = OF_TABLES[name]
    return Kept(
        name,
        rows,
        RunFolder.append,
        lambda folder: list(load_rows(folder)["case_id"]),
        [row.case.id for row in rows],
    )


@pytest.mark.parametrize(
    "kept",
    [
        kept_rows("rows.jsonl", load),
        kept_rows("site_rows.jsonl", load_site_rows),
        kept_rows("network_rows.jsonl", load_network_rows),
        Kept(
            "visits.jsonl",
            VISITS_MADE,
            RunFolder.append_visit,
            lambda folder: load_visits(folder, Case.table).get("a", []),
            VISITS_MADE,
        ),
    ],
    ids=lambda kept: kept.name,
)
def test_a_file_torn_at_any_byte_is_repaired(run_folder: Path, kept: Kept) -> None:
    run = open_run(run_folder)
    for line in kept.lines:
        kept.append(run, line)
    run.close()
    path = run_folder / kept.name
    whole = path.read_bytes()
    last = whole[:-1].rindex(b"\n") + 1

    for end in range(last, len(whole) + 1):
        path.write_bytes(whole[:end])
        complete = 3 if end == len(whole) else 2
        assert kept.read(run_folder) == kept.expected[:complete]
        again = open_run(run_folder, resume=True)
        # At once: a reader, or a second kill, may come before the next row.
        assert path.read_bytes() == whole[: end if complete == 3 else last]
        for line in kept.lines[complete:]:
            kept.append(again, line)
        again.close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize("name", OF_TABLES)
def test_a_torn_row_is_none(run_folder: Path, name: str) -> None:
    rows = OF_TABLES[name]
    run = open_run(run_folder)
    for row in rows:
        run.append(row)
    whole = run.records(name)
    run.close()
    path = run_folder / name
    path.write_bytes(path.read_bytes()[:-1])

    again = open_run(run_folder, resume=True)

    assert whole == [row.record() for row in rows]
    assert again.records(name) == whole[:2]
    again.close()


def test_a_row_goes_to_the_table_of_its_case_alone(run_folder: Path) -> None:
    run = open_run(run_folder)
    run.append(LAYERS[0])
    run.append(SITES[1])
    run.append(NETWORKS[2])
    run.close()

    tables = {name for name in CASE_TYPES if (run_folder / name).is_file()}
    assert tables == {"rows.jsonl", "site_rows.jsonl", "network_rows.jsonl"}
    assert list(load(run_folder)["activation"]) == ["a0"]
    assert list(load_site_rows(run_folder)["activation"]) == ["a1"]
    assert list(load_network_rows(run_folder)["activation"]) == ["a2"]


def test_an_interrupted_start_is_no_obstacle(run_folder: Path) -> None:
    run_folder.mkdir(parents=True)
    (run_folder / "environment.json").write_text('{"comm')
    write_run(run_folder, some_rows(1))
    assert load_environment(run_folder) == ENVIRONMENT
    assert len(load(run_folder)) == 1


def test_a_run_in_which_nothing_was_measured_leaves_no_folder(run_folder: Path) -> None:
    run = open_run(run_folder)
    run.store_ceilings({"case_s": 0.1})
    assert run.is_empty

    run.close()

    assert not run_folder.exists()
    other = open_run(run_folder)
    run.close()
    assert run_folder.exists()
    other.close()


@pytest.mark.parametrize(
    "measure",
    [
        lambda run: run.append(some_rows(1)[0]),
        lambda run: run.append(NetworkRow(network_case_of(), "error")),
        lambda run: run.append_visit(VISITS_MADE[0]),
        lambda run: run.replace(GATES, [{"trustworthy": True}]),
    ],
    ids=["row", "network row", "visit", "gate"],
)
def test_a_run_in_which_something_was_measured_stays(
    run_folder: Path, measure: Callable[[RunFolder], None]
) -> None:
    run = open_run(run_folder)
    measure(run)
    assert not run.is_empty

    run.close()

    assert load_environment(run_folder) == ENVIRONMENT
    with pytest.raises(RunError, match="exists"):
        open_run(run_folder)


def test_a_folder_that_was_there_before_stays(run_folder: Path) -> None:
    run_folder.mkdir(parents=True)
    (run_folder / "notes.txt").write_text("mine")

    open_run(run_folder).close()

    assert (run_folder / "notes.txt").read_text() == "mine"


def test_a_start_that_was_killed_before_the_first_row_does_not_keep_the_name(
    run_folder: Path,
) -> None:
    run_folder.mkdir(parents=True)
    (run_folder / "rows.jsonl").touch()
    (run_folder / "environment.json").write_text(json.dumps(ENVIRONMENT))

    run = open_run(run_folder, threads=2)
    run.append(some_rows(1)[0])
    run.close()

    assert load_environment(run_folder)["threads"] == 2


def test_a_second_writer_is_refused(run_folder: Path) -> None:
    run = open_run(run_folder)
    script = (
        "import sys, pathlib\n"
        "from dynact.schema.run_folder import RunError, RunFolder\n"
        "try:\n"
        f"    folder = pathlib.Path({str(run_folder)!r})\n"
        f"    RunFolder(folder, resume=True, environment={ENVIRONMENT})\n"
        "except RunError as error:\n"
        "    print(error)\n"
        "else:\n"
        "    print('opened')\n"
    )

    def other_process() -> str:
        command = (sys.executable, "-c", script)
        root = Path(__file__).parents[2]
        return subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert other_process() == "run 'run' is in use by another process"
    run.append(some_rows(1)[0])
    run.close()
    assert other_process() == "opened"
    assert len(load(run_folder)) == 1


def test_a_session_s_own_settings_are_recorded(run_folder: Path) -> None:
    write_run(run_folder, some_rows(1))

    open_run(run_folder, resume=True, settings={"precision": 0.02}, started="later").close()

    changed = ENVIRONMENT | {"settings": {"precision": 0.02}}
    assert load_environment(run_folder) == changed


@pytest.mark.parametrize("name", ["lessons.jsonl", "site_rows.jsonl"])
def test_a_folder_of_another_kind_is_left_alone(run_folder: Path, name: str) -> None:
    run_folder.mkdir(parents=True)
    (run_folder / name).write_text("{}\n")

    with pytest.raises(RunError) as caught:
        open_run(run_folder)

    assert str(caught.value) == (f"run 'run' is of another kind, it has {name}; name another --run")
    assert sorted(path.name for path in run_folder.iterdir()) == [".lock", name]


def test_all_lines_of_a_table_are_stored_anew_at_once(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = some_rows(3)
    run = open_run(run_folder)
    for row in rows:
        run.append(row)
    seen: list[int] = []
    rename = Path.replace

    def note(fresh: Path, path: Path) -> Path:
        # Readers find what was there, until all of the new is on disk.
        seen.extend(file.read_bytes().count(b"\n") for file in (path, fresh))
        return rename(fresh, path)

    monkeypatch.setattr(Path, "replace", note)
    run.replace("rows.jsonl", [row.record() for row in rows[:2]])
    monkeypatch.undo()

    assert seen == [3, 2]
    assert run.records("rows.jsonl") == [row.record() for row in rows[:2]]
    # And goes on from there.
    run.append(rows[2])
    assert records_of(run_folder) == [row.record() for row in rows]
    run.close()


def test_a_full_disk_leaves_the_lines_that_were_there(run_folder: Path) -> None:
    rows = some_rows(3)
    run = open_run(run_folder)
    for row in rows:
        run.append(row)
    before = (run_folder / "rows.jsonl").read_bytes()

    with file_size_limit(len(before) + 10), pytest.raises(RunError) as caught:
        run.replace("rows.jsonl", [row.record() for row in rows * 2])

    assert str(caught.value) == "cannot write rows.jsonl: File too large; free some space"
    assert (run_folder / "rows.jsonl").read_bytes() == before


def test_what_visits_say_since_the_rows_were_stored_is_loaded(run_folder: Path) -> None:
    rows = some_rows(2)
    run = open_run(run_folder)
    for row in rows:
        run.append(row)
    first = rows[0].case.id
    for number, overhead in enumerate((4.0, 9.0), start=1):
        run.append_visit(replace(VISITS_MADE[0], case_id=first, number=number, overhead=overhead))
    # Of a site with the same id.
    run.append_visit(replace(VISITS_MADE[0], table="site_rows.jsonl", case_id=first, overhead=1.0))
    run.close()

    found = load(run_folder).set_index("case_id")

    assert found.loc[first, "overhead"] == pytest.approx(6.0)
    assert found.loc[first, "visits"] == 2
    # A run of a version before has none.
    other = found.loc[rows[1].case.id]
    assert other["overhead"] == rows[1].overhead
    assert pd.isna(other["visits"])


def test_another_environment_is_refused_and_the_difference_named(run_folder: Path) -> None:
    write_run(run_folder, some_rows(2))
    before = (run_folder / "rows.jsonl").read_bytes()
    with pytest.raises(RunError) as error:
        open_run(run_folder, resume=True, threads=2, settings={"precision": 0.02}, new="x")
    message = str(error.value)
    for difference in (
        "threads was 1 and is 2",
        "new was None and is 'x'",
    ):
        assert difference in message
    # How much is measured may differ from session to session.
    assert "command" not in message
    assert "precision" not in message
    assert "\n" not in message
    assert (run_folder / "rows.jsonl").read_bytes() == before
    assert load_environment(run_folder) == ENVIRONMENT


def test_another_command_at_another_time_may_resume(run_folder: Path) -> None:
    write_run(run_folder, some_rows(1))
    run = open_run(run_folder, resume=True, command=["pytest"], started="2026-03-02T11:00:00")
    run.append(some_rows(2)[1])
    run.close()
    assert len(load(run_folder)) == 2


def test_an_existing_run_is_not_written_to_unasked(run_folder: Path) -> None:
    write_run(run_folder, some_rows(2))
    with pytest.raises(RunError, match=r"^run 'run' exists; add --resume .* or name another"):
        open_run(run_folder)
    assert len(load(run_folder)) == 2


def test_only_a_run_that_is_there_can_be_resumed(run_folder: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"^no run 'run'; there are none yet$"):
        open_run(run_folder, resume=True)
    assert not run_folder.exists()


def test_latest_is_the_run_opened_last(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_run(tmp_path / name, some_rows(1))
        latest = tmp_path / "latest"
        assert latest.is_symlink()
        # Relative, so that the folder can be moved or published whole.
        assert latest.readlink() == Path(name)
    write_run(tmp_path / "first", (), resume=True)
    assert (tmp_path / "latest").resolve() == tmp_path / "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "latest", "second"]


def test_find_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reports = tmp_path / "reports"
    with pytest.raises(RunNotFoundError, match=r"^no run 'latest'; there are none yet$"):
        find_run(None, reports)
    for name in ("b", "a"):
        write_run(reports / name, some_rows(1))
    assert find_run(None, reports).resolve() == reports / "a"
    assert find_run("b", reports) == reports / "b"
    assert find_run("reports/b", reports).resolve() == reports / "b"
    (reports / "no run").mkdir()
    with pytest.raises(RunNotFoundError) as error:
        find_run("c", reports)
    assert str(error.value) == "no run 'c'; runs in reports/: a, b"


def test_a_folder_without_rows_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"is not a run: it has no rows\.jsonl"):
        load(tmp_path)
    assert load_gates(tmp_path) == []


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_folder_s_name_fits_any_file_system_and_tells_texts_apart(one: str, other: str) -> None:
    names = [folder_name(text) for text in (one, other)]

    assert all(re.fullmatch(r"[\w-][\w.-]{0,119}", name, flags=re.ASCII) for name in names)
    assert (names[0] == names[1]) == (one == other)


@given(CASES)
def test_a_usual_case_s_folder_is_its_id(case: Case) -> None:
    usual = replace(case, activation="dyrelu_b", impl="reference", device="cpu", baseline="relu")

    assert folder_name(usual.id) == usual.id


def test_ceilings_are_kept_for_all_sessions_of_a_run(run_folder: Path) -> None:
    record = {
        "session": "2026-03-01T10:00:00", "copies": [{"bytes": 16, "bytes_per_s": 1.5e9}],
        "flops_per_s": {"float32": 2e9}, "case_s": 0.5,
    }  # fmt: skip
    run = open_run(run_folder)
    before = run.ceilings()
    run.store_ceilings(record)
    run.append(some_rows(1)[0])
    run.close()

    again = open_run(run_folder, resume=True)

    assert before is None
    assert again.ceilings() == load_ceilings(run_folder) == record
    again.close()


def test_ceilings_that_do_not_fit_on_the_disk_leave_nothing_behind(run_folder: Path) -> None:
    run = open_run(run_folder)
    with file_size_limit(10), pytest.raises(RunError, match=r"^cannot write ceilings\.json: "):
        run.store_ceilings({"copies": []})
    run.close()

    assert load_ceilings(run_folder) is None


def test_no_rows_make_an_empty_table(run_folder: Path) -> None:
    run = open_run(run_folder)
    table = load(run_folder)
    run.close()
    assert table.empty
    assert tuple(table.columns) == COLUMNS


@pytest.mark.parametrize("spare", [0, 1, 300])
def test_a_full_disk_costs_no_row(run_folder: Path, spare: int) -> None:
    rows = some_rows(4)
    run = open_run(run_folder)
    for row in rows[:3]:
        run.append(row)
    path = run_folder / "rows.jsonl"
    before = path.read_bytes()
    with file_size_limit(len(before) + spare), pytest.raises(RunError) as error:
        run.append(rows[3])
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("cannot append to rows.jsonl: ")
    assert path.read_bytes() == before
    run.append(rows[3])
    run.close()
    assert records_of(run_folder) == [row.record() for row in rows]


def test_a_failing_disk_costs_no_row(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(2)
    run = open_run(run_folder)
    run.append(rows[0])

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError, match="Input/output error"):
        run.append(rows[1])
    assert records_of(run_folder) == [rows[0].record()]


def test_a_run_that_was_removed_meanwhile_is_one_line(run_folder: Path) -> None:
    run = open_run(run_folder)
    for path in run_folder.iterdir():
        path.unlink()
    run_folder.rmdir()
    with pytest.raises(RunError, match=r"^cannot append to rows\.jsonl: No such file"):
        run.append(some_rows(1)[0])


@pytest.mark.parametrize("name", ["reports", "reports/run"])
def test_a_file_in_the_way_is_one_line(tmp_path: Path, name: str) -> None:
    if "/" in name:
        (tmp_path / "reports").mkdir()
    (tmp_path / name).touch()
    with pytest.raises(RunError, match=r"^cannot write to reports/run: .*; make it writable"):
        open_run(tmp_path / "reports" / "run")


def test_one_line_a_row_that_any_reader_understands(run_folder: Path) -> None:
    rows = some_rows(3)
    write_run(run_folder, rows)
    lines = (run_folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [row.record() for row in rows]


def test_verdicts_of_former_versions_are_read_as_those_of_this_one(tmp_path: Path) -> None:
    former = {"trustworthy": True, "self_ratio": 1.0, "self_lo": 0.9, "more_hi": 1.2}
    (tmp_path / "gates.jsonl").write_text(json.dumps(former) + "\n")

    assert load_gates(tmp_path) == [
        {"trustworthy": True, "self_overhead": 1.0, "self_overhead_lo": 0.9,
         "more_overhead_hi": 1.2}
    ]  # fmt: skip


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"flops": 1}\nflops\n{"flops": 3}\n')

    with pytest.raises(RunError, match=r"/rows\.jsonl: line 2 is no JSON; remove that line, and"):
        list(read_records(path))


def test_networks_of_a_run_add_up_and_none_changes(tmp_path: Path) -> None:
    def opened(resume: bool, **networks: dict[str, str]) -> None:
        run = RunFolder(tmp_path / "run", resume=resume, environment=ENVIRONMENT, networks=networks)
        if not resume:
            run.append(ok_row(case_of()))
        run.close()

    opened(False, a={"conv": "8x3"})
    opened(True, b={"conv": "4x3"})
    opened(True)

    for name, then in (("a", "8x3"), ("b", "4x3")):
        with pytest.raises(RunError, match=f"^cannot resume run 'run', {name} is another network "):
            opened(True, **{name: {"conv": "5x3"}})
        opened(True, **{name: {"conv": then}})
    with pytest.raises(RunError, match=r"now: conv was 8x3 and is not there; name another --run$"):
        opened(True, a={})
