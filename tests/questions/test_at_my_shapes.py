"""What does it cost me against SiLU at these two shapes, at batch 4, in training?"""

from dynact.report.run import load
from dynact.schema.digits import measured_ratio
from tests.questions.conftest import Ask


def test_exactly_these_are_measured_and_told(sweep: Ask) -> None:
    said = sweep(
        "--activations", "frelu", "--baseline", "silu", "--shapes", "64x20x20,128x10x5",
        "--batches", "4", "--phases", "training", "--device", "cpu", "-k", "bench_activation", "-v",
    )  # fmt: skip

    rows = load("mine")
    shapes = rows[["activation", "baseline", "phase", "batch", "channels", "height", "width"]]
    assert sorted(shapes.itertuples(index=False, name=None)) == [
        ("frelu", "silu", "training", 4, 64, 20, 20),
        ("frelu", "silu", "training", 4, 128, 10, 5),
    ]
    for row in rows.to_dict("records"):
        (line,) = [line for line in said.splitlines() if line.startswith(row["case_id"])]
        assert measured_ratio(row["overhead"], row["overhead_lo"], row["overhead_hi"]) in line
