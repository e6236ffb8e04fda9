"""The sentence that says why a layer takes so long, against a trace with known shares."""

from typing import Any

import pandas as pd
import pytest

from dynact.report.run import Run
from dynact.report.tables.summary import summary_markdown
from dynact.report.tables.why_slow import why_slow
from tests.report.conftest import build_rows
from tests.report.profile_sample import build_profile
from tests.report.sample_run import run_of
from tests.report.ways_sample import together, written

# Of one shape; a half-width of 2 % each.
STACKED = written("reference", (60.0,), phases=("training",))
LINES = written("lines", (20.0,), phases=("training",))
SHARES = {
    # operator: kind, share in percent
    "aten::max": ("reduction", 40), "aten::mul": ("pointwise", 18), "aten::mul_": ("pointwise", 2),
    "aten::mul_backward": ("pointwise", 10), "aten::add": ("pointwise", 21),
    "aten::amax": ("reduction", 6), "aten::cudnn_convolution": ("convolution", 3),
}  # fmt: skip


def calls(case_id: str, shares: dict[str, tuple[str, int]]) -> list[tuple[object, ...]]:
    return [
        (case_id, case_id.partition("-")[0], "training", operator, kind, "forward", i, share)
        for i, (operator, (kind, share)) in enumerate(shares.items())
    ]


def traced(rows: pd.DataFrame, *lines: tuple[object, ...], **steps: Any) -> Run:
    """Return a run whose steps took as long as without the profiler, unless others are given."""
    profile = build_profile(lines)
    took = {"untraced_ns": profile.steps["step_ns"], **steps}
    vars(profile)["steps"] = profile.steps.assign(**took)
    return run_of(rows=rows, profile=profile)


def one_sentence(run: Run) -> str:
    [sentence] = why_slow(run).values()
    return sentence


def test_shares_are_summed_in_plain_words() -> None:
    [case_id] = STACKED["case_id"]
    assert one_sentence(traced(STACKED, *calls(case_id, SHARES))) == (
        "DY-ReLU-B, training: 46 % of the step is the max over a dimension, 30 % multiplying, "
        "21 % adding."
    )


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        ("autograd::engine::evaluate_function: MulBackward0", "autograd itself"),
        ("torch::autograd::AccumulateGrad", "autograd itself"),
        ("MaxBackward0", "autograd itself"),
        ("aten::t", "views of tensors"),
        ("aten::threshold_backward", "ReLU"),
        ("aten::_prelu_kernel_backward", "PReLU"),
        ("aten::_softmax", "the softmax"),
        ("mine::Backward_of_mine", "mine::Backward_of_mine"),
        ("(no operator)", "(no operator)"),
    ],
)
def test_an_operator_in_words(operator: str, words: str) -> None:
    [case_id] = STACKED["case_id"]
    run = traced(STACKED, *calls(case_id, {operator: ("other", 5)}))
    assert one_sentence(run) == f"DY-ReLU-B, training: 100 % of the step is {words}."


def test_a_cheaper_form_does_without_what_its_trace_has_not() -> None:
    rows = together(STACKED, LINES)
    [dear, cheap] = rows["case_id"]
    of_lines = {"aten::mul": ("pointwise", 50), "aten::add": ("pointwise", 30),
                "aten::maximum": ("pointwise", 20)}  # fmt: skip
    run = traced(
        rows, *calls(dear, SHARES), *calls(cheap, of_lines),
        activation=["dyrelu_b", "dyrelu_b lines"], impl=["reference", "lines"],
    )  # fmt: skip

    said = why_slow(run)

    # 60 / 20, within 1.02 ** sqrt(2) = 1.0284.
    assert said[dear].endswith(
        "21 % adding; written as elementwise lines, it does without the max over a dimension and "
        "is 3.00× (2.92–3.09) as fast."
    )
    assert said[cheap] == (
        "DY-ReLU-B lines, training: 50 % of the step is multiplying, 30 % adding, 20 % the larger "
        "of two tensors."
    )
    assert "## Why it takes so long" in summary_markdown(
        run_of(
            **vars(run)
            | {"gates": [], "limits": None, "networks": pd.DataFrame(), "environment": {}}
        )
    )


def test_of_a_form_without_a_trace_only_its_time_is_known() -> None:
    rows = together(STACKED, written("fused", (6.0,), phases=("training",)), LINES)
    assert one_sentence(traced(rows, *calls(rows["case_id"][0], SHARES))).endswith(
        "21 % adding; written fused, it is 10.0× (9.7–10.3) as fast."
    )


@pytest.mark.parametrize(
    "other",
    [
        written("lines", (59.5,), phases=("training",)),  # within the intervals
        written("lines", (70.0,), phases=("training",)),
        written("lines", (20.0,), phases=("training",), batch=99),
        written("lines", (20.0,), phases=("inference",)),
        written("lines", (20.0,), phases=("training",), status="wrong"),
    ],
)
def test_no_other_form_is_named_that_is_not_faster_in_the_same_case(other: pd.DataFrame) -> None:
    rows = together(STACKED, other)
    assert one_sentence(traced(rows, *calls(rows["case_id"][0], SHARES))).endswith("21 % adding.")


def test_an_accelerator_s_share_is_of_its_kernels_and_a_disturbed_trace_says_so() -> None:
    [case_id] = build_rows(("frelu",), (32,), (7,), ("training",))["case_id"]
    run = traced(
        STACKED, *calls(case_id, {"aten::my_own": ("other", 7), "CompiledFunction": ("other", 3)}),
        on_accelerator=True, untraced_ns=1,
    )  # fmt: skip
    assert one_sentence(run) == (
        "FReLU, training: 70 % of the time of its kernels is my_own, 30 % generated code (the "
        "trace was disturbed: only the order holds)."
    )


def test_without_traces_there_is_none() -> None:
    assert why_slow(run_of(rows=STACKED, profile=None)) == {}
