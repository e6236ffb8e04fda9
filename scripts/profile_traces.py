"""Trace cases of a run with the profiler, apart from their timing; or read a trace of one's own."""

import difflib
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
# Works from a checkout too, where dynact is not installed.
sys.path.insert(0, str(ROOT))

from dynact import activations  # noqa: E402
from dynact.activations import REFERENCE  # noqa: E402
from dynact.report.data.names import shortened, without_subjects  # noqa: E402
from dynact.report.data.settings_groups import at_largest_input, input_elements, settings_groups  # noqa: E402
from dynact.report.run import Run, load  # noqa: E402
from dynact.report.tables.why_slow import why_slow  # noqa: E402
from dynact.schema.cases import CASE_FIELDS, Case  # noqa: E402
from dynact.schema.duration import format_seconds  # noqa: E402
from dynact.schema.profile import PARTS  # noqa: E402
from dynact.schema.redact import error_line  # noqa: E402
from dynact.schema.run_folder import find_run, folder_name, load_ceilings, load_environment  # noqa: E402
from dynact.sweep.interrupt import interrupt_deferred  # noqa: E402
from dynact.sweep.listing import add_list  # noqa: E402
from dynact.sweep.one_line_parser import OneLineParser  # noqa: E402
from dynact.sweep.worker import MEMORY_KEEPING_MALLOC  # noqa: E402
from dynact.timing import format_ns  # noqa: E402

if TYPE_CHECKING:
    from dynact.worker.profile import OwnTrace, Tables

HEADLINE = "headline"
SLOWEST = "slowest:"
# The largest input of the default sweep; a larger one tells no more, and takes longer.
MOST_ELEMENTS = 2 * 512 * 28 * 28
# An accelerator is done with that one before its host has queued the next.
MOST_ELEMENTS_ON_ACCELERATOR = 32 * 256 * 56 * 56
OPERATORS_TOLD = 5
LONGEST_TOLD = 56
# The profiler's library then says what goes wrong, for `profile_case` to keep, and little else.
WARNINGS = {"KINETO_LOG_LEVEL": "2"}


def main() -> None:
    """Run the command line."""
    parser = OneLineParser(description=__doc__)
    parser.add_argument("run", nargs="?", help="a name in reports/, or a path; default: the latest")
    parser.add_argument("--run", dest="run_option", metavar="RUN", help="the same")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--cases",
        default=HEADLINE,
        help="headline (all activations and the baseline at one shape), slowest:N, or a comma list"
        " of case ids; default: %(default)s",
    )
    which.add_argument("-k", metavar="WORDS", help="cases whose id contains all these words")
    which.add_argument(
        "--from-trace",
        type=Path,
        metavar="FILE",
        help="none of a run's, but tables and figures of any trace that torch.profiler wrote, .json"
        " or .json.gz; RUN then names the folder in reports/ for them, default: trace-FILE",
    )
    parser.add_argument("--steps", type=int, default=16, help="to trace; default: %(default)s")
    add_list(parser.add_argument)
    options = parser.parse_args()
    if options.run is not None and options.run_option is not None:
        parser.error(f"two runs given, {options.run} and --run {options.run_option}; give one")
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    folder = ROOT / "reports"
    if options.from_trace is not None:
        try:
            _read_own(parser, options.from_trace, options.run_option or options.run, folder)
        except KeyboardInterrupt:
            parser.exit(130, "interrupted; begin again for all tables and figures\n")
        return
    try:
        folder = find_run(options.run_option or options.run, folder)
        rows = load(folder)
        cases = list(chosen(rows, options.cases, options.k))
        _take_the_workers_environment()
        for line in parts_of_names(cases, options.k or ""):
            print(line, flush=True)
        failed = _profile_each(cases, folder, options.steps)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.cannot_write(error, folder)
    except KeyboardInterrupt:
        parser.exit(130, "interrupted; what was traced before is whole\n")
    sys.exit(1 if failed else 0)


def chosen(rows: pd.DataFrame, cases: str, words: str | None) -> Iterator[Case]:
    """Yield the cases to trace.

    Raises
    ------
    ValueError
        If there are none, or one is not in the run or has no time: one line.
    """
    ok = rows[rows["status"] == "ok"]
    if ok.empty:
        raise ValueError("the run has no ok rows, there is nothing to trace")
    if words is not None:
        if not words.split():
            raise ValueError("-k is given no words; name some, as in -k 'frelu training'")
        ids = ok["case_id"]
        taken = ok[[all(word in case_id for word in words.split()) for case_id in ids]]
        if taken.empty:
            lacking = [word for word in words.split() if not any(word in one for one in ids)]
            near = " or ".join(filter(None, map(_near, lacking)))
            hint = f"did you mean {near}?" if near else f"one is {ids.iloc[0]}"
            raise ValueError(f"no ok case has {words!r} in its id; {hint}")
    elif cases == HEADLINE:
        # A compiled layer's trace is of other kernels than those counted.
        eager = ok[ok["mode"] == "eager"]
        if eager.empty:
            raise ValueError("the run has no ok rows in eager mode; name others by -k or --cases")
        taken = _at_one_shape(eager)
        yield from _baselines(taken)
    elif cases.startswith(SLOWEST):
        taken = ok.nlargest(_count(cases.removeprefix(SLOWEST)), "time_ns")
    else:
        wanted = [case_id.strip() for case_id in cases.split(",") if case_id.strip()]
        for case_id in wanted:
            _check_is_ok(case_id, rows)
        taken = ok[ok["case_id"].isin(wanted)]
        if taken.empty:
            raise ValueError("no case given; --help says how to name some")
    for row in taken.to_dict("records"):
        yield Case(**{name: row[name] for name in CASE_FIELDS})


def parts_of_names(cases: Sequence[Case], words: str) -> Iterator[str]:
    """Yield a line for each word that is only a part of the activations that it has chosen."""
    names = dict.fromkeys(case.activation for case in cases)
    for word in words.split():
        found = [name for name in names if word in name]
        # Of a layer of the user's, the class is a name too.
        if found and not any(word in (name, *re.split(r"[.:]", name)) for name in found):
            near = _near(word)
            hint = f"; near: {near}" if near else ""
            yield f"-k {word} matches {', '.join(found)}; no activation {word} is traced{hint}"


def _near(word: str) -> str:
    return "" if word in activations.names() else activations.near_names(word)


def _at_one_shape(ok: pd.DataFrame) -> pd.DataFrame:
    main = without_subjects(settings_groups(ok)[0].rows)
    on_host = main["device"].iloc[0] == "cpu"
    most = MOST_ELEMENTS if on_host else MOST_ELEMENTS_ON_ACCELERATOR
    modest = main[input_elements(main) <= most]
    if modest.empty:
        modest = main[input_elements(main) == input_elements(main).min()]
    return at_largest_input(main, among=modest)


def _baselines(rows: pd.DataFrame) -> Iterator[Case]:
    """Yield the baseline of each phase, unless it has a row of its own."""
    for _, of_phase in rows.groupby("phase"):
        first = of_phase.to_dict("records")[0]
        if first["baseline"] not in set(of_phase["activation"]):
            case = Case(**{name: first[name] for name in CASE_FIELDS})
            yield replace(case, activation=case.baseline, impl=REFERENCE)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"slowest:{text}: write a number of cases, as in slowest:5")
    return int(text)


def _check_is_ok(case_id: str, rows: pd.DataFrame) -> None:
    known = list(rows["case_id"])
    if case_id not in known:
        near = difflib.get_close_matches(case_id, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"one that is: {known[0]}"
        raise ValueError(f"case {case_id!r} is not in the run; {hint}")
    if not ((rows["case_id"] == case_id) & (rows["status"] == "ok")).any():
        row = rows[rows["case_id"] == case_id].iloc[-1]
        raise ValueError(f"case {case_id!r} is not ok in the run: {row['status']} {row['message']}")


def _read_own(parser: OneLineParser, path: Path, name: str | None, reports: Path) -> None:
    """Make tables and figures of a user's trace, and say where they are."""
    # As torch's own handler names it: ends alone, as other points may be a time's.
    stem = re.sub(r"(\.pt)?(\.trace)?(\.json)?(\.gz)?$", "", path.name)
    name = name or f"trace-{stem}"
    # As everywhere, what has a slash is a folder of the user's own.
    folder = Path(name) if "/" in name else reports / folder_name(name)
    if (folder / "environment.json").exists():
        parser.error(f"{folder.name} is a run that was measured; name another folder")
    try:
        trace = _own_trace(path)
    except OSError as error:
        parser.error(f"{path}: {error.strerror or error}")
    except ValueError as error:
        parser.error(f"{path}: {error}")
    # Imported on demand: nothing else here draws.
    from dynact.report.own_trace import write_own_trace

    tables = trace.tables
    try:
        written = write_own_trace(
            folder,
            path.name,
            {"kernels": tables.kernels, "timeline": tables.timeline, "memory": tables.memory},
            tables.step_ns,
            trace.on_accelerator,
            trace.is_marked,
        )
    except OSError as error:
        parser.cannot_write(error, folder)
    for line in _findings(trace):
        print(line)
    for what, paths in zip(("tables", "figures"), written, strict=True):
        names = ", ".join(one.name for one in paths)
        print(f"{what} in {os.path.relpath(paths[0].parent)}: {names}")


def _own_trace(path: Path) -> "OwnTrace":
    # Imported on demand: a mistake on the command line is answered before torch is there.
    with path.open("rb"):
        from dynact.worker.profile import own_trace

    return own_trace(path)


def _findings(trace: "OwnTrace") -> Iterator[str]:
    """Yield what a user wants to know first."""
    tables = trace.tables
    kernels = tables.kernels
    of = "kernels" if trace.on_accelerator else "operators"
    which = (
        f"medians over {tables.steps_taken} of {tables.steps} steps{_left_out(tables)}"
        if trace.is_marked
        else "in the whole trace, as it marks no steps"
    )
    parts = kernels.groupby("part")["share"].sum()
    shares = ", ".join(f"{100 * parts[part]:.0f} % {part}" for part in PARTS if part in parts)
    yield f"{format_ns(tables.step_ns)} of {of}, {which}: {shares}"
    by_operator = kernels.groupby("operator")["share"].sum().nlargest(OPERATORS_TOLD)
    for operator, share in by_operator.items():
        yield f"{100 * share:4.0f} %  {shortened(str(operator), LONGEST_TOLD)}"


def _left_out(tables: "Tables") -> str:
    """Return that steps were left out, empty where none were."""
    return f", {tables.steps_disturbed} disturbed left out" if tables.steps_disturbed else ""


def _take_the_workers_environment() -> None:
    """Start over with the memory allocator that timing had, which only a new process takes."""
    wanted = {**MEMORY_KEEPING_MALLOC, **WARNINGS, **os.environ}
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)


def _profile_each(cases: list[Case], folder: Path, steps: int) -> bool:
    """Profile and store each case, and return whether any failed."""
    # Imported on demand: a mistake on the command line is answered before torch is there.
    import torch

    from dynact.schema.limits import Ceilings
    from dynact.worker.device import open_device
    from dynact.worker.profile import profile_case, store, store_failure

    torch.set_num_threads(load_environment(folder)["threads"])
    device = open_device(cases[0].device)
    rates = load_ceilings(folder)
    ceilings = Ceilings.of(rates) if rates else None
    failed = 0
    start_s = time.perf_counter()
    for done, case in enumerate(cases, 1):
        # Deferred to the end of a case: inside the profiler an interrupt was seen to get lost.
        with interrupt_deferred():
            try:
                profiled = profile_case(case, device, steps, ceilings)
                device.release_memory()
            except Exception as error:
                failed += 1
                finding = f"not traced: {error_line(error)}"
                store_failure(folder, case, error_line(error))
            else:
                store(folder, case, profiled)
                tables = profiled.tables
                finding = (
                    f"operators {tables.operators}, step {format_ns(tables.step_ns)} traced "
                    f"(medians over {tables.steps_taken} of {tables.steps} steps"
                    f"{_left_out(tables)}), {format_ns(profiled.untraced_ns)} untraced"
                )
                if profiled.tries > 1:
                    finding += f"; disturbed, so traced {profiled.tries} times"
                finding = "; ".join([finding, *profiled.failures])
        elapsed_s = time.perf_counter() - start_s
        left = format_seconds(elapsed_s / done * (len(cases) - done))
        print(
            f"[{done / len(cases):4.0%}] {done}/{len(cases)} · {left} left · {case.id}: {finding}",
            flush=True,
        )
    if failed < len(cases):
        why = why_slow(Run(folder))
        for case in cases:
            if case.id in why:
                print(why[case.id])
        run = os.path.relpath(folder)
        print(
            f"traces are in {run}; until `python scripts/plot_overhead.py {run}` has run, figures "
            "and page there know nothing of them"
        )
    return failed > 0


if __name__ == "__main__":
    main()
