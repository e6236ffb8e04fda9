"""Two made-up training steps on a CPU."""


def case(activation: str, phase: str = "training") -> str:
    """The id of a case."""
    return f"{activation}-{phase}-8x64x56x56-float32-cpu"


OPERATORS = [
    # activation, kernel, kind, part, start, duration
    ("relu", "aten::relu", "pointwise", "forward", 0, 400_000),
    ("relu", "aten::threshold_backward", "pointwise", "backward", 500_000, 600_000),
    ("dyrelu_b", "aten::mean", "reduction", "forward", 0, 300_000),
    ("dyrelu_b", "aten::mul", "pointwise", "forward", 300_000, 5_000_000),
    ("dyrelu_b", "aten::max", "reduction", "forward", 5_300_000, 9_000_000),
    ("dyrelu_b", "aten::mul", "pointwise", "backward", 15_000_000, 20_000_000),
]
MEMORY = [
    # activation, at, allocated, part
    ("relu", 10, 1_000_000, "forward"), ("relu", 500_001, 2_000_000, "backward"),
    ("relu", 1_200_000, 0, "backward"),
    # On an accelerator the host is ahead: backward allocates long before its first kernel runs,
    # and what forward leaves is freed when Python is done with it.
    ("dyrelu_b", 10, 4_000_000, "forward"), ("dyrelu_b", 4_000_000, 5_000_000, "forward"),
    ("dyrelu_b", 5_000_000, 3_000_000, "other"), ("dyrelu_b", 6_000_000, 8_000_000, "backward"),
    ("dyrelu_b", 35_000_000, 0, "other"),
]  # fmt: skip  # fmt: skip
