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
        # Not timed without the profiler.
        ((None, 10.0, 10.0), ""),
        ((10.0, 0.2, 10.0), "FReLU 50× as long"),
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


def test_a_short_step_may_take_twice_as_long() -> None:
    short = build_profile(
        [
            (case_id, name, "training", f"aten::{name}", "pointwise", "forward", 0, 190_000)
            for name, case_id in CASES.items()
        ]
    )

    profile = replace(short, steps=short.steps.assign(untraced_ns=[96e3, 90e3, 400e3]))

    assert "FReLU 2.1× as long" in order_alone(profile)
    assert " ReLU" not in order_alone(profile)


def test_over_which_steps_a_median_is_is_said() -> None:
    steps = PROFILE.steps.assign(
        steps_taken=[7, 6, None], steps_disturbed=[1, 2, None], tries=[1, 3, None]
    )

    one, two, former = profiled_steps(replace(PROFILE, steps=steps))

    assert one.steps == (
        "Medians over 7 of 16 steps, which took 9 ms to 12 ms; 1 more took over 1.5 times as "
        "long, as when the processor is given to another program, and is left out."
    )
    assert two.steps.startswith("Medians over 6 of 16 steps")
    assert "; 2 more took" in two.steps
    assert two.steps.endswith("and are left out; traced 3 times, as other programs disturbed it.")
    assert former.steps == ""
    assert one.kernels[0][one.headings.index("spread")] == "8 ms–14 ms"
