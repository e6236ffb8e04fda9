"""What is said of activations with an input of their own, where there are any and nowhere else."""

from collections.abc import Callable

import pandas as pd

from dynact.report.data.own_inputs import own_inputs
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.memory import memory
from dynact.report.figures.overhead_ranking import overhead_ranking
from dynact.report.tables.summary import summary_markdown
from tests.report.sample_run import run_of

Build = Callable[..., pd.DataFrame]
GATES = "SwiGLU, GEGLU: the channels shown are the output's, and the input has twice as many."
IN_PLACE = "ReLU in place writes into an input of its own."


def test_nothing_is_said_of_others(make_rows: Build) -> None:
    assert own_inputs(make_rows(("prelu", "frelu"))) == ""
    assert own_inputs(make_rows(("my.layers:SwiGLU",))) == ""


def test_gates_and_what_writes_in_place_are_named(make_rows: Build) -> None:
    rows = make_rows(("swiglu", "prelu", "geglu"))
    assert own_inputs(rows) == GATES

    inference = make_rows(("relu_inplace", "prelu"), phases=("inference",))
    assert own_inputs(inference) == IN_PLACE
    training = own_inputs(make_rows(("relu_inplace", "prelu")))
    assert training.startswith(f"{IN_PLACE} In training both it and what it is compared with")


def test_so_is_a_baseline_and_an_implementation(make_rows: Build) -> None:
    assert "GEGLU: the channels" in own_inputs(make_rows(("prelu",)).assign(baseline="geglu"))
    assert "GEGLU Mine: the channels" in own_inputs(make_rows(("geglu my:Mine",)))


def test_figures_and_tables_say_it(make_rows: Build) -> None:
    rows = make_rows(("swiglu", "prelu", "geglu"))

    for draw in (memory, overhead_ranking):
        words = " ".join(text.get_text() for text in draw(SettingsGroup(rows)).texts)
        assert GATES in " ".join(words.split())
    none = pd.DataFrame()
    run = run_of(rows=rows, environment={}, gates=[], limits=None, networks=none, sites=none)
    assert summary_markdown(run).count(GATES) == 2
