"""Check in some minutes whether what dynact says on this machine's device holds.

Facts, clocks, rates, ways of timing, the tests that need a device, layers, networks and traces; a
verdict of each, and all of it in one folder.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynact.worker.device_check import Way

ROOT = Path(__file__).resolve().parent.parent
# Works from a checkout too, where dynact is not installed.
sys.path.insert(0, str(ROOT))

from dynact.report.run import load  # noqa: E402
from dynact.schema.prefix import with_prefix  # noqa: E402
from dynact.schema.redact import error_line  # noqa: E402
from dynact.sweep.listing import add_list  # noqa: E402
from dynact.sweep.one_line_parser import OneLineParser  # noqa: E402
from dynact.sweep.worker import MEMORY_KEEPING_MALLOC  # noqa: E402
from dynact.timing import format_ns  # noqa: E402

# Of each command, and of what it still says once it is told to end: with what the check does by
# itself they are to end within eight minutes. Tests that compile alone take longer.
TESTS_LIMIT_S = 120
SWEEP_LIMIT_S = 150
TRACES_LIMIT_S = 40
GRACE_S = 30
# Layers at the shape of the predictions, and two networks.
ON_ACCELERATOR = (
    "--activations", "acon_c,frelu,dyrelu_b", "--impls", "reference",
    "--channels", "256", "--resolutions", "56", "--batches", "32",
    "--networks", "mobilenet_v2,resnet18",
)  # fmt: skip
# What they need, with what a copy of a network takes. On less, and on a host, some small ones.
LEAST_BYTES = 8 * 2**30
SMALL = (
    "--activations", "prelu", "--channels", "16", "--resolutions", "14", "--batches", "2",
    "--networks", "lenet", "--max-seconds", "0.05",
)  # fmt: skip
# Of an H200, float32 at 32 × 256 × 56 × 56, by a model: 4.8 TB/s, of which 80 to 90 % are reached;
# the passes over memory of the plain formulations, their kernels run one after the other.
# They are to be confirmed or refuted, and nothing here depends on them.
PREDICTED_FOR = "H200"
PREDICTED_RELU_NS = (47e3, 52e3)
PREDICTED = {
    ("inference", "acon_c"): (7, 7),
    ("inference", "frelu"): (4, 5.5),
    ("inference", "dyrelu_b"): (8, 11),
    ("training", "acon_c"): (9.5, 9.5),
    ("training", "frelu"): (8, 13),
    ("training", "dyrelu_b"): (9, 12),
}
# What the profiler's library says when all is well is none of the verdicts'.
QUIET = {"KINETO_LOG_LEVEL": "2"}
# The check sweeps by itself.
NOT_AGAIN = "tests/test_gpu.py::test_a_smoke_sweep_ends_well"
HOLDS, FAILS, TOLD = "holds", "FAILS", "told"


@dataclass(frozen=True)
class Verdict:
    """What was found of one thing."""

    name: str
    answer: str
    """`HOLDS`, `FAILS`, or `TOLD` where nothing is to hold."""
    said: str


def main() -> None:
    """Run the command line."""
    parser = OneLineParser(description=__doc__)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, …; default: the accelerator, or cpu")
    add_list(parser.add_argument)
    options = parser.parse_args()
    # Before torch is imported, and for the commands below.
    os.environ.update(MEMORY_KEEPING_MALLOC | QUIET | os.environ)
    from dynact.worker.device import open_device

    try:
        device = open_device(options.device)
    except ValueError as error:
        parser.error(str(error))
    name = f"check-{datetime.now():%Y%m%d-%H%M%S}"
    folder = ROOT / "reports" / name / "check"
    folder.mkdir(parents=True)
    print(f"checking {device.name}; up to 8 minutes", flush=True)
    checks: dict[str, Callable[[], Iterator[Verdict]]] = {
        "facts": lambda: _facts(device, folder),
        "clock": lambda: _ramp(device, folder),
        "rates": lambda: _rates(device, folder),
        "ways of timing": lambda: _ways(device),
        "tests": lambda: _tests(device, folder),
        "layers and networks": lambda: _sweep(device, name, folder),
        "traces, figures and page": lambda: _traces(name, folder),
    }
    verdicts = []
    start_s = time.perf_counter()
    interrupted = False
    try:
        for what, check in checks.items():
            print(f"        …     {what}", flush=True)
            for verdict in _guarded(what, check):
                verdicts.append(verdict)
                spent_s = time.perf_counter() - start_s
                print(
                    f"{spent_s:4.0f} s  {verdict.answer:5}  {verdict.name}: {verdict.said}",
                    flush=True,
                )
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted; what was found before is kept", file=sys.stderr)
    lines = [asdict(verdict) for verdict in verdicts]
    (folder / "verdicts.json").write_text(json.dumps(lines, indent=1, ensure_ascii=False))
    failed = [verdict.name for verdict in verdicts if verdict.answer == FAILS]
    print(f"{len(failed)} of {len(verdicts)} fail" + (f": {', '.join(failed)}" if failed else ""))
    print(f"all of it, fit to be sent, is in {folder.parent}; to pack it:")
    print(f"tar czf {name}.tar.gz -C {folder.parent.parent} {name}")
    sys.exit(130 if interrupted else bool(failed))


def _guarded(what: str, check: Callable[[], Iterator[Verdict]]) -> Iterator[Verdict]:
    try:
        yield from check()
    except Exception as error:
        yield Verdict(what, FAILS, error_line(error))


def _facts(device: Any, folder: Path) -> Iterator[Verdict]:
    from dynact.worker.environment import describe_environment

    environment = describe_environment(device)
    (folder / "facts.json").write_text(json.dumps(environment, indent=1, ensure_ascii=False))
    facts = [f"{key} {value}" for key, value in environment["device"].items() if value is not None]
    yield Verdict("facts", TOLD, ", ".join(facts))


def _ramp(device: Any, folder: Path) -> Iterator[Verdict]:
    from dynact.worker.device_check import STEADY, ramp, settled

    readings = ramp(device)
    rows = [f"{reading.after_s:.4f},{reading.call_ns:.0f}" for reading in readings]
    (folder / "ramp.csv").write_text("\n".join(["after_s,call_ns", *rows, ""]))
    last_ns, after_s = settled(readings)
    first = readings[0].call_ns / last_ns
    settle = "do not settle" if after_s is None else f"settle after {after_s:.2f} s"
    yield Verdict(
        "clock",
        TOLD,
        f"the first calls after a rest take {first:.2f}× what later ones do; their times {settle} "
        f"(nine of ten within {STEADY:.0%} of one another)",
    )


def _rates(device: Any, folder: Path) -> Iterator[Verdict]:
    from dynact.worker.limits import measure_limits

    record = measure_limits(device)
    (folder / "rates.json").write_text(json.dumps(record, indent=1))
    largest = record["copies"][-1]
    rates = [f"{with_prefix(r, 'FLOP/s')} in {d}" for d, r in record["flops_per_s"].items()]
    yield Verdict(
        "rates",
        TOLD,
        f"moves {with_prefix(largest['bytes_per_s'], 'B/s')} of tensors of "
        f"{with_prefix(largest['bytes'], 'B')}; multiplies {', '.join(rates)}",
    )


def _ways(device: Any) -> Iterator[Verdict]:
    from dynact.worker.device_check import by_each_way

    yield _agreement(list(by_each_way(device)))


def _agreement(ways: "list[Way]") -> Verdict:
    """Say whether those agree that no host has a part in, which are all but the clock's own."""
    from dynact.worker.device_check import STEADY

    said = ", ".join(
        f"{way.name}: {way.why}" if way.time_ns is None else
        f"{format_ns(way.time_ns)} by the {way.name}"
        for way in ways
    )  # fmt: skip
    missing = [way.name for way in ways if way.time_ns is None and way.is_expected]
    alone = [way.time_ns for way in ways[1:] if way.time_ns is not None]
    if missing or (alone and max(alone) > (1 + STEADY) * min(alone)):
        answer = FAILS
    else:
        answer = HOLDS if len(alone) > 1 else TOLD
    return Verdict("ways of timing", answer, f"a large ReLU takes {said}")


def _tests(device: Any, folder: Path) -> Iterator[Verdict]:
    if not device.is_accelerator:
        yield Verdict("tests", TOLD, "none to run: they are of accelerators")
        return
    command = [
        "-m", "pytest", "tests", "-m", "gpu and not compiles", "-q", "-p", "no:cacheprovider",
        "--deselect", NOT_AGAIN,
    ]  # fmt: skip
    code, last = _command(command, folder / "tests.log", TESTS_LIMIT_S)
    yield Verdict("tests", HOLDS if code == 0 else FAILS, last)


def _sweep(device: Any, name: str, folder: Path) -> Iterator[Verdict]:
    is_large = device.is_accelerator and device.memory_bytes >= LEAST_BYTES
    command = [
        "-m", "pytest", "benches", "--benchmark-only", "--run", name, "--device",
        str(device.torch_device), *(ON_ACCELERATOR if is_large else SMALL),
    ]  # fmt: skip
    code, last = _command(command, folder / "sweep.log", SWEEP_LIMIT_S)
    yield Verdict("layers and networks", HOLDS if code == 0 else FAILS, last)
    if code == 0:
        yield from _predictions(device, load(folder.parent))


def _predictions(device: Any, rows: Any) -> Iterator[Verdict]:
    """Tell what was found beside what a model says, where it is of this device."""
    if PREDICTED_FOR not in device.name:
        return
    found = rows[rows["status"] == "ok"]
    # Of the device alone, as predicted: in eager time there may be some of the host's.
    relu_ns = found[found["phase"] == "inference"]["baseline_device_time_ns"].median()
    yield _prediction("ReLU, inference", relu_ns / 1e3, PREDICTED_RELU_NS, 1e3, " µs")
    for (phase, activation), predicted in PREDICTED.items():
        rows_of = found[(found["phase"] == phase) & (found["activation"] == activation)]
        overhead = rows_of["device_overhead"].median()
        yield _prediction(f"{activation}, {phase}", overhead, predicted, 1, "×")


def _prediction(
    what: str, found: float, predicted: tuple[float, float], unit: float, sign: str
) -> Verdict:
    """Compare what was found, NaN where nothing was."""
    low, high = (value / unit for value in predicted)
    said = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if math.isnan(found):
        compared = f"no time of the device alone was found, {said}{sign} predicted: missing"
    else:
        # A single figure stands for one that is rounded to it.
        is_confirmed = 0.9 * low <= found <= 1.1 * high
        word = "confirmed" if is_confirmed else "refuted"
        compared = f"{found:.3g}{sign} found, {said}{sign} predicted: {word}"
    return Verdict(f"prediction: {what}", TOLD, compared)


def _traces(name: str, folder: Path) -> Iterator[Verdict]:
    if not (folder.parent / "rows.jsonl").exists():
        yield Verdict("traces, figures and page", FAILS, "there are no layers to make them of")
        return
    for what, *arguments in (
        ("traces", "scripts/profile_traces.py", name, "--steps", "4"),
        ("figures and page", "scripts/plot_overhead.py", name),
    ):
        code, last = _command(arguments, folder / f"{what.split()[0]}.log", TRACES_LIMIT_S)
        yield Verdict(what, FAILS if code else HOLDS, last if code else "made")


def _command(arguments: list[str], log: Path, limit_s: float) -> tuple[int, str]:
    """Run Python with some arguments; return its exit code and the last line it wrote."""
    is_late = False
    with log.open("w", encoding="utf-8") as file:
        child = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            # As by a user: it keeps what it has, and says how far it came.
            child.send_signal(signal.SIGINT)
            is_late, code = True, 1
        finally:
            # Where the check is interrupted it got the signal too.
            try:
                child.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    # It is sent to others, to whom folders say who made it.
    text = text.replace(str(ROOT), ".").replace(str(Path.home()), "~")
    log.write_text(text, encoding="utf-8")
    lines = (line.strip("= ") for line in reversed(text.splitlines()))
    last = next(filter(None, lines), "")
    return code, f"not done after {limit_s:.0f} s, its last words: {last}" if is_late else last


if __name__ == "__main__":
    main()
