"""A run as one self-contained page: the answer, the figures, every row, what went wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from dynact.report.data.caveats import doubts, failures, gaps, gate_failed
from dynact.report.data.names import display_name, display_names
from dynact.report.data.profile import Traces
from dynact.report.data.profiled_steps import traced_steps
from dynact.report.data.settings_groups import describe, device_and_threads, slices
from dynact.report.page.answer import answer
from dynact.report.page.figures import PageFigure
from dynact.report.page.rows import all_rows
from dynact.report.tables.networks import network_notes, network_sections

_KERNELS_SHOWN = 12


def write_page(
    run_folder: Path,
    rows: pd.DataFrame,
    environment: dict[str, Any],
    gates: list[dict[str, Any]],
    figures: Sequence[PageFigure] = (),
    traces: Traces | None = None,
    networks: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> Path:
    """Write index.html, which needs no other file and no network.

    Parameters
    ----------
    run_folder
        Gets the page.
    rows, environment, gates
        As ``results`` loads them; at least one row.
    figures, traces
        What else goes into it, as `page_figures` and `traces.load_traces` return it.
    networks
        Network rows, and the rows of their sites.

    Returns
    -------
    Path
        The page. Names and messages in it are text, whatever they hold.
    """
    main, *others = slices(rows)
    steps = traced_steps(traces) if traces is not None else []
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
        figures=figures,
        rows=all_rows(rows),
        networks=network_sections(*networks) if networks and len(networks[0]) else [],
        network_notes=network_notes(networks[0]) if networks and len(networks[0]) else [],
        steps=steps,
        names=display_names([*rows["activation"], *(step.activation for step in steps)]),
        kernels_shown=_KERNELS_SHOWN,
        doubts=doubts(rows),
        failures=failures(rows).to_dict("records"),
        untraced=traces.failed.to_dict("records") if traces is not None else [],
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
