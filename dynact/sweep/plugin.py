"""The sweep as seen from pytest: its session, its progress and its closing table."""

import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any

import psutil
import pytest
from pytest_benchmark.session import PerformanceRegression

from dynact.schema.cases import CASE_TYPES, PHASES, AnyCase, Case, KnownPair, NetworkCase, SiteCase
from dynact.schema.duration import format_seconds, rounded_up
from dynact.schema.messages import Request
from dynact.schema.redact import without_paths
from dynact.schema.rows import Measured, NetworkRow, Row
from dynact.schema.run_folder import RunError, RunFolder, check_run, find_run
from dynact.schema.settings import Settings
from dynact.schema.visits import LEAST_VISITS
from dynact.sweep.answer import answer_of_layers, answer_of_networks
from dynact.sweep.budget import MARGIN, Budget
from dynact.sweep.distrust import distrust
from dynact.sweep.known_pairs import known_pairs
from dynact.sweep.networks import NetworkPlan, Shape, own_networks, plan_networks, shapes_of
from dynact.sweep.options import (
    SHARED_AXES,
    NetworkOptions,
    SweepOptions,
    add_options,
    is_path,
    read_options,
)
from dynact.sweep.plan import Plan, kind, left_out, own_layers, plan
from dynact.sweep.presets import network_preset
from dynact.sweep.progress import Progress, closing_table, gate_line, visit_line
from dynact.sweep.pytest_benchmark import (
    Unmeasured,
    check_options,
    check_plugins,
    hide_table,
    switched_off_by,
)
from dynact.sweep.session import PASSES_A_PROCESS, Bench, Sweep, ask_or_raise, may_renew
from dynact.sweep.within import Within
from dynact.sweep.worker import Worker, WorkerError

ROOT = Path(__file__).parents[2]
BENCHES = ROOT / "benches"
REPORTS = ROOT / "reports"
DRAWING = ROOT / "scripts" / "plot_overhead.py"
TRACING = ROOT / "scripts" / "profile_traces.py"
GATE = "bench_gate"
SECONDS_BETWEEN_LINES = 10
SECONDS_IN_PLACE = 0.5
# Of the full preset, which asks for weeks: what it has if nothing else is said.
NIGHT_S = 10 * 3600.0
# To report and draw a run and, of each case, what that adds: measured on a CPU with 58 and with
# 4,000 cases.
ENDING_S = 15.0
ENDING_A_CASE_S = 0.01
# To measure what the device can do, once a run: measured on a CPU.
CEILINGS_S = 15.0
SWEEP = pytest.StashKey[Sweep]()
# What stands for the cases of a benchmark that has none.
NO_CASE = object()
# The parameter of a benchmark by the table of its cases.
PARAMETERS = {
    Case.table: "case",
    SiteCase.table: "site_case",
    NetworkCase.table: "network_case",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser.getgroup("dynact", "dynact: the sweep of `pytest benches`").addoption)


def pytest_configure(config: pytest.Config) -> None:
    if not _benches_asked_for(config):
        return
    try:
        check_plugins(config)
        if off := switched_off_by(config):
            config.pluginmanager.register(Unmeasured(off, BENCHES))
            return
        check_options(config)
        plugin = SweepPlugin(config)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(plugin)
    if config.option.benchmark_json is None and plugin.run:
        config.option.benchmark_json = str(plugin.run.folder / "benchmark.json")


@pytest.fixture(scope="session")
def sweep(pytestconfig: pytest.Config) -> Sweep:
    """Return the session's sweep."""
    return pytestconfig.stash[SWEEP]


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    # People publish these files: the host's name stays out.
    del machine_info["node"]
    # The clock at this moment: --benchmark-compare would find another machine each time.
    for name in ("hz_actual", "hz_actual_friendly"):
        machine_info["cpu"].pop(name, None)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    if config.option.benchmark_save_data:
        return
    for benchmark in output_json["benchmarks"]:
        benchmark["stats"].pop("data", None)


class SweepPlugin:
    """One session of the sweep.

    Raises
    ------
    ValueError
        If it cannot be done as asked; nothing has been measured or written then.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = datetime.fromtimestamp(psutil.Process().create_time())
        # Starting up counts.
        self._started_s = time.monotonic() - (datetime.now() - self._started).total_seconds()
        # All that can be told without the device comes before it is opened, which takes seconds.
        options = read_options(config.option)
        self.name = _run_name(options, self._started)
        self._folder = Path(self.name).resolve() if is_path(self.name) else REPORTS / self.name
        if not config.option.collectonly:
            check_run(self._folder, options.resume)
            if is_path(self.name) and _holds_other_files(self._folder):
                raise ValueError(
                    f"{self.name} is a folder of other files; name a new folder for --run"
                )
        opening_s = time.monotonic()
        self._bench = _open_bench(options.settings, options.in_process)
        self._opening_s = time.monotonic() - opening_s
        config.add_cleanup(self._bench.close)
        shapes = self._shapes(options)
        self._plan = Plan((), options.settings.max_seconds, too_large=0)
        if options.layers:
            self._plan = plan(
                options.preset,
                options.axes,
                self._bench.info,
                own_layers=options.own_layers,
                own_impls=options.own_impls,
                shapes=options.shapes or shapes,
                baseline=options.baseline,
                settings=options.settings,
            )
        self._check(self._plan.cases)
        self._networks = NetworkPlan()
        # How long each takes to be made with another activation.
        self._making_s: dict[str, float] = {}
        # Of the user's own networks and what they take.
        self._structures: dict[str, dict[str, str]] = {}
        if options.networks and _asked_for(config, "bench_networks.py"):
            self._networks = self._plan_networks(options, options.networks)
        if not options.layers:
            self._check(self._networks.sites)
        self._cases: dict[str, tuple[AnyCase, ...]] = {
            Case.table: self._plan.cases,
            SiteCase.table: self._networks.sites,
            NetworkCase.table: self._networks.cases,
        }
        self.run: RunFolder | None = None
        if not config.option.collectonly:
            self.run = RunFolder(
                self._folder,
                resume=options.resume,
                is_among_reports=self._folder.parent.resolve() == REPORTS.resolve(),
                environment=self._environment(options.settings),
                networks=self._structures,
            )
            config.add_cleanup(self.run.close)
            self._sweep = Sweep(self._bench, self.run, options.settings, self._started, shapes)
            config.stash[SWEEP] = self._sweep
        self._settings = options.settings
        self._budget_s = options.budget_s
        self._at_most = ["--at-most", f"{options.at_most:g}x"] if options.at_most else []
        self._is_a_night = options.budget_s is None and options.preset == "full"
        if self._is_a_night:
            self._budget_s = NIGHT_S
        self._known_pairs: list[KnownPair] = []
        self._asked_for: list[AnyCase] = []
        self._within: Within | None = None
        if self.run and options.within:
            self._within = Within(options.within, self.run, self._networks.everywhere)
        self._selected: list[AnyCase] = []
        # Of those, how many are finished.
        self._finished = 0
        self._visits_made = 0
        # Whether all was visited that there was time for.
        self._is_through = False
        # Networks that keep the budget, as far as they are known before anything is visited.
        self._followed: list[AnyCase] = []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for table, parameter in PARAMETERS.items():
            if parameter not in metafunc.fixturenames:
                continue
            if cases := self._cases[table]:
                metafunc.parametrize(parameter, cases, ids=[case.id for case in cases])
            else:
                nothing = pytest.mark.skip(reason=self._why_nothing(table))
                metafunc.parametrize(parameter, [pytest.param(NO_CASE, marks=nothing, id="none")])

    def _why_nothing(self, table: str) -> str:
        """Return why there are no cases of a table, for who asks for its benchmark alone."""
        if table == Case.table:
            return "no layers to measure: --sweep, or an axis such as --channels, asks for some"
        if self._networks.left_out:
            return f"no networks to measure: {'; '.join(self._networks.left_out)}"
        return "no networks to measure: --networks or --network-from asks for some"

    @pytest.hookimpl(trylast=True)  # after -k
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        order = [None, *CASE_TYPES]
        items.sort(key=lambda item: order.index(_table(item)))
        # Of which there is no case is of no interest beside others.
        items[:] = [item for item in items if not _is_without_case(item)] or items
        if self.run is None:
            return
        cases = [case for case in map(_case, items) if case]
        to_do = {(case.table, case.id) for case in self._sweep.to_do(cases)}
        self._selected = cases
        self._finished = len(cases) - len(to_do)
        if self._within:
            of_networks = {SiteCase.table, NetworkCase.table}
            settled = not any(table in of_networks for table, _ in to_do)
            self._followed = (
                self._within.follow(cases, self._sweep.row)
                if settled
                else self._within.known(cases)
            )
        # Where nothing is to be told any more, nobody asks what can be told.
        nothing = bool(cases) and not to_do and not self._sweep.to_do(self._followed)
        left: list[pytest.Item] = []
        done: list[pytest.Item] = []
        for item in items:
            case = _case(item)
            is_done = (case.table, case.id) not in to_do if case else nothing
            (done if is_done else left).append(item)
        self._config.hook.pytest_deselected(items=done)
        items[:] = left

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        cases = [case for case in map(_case, session.items) if case]
        if self.run:
            cases += self._sweep.to_do(self._followed)
        if any(item.name == GATE for item in session.items):
            phases = [phase for phase in PHASES if any(case.phase == phase for case in cases)]
            self._known_pairs = known_pairs(phases or PHASES, self._bench.info)
        self._asked_for = [*self._known_pairs, *cases]
        self._check_budget()
        needed_s = self._plan.seconds(self._asked_for) + self._renewing_s()
        name = self._bench.info.environment["device"]["name"]
        caches = ", its caches emptied before each call" if self._settings.cache == "cold" else ""
        self._write(f"dynact: measuring {name}{caches}")
        if self._bench.info.notice:
            self._write(f"dynact: {self._bench.info.notice}")
        self._write(
            f"dynact: {len(cases)} cases in {self._settings.passes} passes, about "
            f"{format_seconds(needed_s)}, run {self.name}"
        )
        if self._finished and not self._asked_for:
            self._write(f"dynact: nothing is left to do: all {self._finished} cases are finished")
        elif self._budget_s is not None:
            self._write_what_it_has_time_for(needed_s, cases)
        if self._within and (more := self._within.count(cases)):
            about = format_seconds(more * self._plan.seconds(self._networks.cases[:1]))
            self._write(f"dynact: then what keeps the budget, up to {more} cases, about {about}")
        self._write_what_stays()
        # Or pytest would name the file anew after each line of progress.
        self._reporter.showfspath = False
        for line in self._networks.left_out:
            self._write(f"dynact: {line}")
        if self._plan.too_large:
            count = self._plan.too_large
            self._write(f"dynact: {count} cases left out, too large for the device's free memory")

    def _check_budget(self) -> None:
        """Refuse a time in which what is left to do could not even be timed, on any device."""
        if self.run is None or self._budget_s is None or not self._asked_for:
            return
        first = self._plan.first(self._asked_for)
        starting_s = time.monotonic() - self._started_s
        ceilings_s = CEILINGS_S if self._sweep.needs_ceilings(first) else 0.0
        timing_s = max(self._sweep.least_timing_s(first), self._settings.visit_s)
        before_s, after_s = starting_s + ceilings_s, timing_s + ENDING_S
        if before_s + after_s <= self._budget_s:
            return
        parts = [f"starting took {format_seconds(starting_s)}"]
        if ceilings_s:
            parts.append(f"measuring what the device can do takes about {ceilings_s:.0f} s")
        many = f"{len(first)} case{'s' * (len(first) != 1)}"
        what = f"the ends of every axis, {many}," if len(first) < len(self._asked_for) else many
        parts.append(f"timing {what} takes {format_seconds(ceil(timing_s))}")
        given, enough = self._config.option.budget, rounded_up(MARGIN * before_s + after_s)
        fewer = ", or name fewer activations, phases or sizes" if len(first) > 1 else ""
        # Nothing has been measured: it is as if it had not begun.
        self.run.close()
        self.run = None
        raise pytest.UsageError(
            f"--budget {given} is too short: {', '.join(parts)}, and {ENDING_S:.0f} s are kept for "
            f"drawing; give {enough} or more{fewer}"
        )

    def _write_what_it_has_time_for(self, needed_s: float, cases: Sequence[AnyCase]) -> None:
        """Say before anything is measured what a limited time is likely to leave out."""
        assert self._budget_s is not None
        ends_in = f"dynact: it ends in {format_seconds(self._budget_s)}"
        if self._is_a_night:
            ends_in += ", a night (--budget TIME takes as long as you say, and has networks if "
            ends_in += "--networks names some)"
        asked = set(cases)
        layers = [case for case in self._plan.cases if case in asked]
        others_s = needed_s - self._plan.seconds(layers)
        foreseen = self._plan.foreseen(self._budget_s - others_s, layers)
        lacking = left_out(layers, foreseen)
        if lacking and not foreseen:
            self._write(
                f"{ends_in}: by an estimate that is often too long, there may be no time for all "
                f"{len(layers)} cases"
            )
        elif lacking:
            self._write(
                f"{ends_in}: time for about {len(foreseen)} of {len(layers)} cases, by an estimate "
                f"that is often too long; without {lacking}, which are added as far as time is left"
            )
        else:
            self._write(f"{ends_in} or less")

    def _renewing_s(self) -> float:
        """Return how long further processes take to start, and to make networks anew."""
        if not self._asked_for or not may_renew(self._asked_for):
            return 0.0
        making_s = sum(
            self._making_s.get(case.network, 0.0)
            for case in self._asked_for
            if isinstance(case, NetworkCase)
        )
        further = ceil(self._settings.passes / PASSES_A_PROCESS) - 1
        return further * (self._opening_s + making_s)

    def _check(self, cases: Iterable[Case]) -> None:
        """Try each of the user's own layers once."""
        for case in own_layers(cases):
            ask_or_raise(self._bench, Request("check", case))

    def _write_what_stays(self) -> None:
        asked = [case for cases in self._cases.values() for case in cases] + self._followed
        if self.run and (others := self._sweep.stored_beside(asked)):
            self._write(
                f"dynact: {others} other cases of run {self.name} stay as they are: these options "
                "do not ask for them"
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        asked = self._config.option
        failed = session.testsfailed and not asked.continue_on_collection_errors
        if self.run is None or failed or asked.setupplan or asked.setuponly:
            return (yield)
        interrupted = None
        try:
            self._make_passes(self._asked_for, self._budget())
            if self._within:
                followed = self._within.follow(self._selected, self._sweep.row)
                more = [case for case in followed if case not in self._followed]
                self._asked_for += more
                self._make_passes(more, self._budget(), "keeping the budget, ")
            self._is_through = True
        except (RunError, WorkerError) as error:
            pytest.exit(str(error), returncode=1)
        except KeyboardInterrupt as interrupt:
            # What has been visited by now is a sweep too, and is reported as one.
            interrupted = interrupt
        if interrupted or self._budget_s is not None:
            self._deselect_what_was_not_visited(session.items)
        reported = yield
        if interrupted:
            raise interrupted
        return reported

    def _deselect_what_was_not_visited(self, items: list[pytest.Item]) -> None:
        visited = [
            bool(self._sweep.row(case) if (case := _case(item)) else self._sweep.gate)
            for item in items
        ]
        left_out = [item for item, is_there in zip(items, visited, strict=True) if not is_there]
        self._config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item, is_there in zip(items, visited, strict=True) if is_there]

    def _budget(self) -> Budget[AnyCase] | None:
        if self._budget_s is None:
            return None
        return Budget(
            self._left_s,
            self._plan.steps,
            self._plan.ends,
            is_spent=not self._is_a_night,
            ending_s=ENDING_A_CASE_S,
        )

    def _left_s(self) -> float:
        assert self._budget_s is not None
        return self._started_s + self._budget_s - ENDING_S - time.monotonic()

    def _make_passes(
        self, cases: Sequence[AnyCase], budget: Budget[AnyCase] | None = None, what: str = ""
    ) -> None:
        passes = self._sweep.passes(cases, self._opening_s, budget)
        every_s = SECONDS_IN_PLACE if self._reporter.isatty else SECONDS_BETWEEN_LINES

        def show(line: str) -> None:
            self._show(what + line)

        progress = Progress(
            self._settings.passes,
            show,
            every_s,
            passes.seconds_after,
            passes.left_in_time_s,
        )
        begun = 0
        try:
            self._sweep.measure_ceilings(cases)
            for number, due in passes:
                # In a limited time the first comes in pieces.
                if number != begun:
                    if begun:
                        self._sweep.store_rows(cases)
                    self._sweep.begin_pass(visited.case for visited in due)
                begun = number
                progress.begin_pass(
                    number,
                    [kind(visited.case) for visited in due],
                    passes.expected_of_pass_s(due),
                    passes.half_width(),
                )
                for visited in due:
                    if passes.has_time_for(visited):
                        self._sweep.visit(visited, number)
                        self._visits_made += 1
                        progress.visited(visit_line(visited.visits[-1]))
        finally:
            self._sweep.store_rows(cases)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        # A line of progress says more than a dot.
        if report.when == "call" and report.passed and self._config.get_verbosity() <= 0:
            return "passed", "", ""
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        if self._found_no_time():
            session.exitstatus = session.exitstatus or pytest.ExitCode.NO_TESTS_COLLECTED
        try:
            return (yield)
        except OSError as error:
            # pytest-benchmark's file is a copy; the rows and the closing table are still to be had.
            file = Path(error.filename or "benchmark.json").name
            self._write(f"\ndynact: cannot write {file}: {error.strerror}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_terminal_summary(self) -> Iterator[None]:
        hide_table(self._config)
        try:
            return (yield)
        except (PerformanceRegression, OSError):
            # pytest-benchmark has said of what; it costs the rows and the closing table nothing.
            session = self._config.pluginmanager.get_plugin("session")
            assert isinstance(session, pytest.Session)
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
        finally:
            self._write_summary()

    def _write_summary(self) -> None:
        if self.run is None:
            return
        if self._budget_s is not None and self._found_no_time():
            self._write(f"dynact: {format_seconds(self._budget_s)} were too short for any visit")
        if self.run.is_empty:
            self._write(f"dynact: nothing was measured, so there is no run {self.name}")
            return
        whose = "the device's time" if self._settings.clock == "device" else "time"
        self._reporter.section(f"dynact: {whose} as a multiple of the baseline's")
        asked = [*dict.fromkeys([*self._selected, *self._asked_for])]
        cases = [case for case in asked if not isinstance(case, KnownPair)]
        rows = {case: row for case in cases if (row := self._sweep.row(case))}
        # Sites are there to explain their networks, not to be read one by one.
        layers = [row for row in rows.values() if row.case.table == Case.table]
        networks = [row for row in rows.values() if row.case.table == NetworkCase.table]
        if self._config.get_verbosity() > 0:
            self._write_lines(closing_table(layers))
            self._write_lines(closing_table(networks))
        self._write_lines(answer_of_layers([row for row in layers if isinstance(row, Row)]))
        self._write_lines(
            answer_of_networks([row for row in networks if isinstance(row, NetworkRow)])
        )
        if self._within:
            self._write_lines(self._within.lines(self._selected, self._sweep.row))
        line, trustworthy = gate_line(self._sweep.gate)
        self._reporter.write_line(line, bold=True, green=trustworthy, red=not trustworthy)
        visits = {case: self._sweep.visits(case) for case in rows}
        self._write_lines(distrust([*rows.values()], visits, self._settings.precision))
        # What was ended says nothing of the time it had.
        if self._budget_s is not None and self._is_through:
            to_measure = [case for case in self._asked_for if not isinstance(case, KnownPair)]
            self._write_what_was_left_out(to_measure, self._sweep.to_do(to_measure))
        self._write_what_to_do_next(cases, [row for row in rows.values() if row.status == "ok"])

    def _write_what_to_do_next(self, cases: Sequence[AnyCase], ok: Sequence[Measured]) -> None:
        table = Case.table if self._plan.cases else NetworkCase.table
        self._write(f"rows: {_from_here(self._folder / table)}")
        self._write(f"figures and page: {self._script(DRAWING, *self._at_most)}")
        if any(row.case.table == Case.table for row in ok):
            self._write(f"where the time goes: {self._script(TRACING)}")
        if left := self._sweep.to_do(cases):
            self._write(
                f"{len(left)} cases are to be visited further; go on with: {self._resume_command()}"
            )
        elif not all(row.converged for row in ok):
            passes = 2 * self._settings.passes
            self._write(f"narrower intervals: {self._resume_command(passes)}")

    def _script(self, script: Path, *options: str) -> str:
        python_and_script = map(_from_here, (Path(sys.executable), script))
        return shlex.join([*python_and_script, self.name, *options])

    def _found_no_time(self) -> bool:
        """Return whether not one visit was made of those that were to be made."""
        is_idle = self._is_through and not self._visits_made
        return is_idle and bool(self._sweep.to_do(self._asked_for))

    def _write_what_was_left_out(self, cases: Sequence[AnyCase], left: Sequence[AnyCase]) -> None:
        assert self._budget_s is not None
        rows = {case: row for case in cases if (row := self._sweep.row(case))}
        asked = set(cases)
        layers = [case for case in self._plan.cases if case in asked]
        if lacking := left_out(layers, [case for case in layers if case in rows]):
            ends = {case for step in self._plan.steps[: self._plan.ends] for case in step}
            even = "even the ends of every axis" if ends.intersection(layers) - {*rows} else "all"
            self._write(
                f"{format_seconds(self._budget_s)} were too short for {even}: "
                f"{len(set(layers) - {*rows})} of {len(layers)} cases left out, {lacking}"
            )
        least = min(LEAST_VISITS, self._settings.passes)
        # Those that failed have what they are to have.
        if few := sum(case in rows and (rows[case].visits or 0) < least for case in left):
            self._write(f"{few} cases have fewer than {least} visits")
        ok = [row for row in rows.values() if row.status == "ok"]
        if ok and not left:
            took = format_seconds(time.monotonic() - self._started_s)
            are = "are narrow" if all(row.converged for row in ok) else "have all their visits"
            failed = " that did not fail" if len(ok) < len(cases) else ""
            self._write(f"all {len(ok)} cases{failed} {are} after {took}")

    def _shapes(self, options: SweepOptions) -> Counter[Shape] | None:
        if options.shapes_from is None:
            return None

        def shapes_in(network: str, image_size: int, sample: str) -> dict[Shape, int]:
            arguments = {"name": network, "image_size": image_size, "sample": sample}
            asked = Request("shapes", arguments=arguments)
            found = ask_or_raise(self._bench, asked).figures["shapes"]
            return {(channels, height, width): count for channels, height, width, count in found}

        return shapes_of(
            options.shapes_from, options.shapes_image_size, shapes_in, options.shapes_sample
        )

    def _plan_networks(self, options: SweepOptions, asked: NetworkOptions) -> NetworkPlan:
        info = self._bench.info
        grid = network_preset(options.preset, info.is_accelerator)
        own: dict[str, Any] = {
            name: options.axes[name] for name in SHARED_AXES if name in options.axes
        } | {name: value for name, value in vars(asked).items() if value is not None}
        grid = replace(grid, **own)
        grid = replace(
            grid,
            activations=grid.activations + options.own_layers,
            own_impls=options.own_impls,
        )

        failed: dict[tuple[str, str], str] = {}
        for case in own_networks(grid, info.device):
            try:
                found = ask_or_raise(self._bench, Request("check", case)).figures
            except WorkerError as error:
                # A loss that is not there is a slip, and no limit of the network.
                if case.loss and str(error).startswith(f"{case.loss}: "):
                    raise
                failed[case.network, case.phase] = str(error)
            else:
                self._structures[f"{case.network} on {case.taken}"] = found["structure"]

        def sites(case: NetworkCase) -> list[dict[str, Any]]:
            asked_s = time.monotonic()
            found: list[dict[str, Any]] = ask_or_raise(self._bench, Request("sites", case)).figures[
                "sites"
            ]
            self._making_s[case.network] = time.monotonic() - asked_s
            return found

        return plan_networks(grid, info.device, sites, failed)

    @property
    def _reporter(self) -> pytest.TerminalReporter:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(reporter, pytest.TerminalReporter)
        return reporter

    def _write(self, line: str) -> None:
        self._reporter.write_line(line)

    def _write_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._write(line)

    def _show(self, line: str) -> None:
        """Show a line of progress: in place of the last one, where that can be done."""
        if self._reporter.isatty:
            self._reporter.rewrite(line[: shutil.get_terminal_size().columns - 1], erase=True)
        else:
            self._write(line)

    def _environment(self, settings: Settings) -> dict[str, Any]:
        # The bench's environment says which device, threads and caches were taken.
        left_out = {"device", "threads", "cache"}
        if not self._bench.info.is_accelerator:
            left_out.add("clock")
        return {
            "started": self._started.isoformat(timespec="seconds"),
            "command": ["pytest", *map(without_paths, self._config.invocation_params.args)],
            "settings": {
                name: value for name, value in asdict(settings).items() if name not in left_out
            },
            **self._bench.info.environment,
        }

    def _resume_command(self, passes: int | None = None) -> str:
        """Return what goes on with the run, with another number of passes if one is given."""
        said_anew = ["--run", *(["--passes"] if passes else [])]
        arguments = iter(map(str, self._config.invocation_params.args))
        again = []
        for argument in arguments:
            name, has_value, _ = argument.partition("=")
            if name in said_anew:
                if not has_value:
                    next(arguments)
            elif argument != "--resume":
                again.append(argument)
        command = [
            _from_here(Path(sys.executable)),
            "-m",
            "pytest",
            *again,
            *(["--passes", str(passes)] if passes else []),
            "--run",
            self.name,
            "--resume",
        ]
        return shlex.join(command)


def _holds_other_files(folder: Path) -> bool:
    """Whether a folder is none that a run made, nor an empty one."""
    if not folder.is_dir() or (folder / "environment.json").is_file():
        return False
    return any(not path.name.startswith(".") for path in folder.iterdir())


def _from_here(path: Path) -> str:
    """Return a path as it is called in the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _benches_asked_for(config: pytest.Config) -> bool:
    if any(config.getoption(name) for name in ("help", "version", "markers", "showfixtures")):
        return False
    return any(_asked_for(config, path.name) for path in BENCHES.glob("bench_*.py"))


def _asked_for(config: pytest.Config, file: str) -> bool:
    return any(
        (BENCHES / file).is_relative_to(
            (config.invocation_params.dir / argument.split("::")[0]).resolve()
        )
        for argument in config.args
    )


def _run_name(options: SweepOptions, started: datetime) -> str:
    if options.run is not None:
        return options.run
    if options.resume:
        return find_run(None, REPORTS).resolve().name
    return f"{started:%Y-%m-%dT%H-%M-%S}"


def _open_bench(settings: Settings, in_process: bool) -> Bench:
    if in_process:
        # Only here: it imports torch, which the parent of a worker does without.
        from dynact.worker.serve import InProcess

        return InProcess(settings)
    return Worker(settings)


def _case(item: pytest.Item) -> AnyCase | None:
    callspec = getattr(item, "callspec", None)
    given = callspec.params if callspec else {}
    cases = (given.get(parameter) for parameter in PARAMETERS.values())
    return next((case for case in cases if isinstance(case, AnyCase)), None)


def _is_without_case(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and any(value is NO_CASE for value in callspec.params.values())


def _table(item: pytest.Item) -> str | None:
    case = _case(item)
    return case.table if case else None
