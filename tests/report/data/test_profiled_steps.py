"""Of which profiled steps the times hold."""

from dataclasses import replace

import pytest

from dynact.report.data.profiled_steps import order_alone, profiled_steps
from tests.report.profile_sample import build_profile

CASES = {name: f"{name}-training-8x64x56x56-float32-cpu" for name in ("relu", "frelu", "silu")}
PROFILE = build_profile(
    [
        (case_id, name, "training", f"aten::{name}", "pointwise", "forward", 0, 10_000_000)
        for name, case_id in CASES.items()
    ]
)


@pytest.mark.parametrize(
    ("untraced_ms", "said"),
    [
        ((10.0, 10.0, 10.0), ""),
        ((10.0, 8.8, 11.0), ""),
        ((10.0, 2.0, 10.0), "FReLU 5.0× as long"),
        ((20.0, 10.0, 2.5), "ReLU 0.50×, SiLU 4.0× as long"),
        # Not timed without the profiler, or too short for its own cost not to weigh.
        ((None, 0.2, 10.0), ""),
    ],
)
def test_those_that_took_other_times_are_named(
    untraced_ms: tuple[float | None, ...], said: str
) -> None:
    untraced_ns = [None if ms is None else ms * 1e6 for ms in untraced_ms]
    profile = replace(PROFILE, steps=PROFILE.steps.assign(untraced_ns=untraced_ns))

    note = order_alone(profile)

    assert said in note
    assert bool(note) == bool(said)


def test_a_long_kernel_s_name_is_shown_short_and_stored_long() -> None:
    name = "void at::native::(anonymous namespace)::" + 20 * "long_" + "kernel<float>(float*)"
    call = (CASES["relu"], "relu", "training", name, "other", "forward", 0, 10_000_000)
    profile = build_profile([call])

    [step] = profiled_steps(profile)

    assert step.kernels[0][0] == ("long_" * 11) + "…"
    assert list(profile.kernels["kernel"]) == [name]
