"""A small sweep in the tests' own process, with a bench that measures nothing."""

from collections.abc import Callable

import pytest

# Two activations at two shapes, for inference alone.
FOUR_CASES = (
    "--sweep", "smoke", "--activations", "prelu,frelu", "--phases", "inference",
    "--resolutions", "7",
)  # fmt: skip
FOUR_IDS = [
    f"{name}-inference-2x{channels}x7x7-float32-cpu"
    for channels in (16, 32)
    for name in ("prelu", "frelu")
]

Run = Callable[..., pytest.RunResult]


def check_refused(outcome: pytest.RunResult, line: str) -> None:
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert [text for text in outcome.outlines if text.strip()] == []
    (said,) = [text for text in outcome.errlines if text.strip()]
    assert said.startswith(f"ERROR: {line}")
