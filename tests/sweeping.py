"""Cases and rows to test with, and a copy of the suite to sweep in from a real command line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from dynact.schema.cases import (
    DTYPES,
    MEMORY_FORMATS,
    MODES,
    PHASES,
    Case,
    NetworkCase,
    SiteCase,
)
from dynact.schema.placement import PLACEMENTS, sites_placement
from dynact.schema.rows import STATUSES, Row

ROOT = Path(__file__).parents[1]
# A small sweep with short cases. Of a few passes: every second begins with seconds of imports, in
# a process of its own.
BRIEF = ("--sweep", "smoke", "--max-seconds", "0.02", "--passes", "6")
SHORT = (*BRIEF, "--resolutions", "7")
NO_GATE = ("-k", "bench_activation")

WORDS = st.from_regex(r"[a-z]\w{0,8}", fullmatch=True)
NAMES = st.one_of(WORDS, st.builds("{}.{}:{}".format, WORDS, WORDS, WORDS))
SIZES = st.integers(1, 2048)
DEVICES = st.sampled_from(("cpu", "cuda", "cuda:1", "xpu"))
OF_LAYERS: dict[str, Any] = {
    "activation": NAMES,
    "impl": st.one_of(st.just("reference"), WORDS),
    "phase": st.sampled_from(PHASES),
    "mode": st.sampled_from(MODES),
    "dtype": st.sampled_from(DTYPES),
    "memory_format": st.sampled_from(MEMORY_FORMATS),
    "batch": SIZES,
    "channels": SIZES,
    "height": SIZES,
    "width": SIZES,
    "device": DEVICES,
    "baseline": st.one_of(st.just("relu"), WORDS),
}
CASES = st.builds(Case, **OF_LAYERS)
SITE_CASES = st.builds(SiteCase, **OF_LAYERS)


def _sampled(sample: str, **values: Any) -> NetworkCase:
    return NetworkCase(**values | {"sample": sample} | ({"image_size": 0} if sample else {}))


NETWORK_CASES = st.builds(
    _sampled,
    sample=st.one_of(st.just(""), st.from_regex(r"[1-9]x[1-9]x[1-9]", fullmatch=True), NAMES),
    loss=st.one_of(st.just(""), NAMES),
    replaced=st.one_of(st.just(""), WORDS, st.builds("{}+{}".format, WORDS, WORDS)),
    network=st.one_of(NAMES, st.builds("{}:{}(a={})".format, WORDS, WORDS, st.integers())),
    activation=NAMES,
    placement=st.one_of(
        st.sampled_from(PLACEMENTS), st.builds(sites_placement, st.sets(SIZES, min_size=1))
    ),
    phase=st.sampled_from(PHASES),
    dtype=st.sampled_from(DTYPES),
    batch=SIZES,
    image_size=SIZES,
    device=DEVICES,
)
FIGURES = st.floats(1e-3, 1e12)
MESSAGES = st.text(st.characters(), max_size=40)
ROWS = st.one_of(
    st.builds(
        Row,
        case=CASES,
        status=st.just("ok"),
        **dict.fromkeys(
            (
                "time_ns", "time_p20_ns", "time_p80_ns", "baseline_time_ns", "overhead",
                "overhead_lo", "overhead_hi", "timing_s", "case_s", "elapsed_s",
                "bandwidth_bytes_per_s", "peak_flops_per_s", "floor_time_ns", "counting_s",
            ),
            FIGURES,
        ),
        **dict.fromkeys(
            (
                "parameters", "parameters_normalisation", "buffers", "flops", "baseline_flops",
                "flops_fvcore_default", "traffic_floor_bytes", "traffic_eager_bytes",
                "operator_calls", "baseline_traffic_eager_bytes", "saved_for_backward_bytes",
                "saved_input_bytes", "saved_output_bytes", "baseline_saved_for_backward_bytes",
                "peak_bytes", "baseline_peak_bytes",
            ),
            st.integers(0, 2**50),
        ),
        flops_by_operator=st.sampled_from(({}, {"conv": 9, "maximum": 1})),
        uncounted_ops=st.sampled_from(([], ["aten::cumsum", "aten::sort"])),
        data_dependent=st.booleans(),
        peak_source=st.sampled_from(("tracker", "allocator")),
        pairs=st.integers(1, 10**6),
        converged=st.booleans(),
        speed_drift=st.floats(0.5, 2),
        cache=st.sampled_from(("warm", "cold")),
        clock=st.sampled_from(("wall", "events")),
        session=st.just("2026-03-01T10:00:00"),
    ),
    st.builds(Row, case=CASES, status=st.sampled_from(STATUSES[1:]), message=MESSAGES),
)  # fmt: skip


def case_of(activation: str = "prelu", /, **changes: Any) -> Case:
    """Return a usual, small case."""
    values: dict[str, Any] = {
        "impl": "reference", "phase": "inference", "mode": "eager", "dtype": "float32",
        "memory_format": "contiguous", "batch": 2, "channels": 8, "height": 7, "width": 7,
        "device": "cpu", "baseline": "relu",
    }  # fmt: skip
    return Case(activation, **values | changes)


def site_of(activation: str = "prelu", /, **changes: Any) -> SiteCase:
    """Return a usual, small case of a layer in a network."""
    return SiteCase(**asdict(case_of(activation, **changes)))


def network_case_of(activation: str = "frelu", /, **changes: Any) -> NetworkCase:
    """Return a usual case of the smallest network."""
    values: dict[str, Any] = {
        "network": "lenet", "placement": "all", "phase": "inference", "dtype": "float32",
        "batch": 2, "image_size": 32, "device": "cpu",
    }  # fmt: skip
    return NetworkCase(activation=activation, **values | changes)


def ok_row(case: Case, overhead: float = 2.0, **changes: Any) -> Row:
    """Return a measured row whose baseline takes 1 µs."""
    figures: dict[str, Any] = {
        "time_ns": 1e3 * overhead, "time_p20_ns": 900.0 * overhead, "time_p80_ns": 1.1e3 * overhead,
        "baseline_time_ns": 1e3, "overhead": overhead, "overhead_lo": overhead * 0.99,
        "overhead_hi": overhead * 1.01, "pairs": 40, "converged": True,
    }  # fmt: skip
    return Row(case, "ok", **figures | changes)


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    returncode: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        return self.output + self.errors


class House:
    """A copy of the suite, so that its reports, and changes to the original, stay apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports = folder / "reports"
        self.environment: dict[str, str] = {}
        """What its commands find in theirs beside this process's own."""
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("dynact", "benches"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in ("conftest.py", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)

    def start(self, *options: str, **how: Any) -> subprocess.Popen[str]:
        """Start ``pytest benches --benchmark-only`` with more options."""
        command = (sys.executable, "-m", "pytest", "benches", "--benchmark-only", *options)
        return self.start_command(command, **how)

    def start_command(self, command: Any, **how: Any) -> subprocess.Popen[str]:
        """Start any command, with pytest on its path."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTEST")
        }
        environment.pop("PYTHONPATH", None)
        environment |= self.environment
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        return subprocess.Popen(
            command, **{"cwd": self.folder} | how, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def sweep(self, *options: str, preexec_fn: Callable[[], None] | None = None) -> Outcome:
        """Run a sweep to its end."""
        return finish(self.start(*options, preexec_fn=preexec_fn))


def finish(process: subprocess.Popen[str], seconds: float = 180) -> Outcome:
    """Wait for a process, for so long at most, and return what it said."""
    output, errors = process.communicate(timeout=seconds)
    return Outcome(process.returncode, output, errors)
