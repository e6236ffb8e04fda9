"""The report of a network that was measured."""

import pandas as pd

from dynact.networks import Site, Swap
from dynact.schema.cases import NetworkCase
from dynact.schema.rows import NetworkRow
from dynact.worker.network_measurement import NetworkMeasurement, Share

FIGURES = {
    "status": "ok", "time_ns": 40e6, "baseline_time_ns": 20e6,
    "overhead": 2.0, "overhead_lo": 1.98, "overhead_hi": 2.02, "visits": 12, "converged": True,
    "parameters": 10_233_344, "baseline_parameters": 3_504_872,
    "macs": 330_000_000, "baseline_macs": 300_000_000,
    "peak_bytes": 48_000_000, "baseline_peak_bytes": 24_000_000,
    "saved_for_backward_bytes": 300_000_000, "baseline_saved_for_backward_bytes": 100_000_000,
}  # fmt: skip


def row(phase: str, **figures: object) -> NetworkRow:
    case = NetworkCase("Net", "dyrelu_b", "all", phase, "float32", 8, 224, "cpu", "lines")
    return NetworkRow(case, **FIGURES | figures)


def swap(original: str, activation: str, kept_because: str = "") -> Swap:
    return Swap(Site("a", original, 8, 4, 4), activation, kept_because)


def measurement(
    inference: NetworkRow, training: NetworkRow, shares: dict[str, Share] | None = None
) -> NetworkMeasurement:
    swaps = (
        *[swap("relu6", "dyrelu_b")] * 3, *[swap("silu", "frelu")] * 2,
        *[swap("sigmoid", "sigmoid", "in a gate")] * 4, swap("relu", "relu", "not taken"),
        swap("gelu", "gelu", "neither"), swap("gelu", "gelu", "nor this one"),
    )  # fmt: skip
    return NetworkMeasurement(inference, training, swaps, (8, 3, 224, 224), 1, shares or {})


def lines_of(found: NetworkMeasurement) -> list[list[str]]:
    """Its lines, each in the cells that more than one blank separates."""
    return [[cell for cell in line.split("  ") if cell.strip()] for line in str(found).split("\n")]


def test_a_report_reads_line_by_line() -> None:
    found = measurement(row("inference", time_ns=10e6, baseline_time_ns=5e6), row("training"))

    cells = [[cell.strip() for cell in line] for line in lines_of(found)]

    assert cells == [
        ["Net: 8×3×224×224, float32, cpu, 1 host thread"],
        ["replaced: 3 relu6 → dyrelu_b, 2 silu → frelu (lines)"],
        ["kept: 4 sigmoid, in a gate"],
        ["kept: 1 relu, not taken; 2 more for other reasons"],
        ["as it is", "with the new ones", "ratio (95 % interval)"],
        # 8 samples in 5 and 10 ms.
        ["inference, samples/s", "5 ms, 1,600/s", "10 ms, 800/s", "2.00× (1.98–2.02)"],
        ["peak memory", "24 MB", "48 MB", "2.00×"],
        ["training, samples/s", "20 ms, 400/s", "40 ms, 200/s", "2.00× (1.98–2.02)"],
        ["kept for backward", "100 MB", "300 MB", "3.00×"],
        ["peak memory", "24 MB", "48 MB", "2.00×"],
        ["parameters", "3.5 M", "10 M", "2.92×"],
        ["MACs of one sample", "300 M", "330 M", "1.10×"],
        ["12 and 12 visits in this process alone"],
    ]


def test_at_its_longest_it_has_fifteen_lines() -> None:
    doubtful = {"converged": False, "disturbed_visits": 3, "message": "arithmetic not counted: X"}
    shares = {"inference": Share(0.5, -0.05, 0.55), "training": Share(0.25, None, None)}
    found = measurement(row("inference", **doubtful), row("training", **doubtful), shares)

    *_, notes = lines = str(found).split("\n")

    assert len(lines) == 15
    # Half of 20 ms, and 10 of 40 ms besides: three quarters.
    assert "50 % (−5 % to 55 %)" in lines[6]
    assert "about 75 % of the time" in lines[6]
    # A quarter of 20 ms are 5 ms; with them 25 of 40 ms.
    assert "about 25 %" in lines[9]
    assert "about 62 % of the time" in lines[9]
    assert "wider than ±1 %: more seconds= narrow it" in notes
    assert "disturbed 6 of them" in notes
    assert notes.count("arithmetic not counted: X") == 1


def test_a_time_that_is_the_hosts_is_said_to_be() -> None:
    assert "waited" not in str(measurement(row("inference"), row("training")))

    waits = row("inference", host_share=0.3, baseline_host_share=0.95)
    found = measurement(waits, row("training", host_share=0.9, baseline_host_share=0.9))

    assert str(found).endswith("in inference the device waited for its host")


def test_a_phase_that_failed_is_said_to_have() -> None:
    failed = NetworkRow(row("training").case, status="oom", message="OutOfMemoryError: no room")

    one = str(measurement(row("inference"), failed))
    case = row("inference").case
    both = str(measurement(NetworkRow(case, status="error", message="X: y"), failed))

    assert "\ntraining: failed (oom). OutOfMemoryError: no room\n" in one
    assert "3.5 M" in one
    assert one.endswith("\n12 visits in this process alone")
    assert both.endswith(
        "inference: failed (error). X: y\ntraining: failed (oom). OutOfMemoryError: no room"
    )


def test_what_was_not_counted_has_a_dash_and_no_ratio() -> None:
    found = measurement(row("inference", macs=None, peak_bytes=None), row("training"))

    (macs,) = [line for line in lines_of(found) if line[0].startswith("MACs")]
    assert [cell.strip() for cell in macs] == ["MACs of one sample", "300 M", "–"]


def test_its_records_are_rows_of_a_run() -> None:
    found = measurement(row("inference"), row("training"))

    frame = pd.DataFrame(found.records())

    assert list(frame["phase"]) == ["inference", "training"]
    assert list(frame["saved_for_backward_bytes"]) == [300_000_000] * 2
    assert set(frame["activation"]) == {"dyrelu_b"}
