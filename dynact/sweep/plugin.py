"""The sweep as seen from pytest: its options, its session, its progress and its closing table."""

import re
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from dynact.schema.network_cases import network_preset
from dynact.schema.redact import without_paths
from dynact.schema.run_folder import (
    LATEST,
    NETWORK_ROWS,
    ROWS,
    SITE_ROWS,
    AnyCase,
    RunError,
    RunFolder,
    find_run,
)
from dynact.sweep.networks import NetworkPlan, Shape, plan_networks, shapes_of
from dynact.sweep.options import (
    parse_count,
    parse_number,
    parse_resolutions,
    parse_seconds,
    parse_share,
    parse_sizes,
    split_list,
)
from dynact.sweep.progress import closing_table, format_seconds, gate_lines, progress_line
from dynact.sweep.session import Bench, Sweep, plan
from dynact.sweep.worker import Settings, Worker, WorkerError

ROOT = Path(__file__).parents[2]
BENCHES = ROOT / "benches"
REPORTS = ROOT / "reports"
SECONDS_BETWEEN_LINES = 10
SWEEP = pytest.StashKey[Sweep]()
USUAL_IMAGE_SIZE = 224
"""Of ImageNet, at which papers count."""
FILES = {"case": ROWS, "site_case": SITE_ROWS, "network_case": NETWORK_ROWS}
"""Where the rows of each parameter's cases go, in the order of measuring."""
AXES = {
    # option: (field of Grid, parser, help)
    "--activations": ("activations", split_list, "names of the registry"),
    "--impls": ("impls", split_list, "formulations: reference"),
    "--phases": ("phases", split_list, "inference, training"),
    "--modes": ("modes", split_list, "eager, compile"),
    "--dtypes": ("dtypes", split_list, "float32, float16, bfloat16, float64"),
    "--memory-formats": ("memory_formats", split_list, "contiguous, channels_last"),
    "--batches": ("batches", parse_sizes, "batch sizes"),
    "--channels": ("channels", parse_sizes, "channel counts"),
    "--resolutions": ("resolutions", parse_resolutions, "56 or 56x28 (height × width)"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dynact", "dynact: the sweep of `pytest benches`")
    add = group.addoption
    add("--sweep", metavar="PRESET", default="quick",
        help="smoke, quick (default), standard or full")  # fmt: skip
    for option, (_, _, values) in AXES.items():
        add(option, metavar="LIST", help=f"comma list in place of the preset's: {values}")
    add("--shapes-from", metavar="LIST",
        help="networks: sweep exactly the shapes at which these have activations")  # fmt: skip
    add("--networks", metavar="LIST", help="measure networks with the activations in them; or none "
        "(default: the preset's, unless axes of layers or a budget are given)")  # fmt: skip
    add("--placements", metavar="LIST", help="in networks: all (default), paper, official")
    add("--image-size", metavar="N", help="of networks, in pixels "
        "(default: the preset's; 224 for --shapes-from)")  # fmt: skip
    add("--activation-from", metavar="PKG.MOD:CLASS", action="append", default=[],
        help="sweep your own layer beside ours; repeatable")  # fmt: skip
    add("--device", metavar="NAME", help="default: the accelerator if there is one, else cpu")
    add("--baseline", metavar="NAME", default="relu", help="compared with (default: relu)")
    add("--threads", metavar="N", help="torch threads on the host (default: 1 on a CPU)")
    add("--precision", metavar="SHARE", default="0.01",
        help="stop a case when its interval is within ± this share (default: 0.01)")  # fmt: skip
    add("--max-seconds", metavar="S", default="1.0",
        help="stop timing a case after this time (default: 1.0)")  # fmt: skip
    add("--budget", metavar="TIME", help="thin the sizes to end in, for example, 10m")
    add("--run", metavar="NAME", help="folder in reports/ (default: the time)")
    add("--resume", action="store_true",
        help="measure what is missing in --run (default: the latest)")  # fmt: skip
    add("--in-process", action="store_true", help="measure in pytest itself, for a debugger")


def pytest_configure(config: pytest.Config) -> None:
    if not _benches_asked_for(config):
        return
    try:
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


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
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
        option = config.option
        self._config = config
        self._started = datetime.fromtimestamp(psutil.Process().create_time())
        settings = Settings(
            device=option.device,
            threads=None if option.threads is None else parse_count(option.threads, "--threads"),
            precision=parse_share(option.precision, "--precision"),
            max_seconds=parse_number(option.max_seconds, "--max-seconds"),
        )
        axes = {
            field: parse(text, name)
            for name, (field, parse, _) in AXES.items()
            if (text := config.getoption(name)) is not None
        }
        budget_s = None if option.budget is None else parse_seconds(option.budget, "--budget")
        self.name = _run_name(option.run, option.resume, self._started)
        self._bench = _open_bench(settings, option.in_process)
        config.add_cleanup(self._bench.close)
        shapes = self._shapes(option)
        self._plan = plan(
            option.sweep,
            axes,
            self._bench.welcome,
            own_layers=tuple(option.activation_from),
            shapes=shapes,
            baseline=option.baseline,
            max_seconds=settings.max_seconds,
            budget_s=budget_s,
        )
        for case in self._plan.own_layers():
            self._bench.check(case)
        self._networks = NetworkPlan((), (), ())
        if _asked_for(config, "bench_networks.py"):
            self._networks = self._plan_networks(option, axes)
        self.run: RunFolder | None = None
        if not option.collectonly:
            self.run = RunFolder(
                REPORTS / self.name,
                resume=option.resume,
                environment=self._environment(settings),
            )
            config.add_cleanup(self.run.close)
            self._sweep = Sweep(self._bench, self.run, self._started, shapes)
            config.stash[SWEEP] = self._sweep
        self._to_measure = 0
        self._first_case_at: float | None = None
        self._last_line_at = 0.0

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for parameter, cases in (
            ("case", self._plan.cases),
            ("site_case", self._networks.sites),
            ("network_case", self._networks.cases),
        ):
            if parameter in metafunc.fixturenames:
                metafunc.parametrize(parameter, cases, ids=[case.id for case in cases])

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        done = {file: self.run.done(file) if self.run else set() for file in FILES.values()}
        measured: list[pytest.Item] = []
        left: list[pytest.Item] = []
        for item in items:
            found = _case(item)
            (measured if found and found[1].id in done[found[0]] else left).append(item)
        # The gate comes first: whoever watches learns at once whether to go on. Then what the
        # sweep is about, and networks after what explains them.
        order = [None, *FILES.values()]
        items[:] = sorted(left, key=lambda item: order.index(_file(item)))
        self._config.hook.pytest_deselected(items=measured)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        cases = [found[1] for found in map(_case, session.items) if found]
        self._to_measure = len(cases)
        about = format_seconds(self._plan.seconds(cases))
        self._write(f"dynact: {self._to_measure} cases in about {about}, run {self.name}")
        # Or pytest would name the file anew after each line of progress.
        self._reporter.showfspath = False
        for line in self._networks.left_out:
            self._write(f"dynact: {line}")
        if self._plan.too_large:
            self._write(f"dynact: {self._plan.too_large} cases left out, too large for the device")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        try:
            return (yield)
        except (RunError, WorkerError) as error:
            pytest.exit(str(error), returncode=1)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        # A line of progress says more than a dot.
        if report.when == "call" and report.passed and self._config.get_verbosity() <= 0:
            return "passed", "", ""
        return None

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self._first_case_at is None and _case(item):
            self._first_case_at = time.monotonic()

    def pytest_runtest_logfinish(self) -> None:
        done = self._sweep.measured
        now = time.monotonic()
        in_place = self._reporter.isatty
        if not done or not (in_place or now - self._last_line_at > SECONDS_BETWEEN_LINES):
            return
        self._last_line_at = now
        elapsed_s = now - (self._first_case_at or now)
        line = progress_line(done, self._to_measure, elapsed_s, self._sweep.latest)
        if in_place:
            self._reporter.rewrite(line[: shutil.get_terminal_size().columns - 1], erase=True)
        else:
            self._write(line)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        try:
            return (yield)
        except OSError as error:
            # pytest-benchmark's file is a copy; the rows and the closing table are still to be had.
            self._write(f"\ndynact: cannot write benchmark.json: {error.strerror}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self) -> None:
        if self.run is None:
            return
        self._reporter.section("dynact: time as a multiple of the baseline's")
        for line, trustworthy in gate_lines(self._sweep.gates):
            self._reporter.write_line(line, bold=True, green=trustworthy, red=not trustworthy)
        for file in (ROWS, NETWORK_ROWS):
            for line in closing_table(self._sweep.rows[file]):
                self._write(line)
        self._write(f"rows: {REPORTS.name}/{self.name}/rows.jsonl")
        missing = self._to_measure - self._sweep.measured
        if missing:
            self._write(f"{missing} cases are missing; go on with: {self._resume_command()}")

    def _shapes(self, option: Any) -> Counter[Shape] | None:
        if option.shapes_from is None:
            return None
        for name in ("channels", "resolutions"):
            if getattr(option, name) is not None:
                raise ValueError(f"--shapes-from and --{name} exclude each other; name one of them")
        return shapes_of(
            split_list(option.shapes_from, "--shapes-from"),
            parse_count(option.image_size or str(USUAL_IMAGE_SIZE), "--image-size"),
            self._bench.networks(),
            self._bench.shapes_in,
        )

    def _plan_networks(self, option: Any, axes: dict[str, Any]) -> NetworkPlan:
        of_layers_alone = {*axes} - {"activations", "phases"} or option.shapes_from
        by_default = not (of_layers_alone or option.budget)
        if not (by_default if option.networks is None else option.networks != "none"):
            idle = {"placements": option.placements, "image-size": option.image_size}
            if option.shapes_from:
                del idle["image-size"]
            for name, value in idle.items():
                if value is not None:
                    raise ValueError(f"--{name} is of networks, and none is measured; name some")
            return NetworkPlan((), (), ())
        for name in ("impls", "modes", "memory_formats", "budget"):
            if getattr(option, name) is not None:
                raise ValueError(
                    f"networks take no --{name.replace('_', '-')}; leave it out, or add "
                    "--networks none"
                )
        welcome = self._bench.welcome
        grid = network_preset(option.sweep, welcome.device != "cpu")
        shared = ("phases", "dtypes", "batches")
        asked: dict[str, Any] = {name: axes[name] for name in shared if name in axes}
        if option.networks is not None:
            asked["networks"] = split_list(option.networks, "--networks")
        if option.placements is not None:
            asked["placements"] = split_list(option.placements, "--placements")
        if option.image_size is not None:
            asked["image_size"] = parse_count(option.image_size, "--image-size")
        activations = axes.get("activations", grid.activations) + tuple(option.activation_from)
        return plan_networks(
            replace(grid, activations=activations, **asked),
            self._bench.networks(),
            welcome.device,
            self._bench.sites,
        )

    @property
    def _reporter(self) -> pytest.TerminalReporter:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(reporter, pytest.TerminalReporter)
        return reporter

    def _write(self, line: str) -> None:
        self._reporter.write_line(line)

    def _environment(self, settings: Settings) -> dict[str, Any]:
        return {
            "started": self._started.isoformat(timespec="seconds"),
            "command": ["pytest", *map(without_paths, self._config.invocation_params.args)],
            "settings": {"precision": settings.precision, "max_seconds": settings.max_seconds},
            **self._bench.welcome.environment,
        }

    def _resume_command(self) -> str:
        arguments = iter(map(str, self._config.invocation_params.args))
        again = []
        for argument in arguments:
            if argument == "--run":
                next(arguments)
            elif argument != "--resume" and not argument.startswith("--run="):
                again.append(argument)
        python = Path(sys.executable)
        if python.is_relative_to(ROOT):
            python = python.relative_to(ROOT)
        command = [str(python), "-m", "pytest", *again, "--run", self.name, "--resume"]
        return shlex.join(command)


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


def _run_name(name: str | None, resume: bool, started: datetime) -> str:
    if name is None:
        return find_run(None, REPORTS).resolve().name if resume else f"{started:%Y-%m-%dT%H-%M-%S}"
    if not re.fullmatch(r"\w[\w.-]*", name) or name == LATEST:
        raise ValueError(f"--run takes a name of letters, digits, '.', '_' and '-', got {name!r}")
    return name


def _open_bench(settings: Settings, in_process: bool) -> Bench:
    if in_process:
        # Only here: it imports torch, which the parent of a worker does without.
        from dynact.worker.serve import InProcess

        return InProcess(settings)
    return Worker(settings)


def _case(item: pytest.Item) -> tuple[str, AnyCase] | None:
    """Return the file that a benchmark's row goes to, and its case."""
    callspec = getattr(item, "callspec", None)
    for parameter, file in FILES.items():
        case = callspec.params.get(parameter) if callspec else None
        if isinstance(case, AnyCase):
            return file, case
    return None


def _file(item: pytest.Item) -> str | None:
    found = _case(item)
    return found[0] if found else None
