"""pytest-benchmark shows what was measured elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.rows import Row
from dynact.sweep.replay import Replay
from tests.sweeping import case_of, ok_row


@dataclass
class Benchmark:
    """Times calls as pytest-benchmark's pedantic mode does: a round is what its timer passes."""

    timer: Callable[[], float]
    rounds_s: list[float] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    extra_info: dict[str, Any] = field(default_factory=lambda: {"mine": 1})

    def pedantic(self, call: Callable[[], object], rounds: int, iterations: int) -> None:
        assert iterations == 1
        for _ in range(rounds):
            start = self.timer()
            call()
            self.rounds_s.append(self.timer() - start)


@given(st.lists(st.lists(st.floats(1, 1e9), min_size=1, max_size=20), min_size=1, max_size=3))
def test_each_round_takes_what_the_sample_took(cases: list[list[float]]) -> None:
    # One timer for all cases of a file, as the benchmarks have it.
    replay = Replay()

    for samples_ns in cases:
        benchmark = Benchmark(replay.read)
        replay.show(benchmark, samples_ns)
        # A nanosecond after a second is known to some 1e-16 s.
        assert benchmark.rounds_s == pytest.approx(
            [sample * 1e-9 for sample in samples_ns], rel=1e-6
        )


def test_a_row_is_its_samples_its_case_and_its_ratio() -> None:
    replay = Replay()
    benchmark = Benchmark(replay.read)
    counts = {"visits": 12, "observations": 6, "disturbed_visits": 1}
    row = ok_row(case_of("frelu", channels=16), overhead=3.0, **counts)

    replay.report(benchmark, row, (3e3, 2e3))

    assert benchmark.rounds_s == pytest.approx([3e-6, 2e-6])
    assert (benchmark.params["activation"], benchmark.params["channels"]) == ("frelu", 16)
    assert benchmark.extra_info == {
        "mine": 1, "overhead": 3.0, "overhead_lo": row.overhead_lo, "overhead_hi": row.overhead_hi,
        "baseline_time_ns": 1e3, "converged": True, "visits": 12, "observations": 6,
        "disturbed_visits": 1,
    }  # fmt: skip


@pytest.mark.parametrize("status", ["oom", "unsupported"])
def test_what_a_device_cannot_do_is_skipped(status: str) -> None:
    benchmark = Benchmark(Replay().read)

    with pytest.raises(pytest.skip.Exception, match=f"{status}: why"):
        Replay().report(benchmark, Row(case_of(), status, "why"), ())

    assert benchmark.rounds_s == []


@pytest.mark.parametrize("status", ["timeout", "crashed", "error"])
def test_what_went_wrong_fails_without_a_traceback(status: str) -> None:
    benchmark = Benchmark(Replay().read)

    with pytest.raises(pytest.fail.Exception, match=f"{status}: why") as caught:
        Replay().report(benchmark, Row(case_of(), status, "why"), ())

    assert caught.value.pytrace is False
    assert benchmark.rounds_s == []
