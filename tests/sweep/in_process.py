"""A small sweep in the tests' own process, with a bench that measures nothing."""

from collections.abc import Callable

import pytest

from dynact.schema.cases import KnownPair
from dynact.schema.messages import Answer, Request
from tests.sweep.bench import VISITED

# Two activations at two shapes, for inference alone.
FOUR_CASES = (
    "--sweep", "smoke", "--activations", "prelu,frelu", "--phases", "inference",
    "--resolutions", "7", "--passes", "6",
)  # fmt: skip
FOUR_IDS = [
    f"{name}-inference-2x{channels}x7x7-float32-cpu"
    for channels in (16, 32)
    for name in ("prelu", "frelu")
]

Run = Callable[..., pytest.RunResult]


def as_known(request: Request) -> Answer:
    """Find of known pairs what is known, and of all else the usual."""
    if isinstance(request.case, KnownPair):
        return Answer(figures=VISITED | {"overhead": 1 + request.case.more})
    return Answer(figures=dict(VISITED))


def check_refused(outcome: pytest.RunResult, line: str) -> None:
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert [text for text in outcome.outlines if text.strip()] == []
    (said,) = [text for text in outcome.errlines if text.strip()]
    assert said.startswith(f"ERROR: {line}")
