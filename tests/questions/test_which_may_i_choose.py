"""Which of these may I choose at 1.5× ReLU's time in training?"""

import shlex
from math import isnan
from pathlib import Path
from typing import Any

from dynact.report.run import load
from tests.questions.conftest import Ask

ACTIVATIONS = {"relu": "ReLU", "relu6": "ReLU6", "mish": "Mish", "dyrelu_a": "DY-ReLU-A"}


def expected(row: dict[str, Any]) -> str:
    """Say of one shape, whose interval is the mean's, whether it fits."""
    if isnan(row["overhead_lo"]):
        return "cannot be told"
    if row["overhead_hi"] <= 1.5:
        return "yes"
    return "no" if row["overhead_lo"] > 1.5 else "cannot be told"


def test_the_command_at_the_end_of_the_sweep_tells(sweep: Ask, ask: Ask) -> None:
    said = sweep(
        "--activations", ",".join(ACTIVATIONS), "--impls", "reference", "--shapes", "64x28x28",
        "--batches", "2", "--phases", "training", "--device", "cpu", "--at-most", "1.5x",
    )  # fmt: skip
    (command,) = [line for line in said.splitlines() if line.startswith("figures and page: ")]
    _, *arguments = shlex.split(command.removeprefix("figures and page: "))
    assert arguments[-2:] == ["--at-most", "1.5x"]

    told = ask(*arguments, "--figures", "overhead_ranking", "--format", "svg")

    assert "Training: which take 1.5× ReLU's time or less?" in told
    rows = load("mine").set_index("activation").sort_values("overhead")
    lines = told.splitlines()
    shown = [
        (title, next(line for line in lines if line.split()[:1] == [title]))
        for title in (ACTIVATIONS[name] for name in rows.index)
    ]
    # Sorted by what they cost.
    assert [lines.index(line) for _, line in shown] == sorted(
        lines.index(line) for _, line in shown
    )
    for (title, line), row in zip(shown, rows.to_dict("records"), strict=True):
        assert line.removeprefix(title).strip().startswith(f"{expected(row)}  ")
    for file in ("summary.md", "index.html"):
        assert "which take 1.5× ReLU" in Path("mine", file).read_text()
