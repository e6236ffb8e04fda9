"""What figures say of rows and operators that they lack: where any is lacking, and nowhere else."""

from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from dynact.report.data.omissions import (
    absence,
    complete,
    formulation,
    omission,
    uncounted_operators,
    understatement,
    unwatched,
)
from dynact.report.data.settings_groups import SettingsGroup, settings_groups
from dynact.report.figures.declaration import LayerFigure, NetworkFigure, ProfileFigure
from dynact.report.figures.registry import figures_of
from tests.report.conftest import build_rows, fail_rows, lacking_rows
from tests.report.networks_sample import build_networks, fail_networks
from tests.report.profile_sample import build_profile
from tests.report.sample_run import run_of
from tests.report.ways_sample import together, written

CAPTION = "Measured somewhere, some day."
FIGURES = figures_of(LayerFigure)
# The figures that show FLOPs.
OF_FLOPS = {"roofline", "promise", "arithmetic"}
# The figures that show what operators are or take, which compiling changes.
OF_COUNTS = {"memory", "promise", "arithmetic"}
# The figures that take a row only with all that they show of it.
OF_COMPLETE_ROWS = {"roofline", "promise"}


def words_of(figure: Figure) -> str:
    """Return all words on a page, a line break as a space."""
    texts = (text.get_text() for text in figure.findobj(Text))
    return " ".join(" ".join(texts).split())


def part_of(rows: pd.DataFrame) -> SettingsGroup:
    """Return rows of inference as what a figure shows, be it of all phases or of one."""
    return SettingsGroup(rows).of_phase("inference")


def drawn(name: str, rows: pd.DataFrame) -> str:
    return words_of(FIGURES[name].draw(part_of(rows), CAPTION))


def some_rows(activations: Sequence[str] = ("prelu", "frelu", "dyrelu_b")) -> pd.DataFrame:
    return build_rows(activations, (32,), (7, 28), ("inference",))


@pytest.mark.parametrize("nothing", [[], None])
def test_where_all_operators_are_counted_nothing_is_said(nothing: list[str] | None) -> None:
    rows = some_rows()
    rows = rows.assign(uncounted_ops=[nothing] * len(rows))

    assert uncounted_operators(rows) == {}
    assert understatement(rows) == ""


def test_only_layers_that_lack_operators_are_named_each_with_its_own() -> None:
    rows = lacking_rows(some_rows(), frelu=["aten::fft", "aten::sort"], dyrelu_b=["aten::cumsum"])
    # One more at one of its shapes, and a row that failed says nothing.
    rows.at[rows.index[-1], "uncounted_ops"] = ["aten::cumsum", "aten::sort"]
    rows = fail_rows(rows, [0], "oom", "")

    assert uncounted_operators(rows) == {
        "frelu": "aten::fft, aten::sort", "dyrelu_b": "aten::cumsum, aten::sort",
    }  # fmt: skip
    assert understatement(rows) == (
        "FLOPs of DY-ReLU-B lack aten::cumsum, aten::sort; FLOPs of FReLU lack aten::fft, "
        "aten::sort: there are more than shown."
    )


@pytest.mark.parametrize("name", FIGURES)
def test_operators_that_flops_lack_are_said_beside_flops_alone(name: str) -> None:
    counted = drawn(name, some_rows())
    some = drawn(name, lacking_rows(some_rows(), frelu=["aten::fft"]))

    note = "FLOPs of FReLU lack aten::fft: there are more than shown."
    assert "lack" not in counted
    assert (some.count(note), some.count("lack")) == ((1, 1) if name in OF_FLOPS else (0, 0))


@pytest.mark.parametrize("name", FIGURES)
def test_the_number_of_a_layer_that_lacks_some_is_a_least(name: str) -> None:
    counted = drawn(name, some_rows())
    some = drawn(name, lacking_rows(some_rows(), frelu=["aten::fft"]))

    assert "≥" not in counted
    # A roofline has no number of FLOPs to mark.
    assert some.count("≥ ") == (1 if name in {"promise", "arithmetic"} else 0)


def test_what_was_counted_of_compiled_rows_is_said_of_them_alone() -> None:
    said = "Counted on the plain formulation, not the compiled one."

    assert formulation(some_rows()) == ""
    assert formulation(some_rows().assign(mode="compile")) == said
    # A graph replays what was counted.
    assert formulation(some_rows().assign(mode="graph")) == ""


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_counts_alone_tell_a_compiled_slice(name: str) -> None:
    eager, compiled = (drawn(name, some_rows().assign(mode=mode)) for mode in ("eager", "compile"))

    assert "plain formulation, not the compiled" not in eager
    assert ("plain formulation, not the compiled" in compiled) == (name in OF_COUNTS)


def test_what_is_left_out_is_counted_by_its_reason() -> None:
    rows = fail_rows(some_rows(), [0], "oom", "")
    rows.loc[[3, 4, 5], "flops"] = None
    failed = "1 of 6 cases that failed (PReLU)"
    uncounted = "3 of 6 cases without FLOPs (FReLU, DY-ReLU-B)"

    def left_out(rows: pd.DataFrame) -> str:
        return omission(rows, complete(rows, ["flops"]), "FLOPs")

    assert left_out(some_rows()) == ""
    assert left_out(fail_rows(some_rows(), [0], "oom", "")) == f"Left out: {failed}."
    assert left_out(rows) == f"Left out: {failed}; {uncounted}."
    only = rows[rows["status"] == "ok"]
    assert left_out(only) == "Left out: 3 of 5 cases without FLOPs (FReLU, DY-ReLU-B)."


@pytest.mark.parametrize("name", FIGURES)
def test_rows_that_are_not_drawn_are_said_where_there_are_any(name: str) -> None:
    whole = drawn(name, some_rows())
    partly = drawn(name, fail_rows(some_rows(), [0], "oom", ""))

    assert "Left out" not in whole
    assert ("Left out: 1 of 6 cases that failed" in partly) == (name in OF_COMPLETE_ROWS)


def test_an_absence_has_its_reason() -> None:
    rows = fail_rows(some_rows(), [0, 1, 2], "oom", "")
    rows.loc[1, "status"] = "timeout"

    assert absence(rows, "prelu") == "failed: oom, timeout"
    # One of its two cases was measured.
    assert absence(rows, "frelu") == "not counted"
    assert absence(rows, "dyrelu_b") == "not counted"
    assert absence(rows, "silu") == "not measured"


def every_figure() -> dict[str, Callable[[str], Figure]]:
    """Return how each kind of figure, and the page without one, is drawn with a caption."""
    layers, none = part_of(some_rows()), part_of(fail_rows(some_rows(), range(6), "oom", ""))
    networks, sites = build_networks(("mobilenet_v2",), phases=("training",))
    lost = fail_networks(networks, list(range(len(networks))))
    case = "frelu-training-8x64x56x56-float32-cpu"
    call = (case, "frelu", "training", "aten::max", "other", "forward", 0, 1_000)
    profile = build_profile([call], [(case, 1, 4096, "forward")])
    draw: dict[str, Callable[[str], Figure]] = {}
    for name, kind in FIGURES.items():
        draw |= {name: partial(kind.draw, layers), f"no {name}": partial(kind.draw, none)}
    for name, of_networks in figures_of(NetworkFigure).items():
        for which, rows_of_networks in ((name, networks), (f"no {name}", lost)):
            run = run_of(networks=rows_of_networks, sites=sites)
            if of_networks.is_there(run):
                draw[which] = partial(of_networks.draw, run)
    for name, of_profile in figures_of(ProfileFigure).items():
        draw[name] = partial(of_profile.draw, profile)
    return draw


@pytest.mark.parametrize("name", every_figure())
def test_a_figure_ends_with_its_caption_once(name: str) -> None:
    draw = every_figure()[name]

    assert words_of(draw(CAPTION)).count(CAPTION) == 1
    assert CAPTION not in words_of(draw(""))


def test_implementations_that_show_no_operators_are_named() -> None:
    rows = together(*(written(i, (9.0, 9.0)) for i in ("reference", "lines", "fused", "my:Fast")))

    (group,) = settings_groups(rows)

    assert unwatched(group.rows).startswith("DY-ReLU-B fused, DY-ReLU-B Fast: FLOPs are the ref")
    assert unwatched(rows[rows["impl"].isin(["reference", "lines"])]) == ""
