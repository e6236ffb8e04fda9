"""What pytest-benchmark's options, and xdist's, mean to a sweep: found out before it starts.

pytest-benchmark shows here what another process has measured. It reports most of what cannot work
at the end of a session, with a traceback, when the sweep is over.
"""

import os
import warnings
from argparse import ArgumentTypeError
from collections.abc import Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.logger import Logger
from pytest_benchmark.session import BenchmarkSession

from dynact.schema.cases import CASE_FIELDS, NETWORK_FIELDS, AnyCase
from dynact.schema.choice import choice

# What a benchmark shows for a parameter that it does not have.
NONE = "-"
PARAMETERS = tuple(dict.fromkeys((*CASE_FIELDS, *NETWORK_FIELDS)))
GROUPINGS = (
    *("group", "name", "func", "fullname", "fullfunc", "param"),
    *(f"param:{name}" for name in PARAMETERS),
)
# Of calls that pytest-benchmark would make itself.
TIMING_OPTIONS = (
    "benchmark_min_time", "benchmark_max_time", "benchmark_min_rounds", "benchmark_precision",
    "benchmark_confidence", "benchmark_timer", "benchmark_calibration_precision",
    "benchmark_warmup", "benchmark_warmup_iterations", "benchmark_disable_gc",
)  # fmt: skip
# Of what its table shows, and the options that have no other outcome to be seen.
TABLE_OPTIONS = (
    "benchmark_columns", "benchmark_sort", "benchmark_group_by", "benchmark_name",
    "benchmark_time_unit", "benchmark_compare", "benchmark_histogram", "benchmark_verbose",
)  # fmt: skip
CPROFILE_OPTIONS = (
    "benchmark_cprofile", "benchmark_cprofile_loops", "benchmark_cprofile_top",
    "benchmark_cprofile_dump",
)  # fmt: skip


def params_of(case: AnyCase | None) -> dict[str, Any]:
    """Return what ``--benchmark-group-by=param:NAME`` finds: all parameters, of whichever case."""
    return dict.fromkeys(PARAMETERS, NONE) | (asdict(case) if case else {})


def switched_off_by(config: pytest.Config) -> str | None:
    """Return the option that has pytest-benchmark measure nothing, if one does."""
    given = config.option
    if given.benchmark_only:
        return None
    if given.benchmark_skip:
        return "--benchmark-skip"
    if given.benchmark_disable and not given.benchmark_enable:
        return "--benchmark-disable"
    return None


class Unmeasured:
    """A session in which benchmarks are switched off: collected, skipped, and nothing opened."""

    def __init__(self, option: str, benches: Path) -> None:
        self._option = option
        self._benches = benches

    def pytest_collection_modifyitems(self, items: Iterable[pytest.Item]) -> None:
        """Skip the benchmarks."""
        for item in items:
            if item.path.parent == self._benches:
                item.add_marker(pytest.mark.skip(reason=f"{self._option}: nothing is measured"))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say so."""
        terminalreporter.write_line(f"dynact: nothing was measured, for {self._option} was given")


def check_plugins(config: pytest.Config) -> None:
    """Raise ValueError if a plugin is missing that the sweep speaks through: one line."""
    for name in ("benchmark", "terminal"):
        if not config.pluginmanager.has_plugin(name):
            raise ValueError(
                f"the sweep reports through pytest's plugin {name!r}; leave out -p no:{name}"
            )


def check_options(config: pytest.Config) -> None:
    """Find out whether a sweep can do what it is asked of pytest-benchmark and xdist.

    Raises
    ------
    ValueError
        If it cannot: one line.
    """
    given = config.option
    _check_one_process(config)
    if given.benchmark_disable and not given.benchmark_enable:
        raise ValueError(
            "--benchmark-only and --benchmark-disable exclude each other; leave one out"
        )
    for grouping in given.benchmark_group_by.split(","):
        choice("--benchmark-group-by", grouping, GROUPINGS)
    _check_unheard(config)
    if given.benchmark_histogram and not find_spec("pygal"):
        raise ValueError(
            "--benchmark-histogram needs pygal, which is not installed; install "
            "pytest-benchmark[histogram], or leave it out: scripts/plot_overhead.py draws the run"
        )
    _check_files(config)


def hide_table(config: pytest.Config) -> None:
    """Leave out pytest-benchmark's own table, unless ``-v`` or one of its options asks for it.

    It is 250 columns wide, and sets each time beside that of the fastest benchmark, whichever that
    is. What was measured is checked, saved and compared as ever.
    """
    usual = config._parser.parse_known_args([])
    # Its default may be asked for too.
    typed = {str(argument).partition("=")[0] for argument in config.invocation_params.args}
    is_asked_for = config.get_verbosity() > 0 or any(
        getattr(config.option, name) != getattr(usual, name)
        or f"--{name.replace('_', '-')}" in typed
        for name in TABLE_OPTIONS
    )
    if not is_asked_for:
        config._benchmarksession.quiet = True  # type: ignore[attr-defined]


def _check_one_process(config: pytest.Config) -> None:
    if config.getoption("dist", "no") != "no":
        raise ValueError(
            "a sweep measures in one process, for cases beside each other would disturb each "
            "other; leave out -n, -d and --dist, or add -n0"
        )
    if "PYTEST_XDIST_WORKER" in os.environ:
        raise ValueError(
            "pytest-benchmark measures nothing where PYTEST_XDIST_WORKER is set; unset it"
        )


def _check_unheard(config: pytest.Config) -> None:
    usual = config._parser.parse_known_args([])
    for names, why in (
        (
            TIMING_OPTIONS,
            "is not for a sweep: a process of its own times the cases; --precision and "
            "--max-seconds say for how long",
        ),
        (
            CPROFILE_OPTIONS,
            "would profile this process, and another one measures; "
            "scripts/profile_traces.py shows what a case runs",
        ),
    ):
        for name in names:
            if getattr(config.option, name) != getattr(usual, name):
                raise ValueError(f"--{name.replace('_', '-')} {why}")


def _check_files(config: pytest.Config) -> None:
    given = config.option
    copy = given.benchmark_json
    if copy and (copy.is_dir() or not copy.parent.is_dir()):
        raise ValueError(f"--benchmark-json names no file that can be written: {copy}")
    try:
        with warnings.catch_warnings(action="ignore"):
            session = BenchmarkSession(config)
            session.logger.level = Logger.QUIET
            session.handle_loading()
    except (ArgumentTypeError, ImportError, OSError, ValueError) as error:
        raise ValueError(f"--benchmark-storage or --benchmark-compare: {error}") from None
    if given.benchmark_compare_fail and not session.compared_mapping:
        raise ValueError(
            "--benchmark-compare-fail has nothing to compare with; name a saved run: "
            "--benchmark-compare=NUM, of those in --benchmark-storage"
        )
    folder = getattr(session.storage, "path", None)
    if (session.save or session.autosave) and folder and not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"--benchmark-storage: cannot write to {folder}")
