"""What holds of every figure: its declaration, and that it can be read whatever the rows."""

import importlib
import pkgutil

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dynact.report import figures
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures import registry
from dynact.report.figures.declaration import LayerFigure, ReportFigure
from dynact.report.figures.registry import figures_of
from dynact.report.figures.style import nothing_to_draw
from tests.report.figures.reading import beyond_the_axes
from tests.report.sample_run import phase_of

FIGURES = figures_of(LayerFigure)

LONG = "some.package:AnActivationWhoseAuthorLikedVeryLongClassNamesIndeed"

DOLLAR = r"some.package:$\frac{Cost$"


def drawn(name, rows, caption=""):
    """Return a figure of rows of one phase."""
    part = phase_of(rows)
    return FIGURES[name].draw(part if FIGURES[name].by_phase else SettingsGroup(rows), caption)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_say_when_nothing_was_measured(make_rows, fail, name):
    rows = make_rows(phases=("inference",))
    figure = drawn(name, fail(rows, range(len(rows)), "oom", "no memory"))
    texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert texts == ["Nothing to draw: none of the 12 cases was measured (12 oom)."]


@pytest.mark.parametrize("name", ["roofline", "memory", "promise", "arithmetic"])
def test_figures_of_counts_say_when_a_run_has_none(make_rows, uncount, name):
    rows = make_rows(phases=("inference",))
    figure = drawn(name, uncount(rows))
    (line,) = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert line.startswith("Nothing to draw: none of the 12 measured cases holds ")


def test_a_long_reason_lies_on_the_page(make_rows):
    figure = nothing_to_draw("What there is", make_rows(), "", "what nobody measured " * 6)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (line,) = [t for axes in figure.axes for t in axes.texts]
    box = line.get_window_extent(canvas.get_renderer())
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("name", FIGURES)
def test_figures_leave_global_settings_alone_and_parse_no_names(make_rows, name):
    before = dict(matplotlib.rcParams)
    figure = drawn(name, make_rows([LONG, DOLLAR], phases=("inference",)), "cost: $5$ {")
    assert dict(matplotlib.rcParams) == before
    FigureCanvasAgg(figure).draw()
    texts = [t for t in figure.findobj(matplotlib.text.Text) if "$" in t.get_text()]
    assert texts
    assert not any(t.get_parse_math() for t in texts)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("activations", [[LONG], [LONG, DOLLAR, "frelu", "prelu", "se"]])
def test_all_text_lies_on_the_page(make_rows, name, activations):
    figure = drawn(name, make_rows(activations, phases=("inference",)), "where and when")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    texts = [t for t in texts if t not in beyond_the_axes(figure)]
    assert len(texts) > 5
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text


def test_every_module_that_declares_a_figure_is_listed_by_its_name() -> None:
    modules = [
        importlib.import_module(f"{figures.__name__}.{module.name}")
        for module in pkgutil.iter_modules(figures.__path__)
    ]

    declared = {
        module.__name__.rpartition(".")[2]: module.FIGURE
        for module in modules
        if hasattr(module, "FIGURE")
    }

    assert declared == registry.FIGURES


@pytest.mark.parametrize("figure", registry.FIGURES.values(), ids=list(registry.FIGURES))
def test_every_figure_has_its_words(figure: ReportFigure) -> None:
    assert registry.FIGURES[figure.name] is figure
    assert figure.reading.endswith(".")
    for words in (figure.heading, figure.shows):
        assert words
        assert not words.endswith(".")
