"""Each profiled step and its kernels, in the words that the page and TensorBoard share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dynact.report.data.kernel_names import short_kernel
from dynact.report.data.names import cell_ratio
from dynact.report.data.profile import Profile
from dynact.schema.digits import NO_FIGURE
from dynact.schema.prefix import with_prefix
from dynact.schema.profile import times_hold
from dynact.timing import format_ns

# Nor did former versions tell the spread.
_ON_SOME_DEVICES = ("operator", "occupancy", "registers", "spread")
_NOTHING = "nothing ran"
_COMPILED = (
    "Compiled: a compiled region does the work of several operators and on a CPU is shown as one, "
    "so there are not as many here as the row’s operator calls, which are counted on the eager "
    "formulation."
)


@dataclass(frozen=True)
class ProfiledStep:
    """One profiled case; all but its identity is text to be shown."""

    case_id: str
    activation: str
    phase: str
    on_accelerator: bool
    time: str
    """How long it took, against the same step without the profiler."""
    steps: str
    """Over which steps that is the median, empty where it is of one."""
    note: str
    """How its kernels differ from those that the rows count, empty where they do not."""
    doubt: str
    """Why its times are not to be taken as such, empty where they are."""
    headings: list[str]
    kernels: list[list[str]]
    """A line a kernel with a cell a heading, the longest first."""
    files: dict[str, str]
    """What more there is to look at: what it is, and its path in the run folder."""


def profiled_steps(profile: Profile) -> list[ProfiledStep]:
    """Return the profiled steps in the order of their tables."""
    by_case = dict(iter(profile.kernels.groupby("case_id")))
    none = profile.kernels.head(0)
    return [
        _profiled_step(step, by_case.get(step["case_id"], none))
        for step in profile.steps.to_dict("records")
    ]


def order_alone(profile: Profile) -> str:
    """Return of which of the steps that figures show the times do not hold, empty where of none."""
    took = []
    for step in profile.of(profile.steps.drop(columns="activation")).to_dict("records"):
        holds = times_hold(step["step_ns"], step["untraced_ns"], step["on_accelerator"])
        if step["step_ns"] and not holds:
            ratio = cell_ratio(step["step_ns"] / step["untraced_ns"])
            took.append(f"{profile.names[step['activation']]} {ratio}")
    if not took:
        return ""
    blocks = "kernels" if profile.on_accelerator else "operators"
    return (
        f"Under the profiler these took other times than without it: {', '.join(took)} as long. "
        f"Their {blocks}' order holds; their times, shares and places in the list do not."
    )


def _profiled_step(step: dict[Any, Any], kernels: pd.DataFrame) -> ProfiledStep:
    longest = kernels.sort_values("time_ns", ascending=False, kind="stable")
    lines = [_cells(kernel) for kernel in longest.to_dict("records")]
    headings = [
        heading
        for heading in (lines[0] if lines else ())
        if heading not in _ON_SOME_DEVICES or any(line[heading] != NO_FIGURE for line in lines)
    ]
    files = {
        "whole trace": step["trace"],
        "memory page": step["memory_page"],
        "memory snapshot": step["memory_snapshot"],
    }
    on_accelerator = step["on_accelerator"]
    time, doubt = (_device_time, _device_doubt) if on_accelerator else (_host_time, _host_doubt)
    return ProfiledStep(
        case_id=step["case_id"],
        activation=step["activation"],
        phase=step["phase"],
        on_accelerator=on_accelerator,
        time=time(step["step_ns"], step["untraced_ns"]) if step["step_ns"] else _NOTHING,
        steps=_steps(step) if step["step_ns"] else "",
        note=_COMPILED * (step["mode"] == "compile"),
        doubt=doubt(step["step_ns"], step["untraced_ns"]) if step["step_ns"] else "",
        headings=headings,
        kernels=[[line[heading] for heading in headings] for line in lines],
        files={what: path for what, path in files.items() if path},
    )


def _steps(step: dict[Any, Any]) -> str:
    if pd.isna(step["steps_taken"]):
        return ""
    taken, left_out = int(step["steps_taken"]), int(step["steps_disturbed"])
    low, high = format_ns(step["step_p20_ns"]), format_ns(step["step_p80_ns"])
    said = f"Medians over {taken} of {step['steps']:.0f} steps, which took {low} to {high}"
    if left_out:
        said += (
            f"; {left_out} more took over 1.5 times as long, as when the processor is given to "
            f"another program, and {'is' if left_out == 1 else 'are'} left out"
        )
    if step["tries"] > 1:
        said += f"; traced {step['tries']:.0f} times, as other programs disturbed it"
    return f"{said}."


def _host_time(step_ns: float, untraced_ns: float) -> str:
    under = f"{format_ns(step_ns)} under the profiler"
    if pd.isna(untraced_ns):
        return f"{under}, not timed without it"
    return f"{under}, {cell_ratio(step_ns / untraced_ns)} the {format_ns(untraced_ns)} without it"


def _host_doubt(step_ns: float, untraced_ns: float) -> str:
    if times_hold(step_ns, untraced_ns, on_accelerator=False):
        return ""
    change = step_ns / untraced_ns - 1
    took = f"{100 * abs(change):.0f} % {'more' if change > 0 else 'less'}"
    return _taken_as_order(took)


def _device_time(step_ns: float, untraced_ns: float) -> str:
    kernels = f"kernels take {format_ns(step_ns)}"
    if pd.isna(untraced_ns):
        return f"{kernels}, the step not timed without the profiler"
    share = step_ns / untraced_ns
    if share >= 1:
        return f"{kernels}, all of the {format_ns(untraced_ns)} of the step without the profiler"
    return (
        f"{kernels}, they run in {100 * share:.0f} % of the step ({format_ns(untraced_ns)} without "
        "the profiler), the rest is waiting for the host"
    )


def _device_doubt(step_ns: float, untraced_ns: float) -> str:
    if times_hold(step_ns, untraced_ns, on_accelerator=True):
        return ""
    return _taken_as_order(f"{100 * (step_ns / untraced_ns - 1):.0f} % more")


def _taken_as_order(took: str) -> str:
    return (
        f"All kernels together took {took} time under the profiler than the step without it: "
        "their order still holds, their times, shares and bandwidths do not."
    )


def _cells(kernel: dict[Any, Any]) -> dict[str, str]:
    return {
        # What matters most comes first: a phone shows three columns.
        "kernel": short_kernel(kernel["kernel"]),
        "part": kernel["part"],
        "time": format_ns(kernel["time_ns"]),
        "share": f"{100 * kernel['share']:.1f} %",
        "spread": _known(
            kernel["time_p20_ns"],
            lambda low: f"{format_ns(low)}–{format_ns(kernel['time_p80_ns'])}",
        ),
        # What launched it: on a CPU that is itself.
        "operator": NO_FIGURE if kernel["operator"] == kernel["kernel"] else kernel["operator"],
        "calls": f"{kernel['calls']:,.0f}",
        "bytes": _known(kernel["bytes"], lambda size: with_prefix(size, "B")),
        "bandwidth": _known(kernel["bandwidth_bytes_per_s"], lambda rate: with_prefix(rate, "B/s"))
        + _of_a_copy(kernel),
        "occupancy": _known(kernel["occupancy_percent"], "{:.0f} %".format),
        "registers": _known(kernel["registers_per_thread"], "{:.0f}".format),
        "kind": kernel["kind"],
        "input shapes": kernel["input_shapes"] or NO_FIGURE,
    }


def _of_a_copy(kernel: dict[Any, Any]) -> str:
    share = kernel["bandwidth_bytes_per_s"] / kernel["ceiling_bytes_per_s"]
    return "" if pd.isna(share) else f", {100 * share:.0f} % of a copy’s"


def _known(value: float, written: Callable[[float], str]) -> str:
    return NO_FIGURE if pd.isna(value) else written(value)
