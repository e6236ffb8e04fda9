"""A run as one self-contained page: the answer, the figures, every row, what went wrong."""

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from dynact.report.caveats import doubts, failures, gaps, gate_failed
from dynact.report.names import NO_FIGURE, display_name, display_names, with_prefix
from dynact.report.page_answer import answer
from dynact.report.page_figures import page_figures
from dynact.report.page_rows import all_rows
from dynact.report.slices import describe, device_and_threads, slices
from dynact.timing import format_ns

_KERNELS_SHOWN = 12


def write_page(
    run_folder: Path, rows: pd.DataFrame, environment: dict[str, Any], gates: list[dict[str, Any]]
) -> Path:
    """Write index.html, which needs no other file and no network.

    Parameters
    ----------
    run_folder
        Gets the page; its figures and, where there are, its traces go into it.
    rows, environment, gates
        As ``results`` loads them; at least one row.

    Returns
    -------
    Path
        The page. Names and messages in it are text, whatever they hold.
    """
    main, *others = slices(rows)
    names = display_names(rows["activation"])
    page = _template().render(
        answer=answer(main),
        baseline=display_name(main.rows["baseline"].iloc[0]),
        setting=describe(main.rows),
        shapes=main.shapes,
        other_settings=len(others),
        device=device_and_threads(main.rows, environment),
        date=pd.Timestamp(environment["started"]).strftime("%Y-%m-%d"),
        gates=gates,
        gate_failed=gate_failed(gates),
        figures=page_figures(run_folder, main),
        rows=all_rows(rows),
        traces=_traces(run_folder / "traces", names),
        doubts=doubts(rows),
        failures=failures(rows).to_dict("records"),
        gaps=gaps(rows).to_dict("records"),
        counted=bool(rows["flops"].notna().any()),
        environment=environment,
        clock=str(rows["clock"].dropna().iloc[0]) if rows["clock"].notna().any() else "",
        cache=str(rows["cache"].dropna().iloc[0]) if rows["cache"].notna().any() else "",
    )
    path = run_folder / "index.html"
    # A lone surrogate, as in a strange file name, has no UTF-8.
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def _traces(folder: Path, names: dict[str, str]) -> list[dict[str, Any]]:
    """Return one record for each traced case, with its longest kernels."""
    steps, kernels = folder / "steps.csv", folder / "kernels.csv"
    if not (steps.is_file() and kernels.is_file()):
        return []
    by_case = dict(iter(pd.read_csv(kernels).groupby("case_id")))
    traces = []
    for step in pd.read_csv(steps).to_dict("records"):
        mine = by_case.get(step["case_id"], pd.DataFrame())
        if mine.empty:
            continue
        longest = mine.sort_values("time_ns", ascending=False, kind="stable")
        activation = str(step["activation"])
        traces.append(
            {
                "activation": names.get(activation, display_name(activation)),
                "phase": step["phase"],
                "case_id": step["case_id"],
                "traced": format_ns(step["step_ns"]),
                "untraced": NO_FIGURE
                if pd.isna(step["untraced_ns"])
                else format_ns(step["untraced_ns"]),
                "trace": step["trace"],
                "count": len(mine),
                "kernels": [
                    _kernel(kernel) for kernel in longest.head(_KERNELS_SHOWN).to_dict("records")
                ],
            }
        )
    return traces


def _kernel(kernel: dict[Any, Any]) -> dict[str, str]:
    rate = kernel["bandwidth_bytes_per_s"]
    return {
        "kernel": str(kernel["kernel"]),
        "kind": str(kernel["kind"]),
        "part": str(kernel["part"]),
        "calls": f"{kernel['calls']:g}",
        "time": format_ns(kernel["time_ns"]),
        "share": f"{kernel['share']:.1%}",
        "shapes": NO_FIGURE if pd.isna(kernel["input_shapes"]) else str(kernel["input_shapes"]),
        "bandwidth": NO_FIGURE if pd.isna(rate) else with_prefix(rate, "B/s"),
    }
