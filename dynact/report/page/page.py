"""A run as one self-contained page: the answer, the figures, every row, what went wrong."""

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from dynact.report.comparison.section import NOTHING_DIFFERS
from dynact.report.data.budget import DEFAULT, Budget
from dynact.report.data.caveats import doubts, failures, gaps, visited
from dynact.report.data.digits import means_note
from dynact.report.data.host import marked_means_note, whose_time
from dynact.report.data.names import with_subjects
from dynact.report.data.own_inputs import own_inputs
from dynact.report.data.profiled_steps import profiled_steps
from dynact.report.page.answer import answer
from dynact.report.page.comparisons import page_comparisons
from dynact.report.page.figures import page_figures
from dynact.report.page.rows import all_rows
from dynact.report.run import Run
from dynact.report.tables.fitting import fitting
from dynact.report.tables.networks import network_findings, network_notes, network_sections
from dynact.report.tables.verdict import verdict
from dynact.report.tables.ways import ways_sentences
from dynact.report.tables.why_slow import why_slow

_KERNELS_SHOWN = 12


def write_page(run: Run, budget: Budget = DEFAULT, at_most: float | None = None) -> Path:
    """Write the index.html of a run, which needs no other file and no network.

    Parameters
    ----------
    run
        One with at least one row, of a layer or a network. Its folder gets the page, which shows
        the figures that are there.
    budget
        The memory for which the largest batch of whole networks is computed.
    at_most
        A multiple of the baseline's time, of which it is said which activations keep it.

    Returns
    -------
    Path
        The page. Names and messages in it are text, whatever they hold.
    """
    profile = run.profile
    page = _template().render(
        **_of_layers(run),
        device=run.device,
        date=run.date,
        verdict=verdict(run.gates),
        fitting=fitting(run.main, at_most) if run.groups and at_most is not None else [],
        visited=visited([run.rows, run.networks, run.sites]),
        figures=page_figures(run),
        networks=network_sections(run, budget) if len(run.networks) else [],
        network_notes=network_notes(run, budget) if len(run.networks) else [],
        comparisons=page_comparisons(run),
        nothing_differs=NOTHING_DIFFERS,
        steps=profiled_steps(profile) if profile is not None else [],
        why_slow=list(why_slow(run).values()),
        names=run.names,
        kernels_shown=_KERNELS_SHOWN,
        not_profiled=profile.failed.to_dict("records") if profile is not None else [],
        environment=run.environment,
    )
    path = run.folder / "index.html"
    # A lone surrogate, as in a strange file name, has no UTF-8.
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def _of_layers(run: Run) -> dict[str, Any]:
    """Return what the page says of the run's layers; of networks alone, what was found of these."""
    rows = with_subjects(run.rows)
    measured = rows if run.groups else run.networks
    how = {
        "in_passes": bool(measured["visits"].notna().any()),
        "clock": _first(measured["clock"]),
        "cache": _first(measured["cache"]),
        "whose_time": whose_time(run.main.rows if run.groups else measured),
    }
    if not run.groups:
        return how | {"answer": None, "network_findings": network_findings(run)}
    main = run.main
    return how | {
        "answer": answer(main),
        "ways": ways_sentences(run),
        "baseline": main.baseline,
        "setting": main.description,
        "interval": main.interval,
        "interval_note": main.interval_note,
        "shapes": main.shapes,
        "other_settings": len(run.groups) - 1,
        "means_note": " ".join(filter(None, [means_note(main.means), marked_means_note(main.ok)])),
        "own_inputs": own_inputs(main.rows),
        "rows": all_rows(rows),
        "doubts": doubts(rows),
        "failures": failures(rows).to_dict("records"),
        "gaps": gaps(rows).to_dict("records"),
        "counted": bool(rows["flops"].notna().any()),
    }


def _first(cells: "pd.Series[Any]") -> str:
    return str(next(iter(cells.dropna()), ""))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
