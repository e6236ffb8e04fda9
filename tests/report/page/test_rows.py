"""All rows as columns for the page's script, named as they are declared."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from dynact.report.page import rows as page_rows
from dynact.report.page.rows import all_rows
from dynact.schema.cases import Case
from dynact.schema.rows import columns_of
from tests.report.modes_sample import with_compiled

TEMPLATE = Path(page_rows.__file__).with_name("page.html.jinja")
DECLARED = {column.name: column for column in columns_of(Case.table)}


def test_headings_and_their_explanations_are_the_declared_ones(
    make_rows: Callable[..., pd.DataFrame],
) -> None:
    columns = all_rows(make_rows(dtypes=("float32", "bfloat16"))).columns

    shown = {column["name"]: column for column in columns if column["name"] != "over_floor"}
    assert {"overhead", "operator_calls", "peak_bytes", "dtype", "message"} <= set(shown)
    for name, column in shown.items():
        assert (column["label"], column["help"]) == (DECLARED[name].label, DECLARED[name].help)


def test_figures_have_the_declared_units(make_rows: Callable[..., pd.DataFrame]) -> None:
    units = {column["name"]: column["unit"] for column in all_rows(make_rows()).columns}

    assert units["time_ns"] == "ns"
    assert units["peak_bytes"] == "bytes"
    assert units["overhead"] == units["over_floor"] == "×"
    assert units["parameters"] == units["batch"] == "count"


def test_the_script_can_show_every_unit(make_rows: Callable[..., pd.DataFrame]) -> None:
    units = {column["unit"] for column in all_rows(make_rows()).columns} - {"text"}

    script = TEMPLATE.read_text(encoding="utf-8")
    known = re.findall(r'^    "([^"]+)": \(value\) =>', script, re.MULTILINE)

    assert units <= set(known)


def test_settings_that_all_rows_share_are_said_once_in_the_declared_words(
    make_rows: Callable[..., pd.DataFrame],
) -> None:
    found = all_rows(make_rows())

    assert found.common["memory format"] == "contiguous"
    assert "memory_format" not in {column["name"] for column in found.columns}


def test_where_the_host_decides_is_marked_row_by_row(
    make_rows: Callable[..., pd.DataFrame],
) -> None:
    rows = make_rows(activations=("prelu",), channels=(32, 128), phases=("training",))
    rows["host_share"] = rows["baseline_host_share"] = rows["channels"].map({32: 1.0, 128: 0.2})

    # Ordered by channels.
    assert all_rows(rows).marks == ["§", "§", "", ""]


def test_where_there_are_two_modes_all_times_are_over_one_baseline_too(
    make_rows: Callable[..., pd.DataFrame],
) -> None:
    rows = with_compiled(make_rows())

    cells = {column["name"]: column["cells"] for column in all_rows(rows).columns}

    # Compiling changed nothing but the baseline's time.
    by_mode = pd.Series(cells["over_eager"]).groupby(cells["mode"]).agg(list)
    assert by_mode[0] == by_mode[1]
    eager = all_rows(make_rows()).columns
    (overhead,) = [column["cells"] for column in eager if column["name"] == "overhead"]
    assert by_mode[0] == overhead
    assert "over_eager" not in {column["name"] for column in eager}
