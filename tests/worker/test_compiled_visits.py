"""Compiled cases: their own graphs, or an error."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dynact.worker.device import Cpu
from dynact.worker.kept import Kept
from tests.measuring import Bench, visit
from tests.worker.graphs import Graphs
from tests.worker.noting import (
    CASE,
    RECORDED,
    own,
    places,
    recorder_takes_1_ms,
)

pytestmark = pytest.mark.usefixtures("fresh_notes")


class HalfCompiled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        torch._dynamo.graph_break()
        return y + 1


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        # torch calls it deprecated, and still users have such layers.
        warnings.simplefilter("ignore", FutureWarning)
        layer: nn.Module = torch.jit.script(nn.ReLU())
    return layer


class Disabled(nn.Module):
    """Asks dynamo to leave it alone."""

    @torch._dynamo.disable
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


@pytest.mark.usefixtures("fresh_dynamo")
class TestCompile:
    """Tiny shapes: generating code takes seconds all the same."""

    def test_a_compiled_case_runs_generated_code(self) -> None:
        # Dynamo traces a layer's Python; compiled, only the traces note anything.
        name = own(CountsItsPython)
        case = replace(CASE, mode="compile", activation=name, baseline=name)
        CountsItsPython.runs = 0

        found = visit(case, Cpu())

        assert found.status == "ok", found.message
        assert CountsItsPython.runs == 0

    @pytest.mark.parametrize(
        "name", [own(HalfCompiled), f"{__name__}:{scripted.__name__}", own(Disabled)]
    )
    @pytest.mark.parametrize("side", ["activation", "baseline"])
    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_what_would_run_eagerly_on_either_side_is_an_error(
        self, graphs: Graphs, phase: str, side: str, name: str
    ) -> None:
        case = replace(CASE, mode="compile", phase=phase, activation="relu")

        found = visit(replace(case, **{side: name}), Cpu())

        assert found.status == "error"
        assert found.message
        assert found.overhead is None
        # The side that can be compiled is, if it comes first.
        assert len(graphs.shapes) == (1 if side == "baseline" else 0)

    def test_a_graph_break_says_where(self) -> None:
        found = visit(replace(CASE, mode="compile", activation=own(HalfCompiled)), Cpu())

        assert "graph_break" in found.message

    def test_a_compiler_that_is_switched_off_is_an_error(self) -> None:
        # torch's own way: undoing monkeypatch's would delete the setting for all later tests.
        with torch._dynamo.config.patch(disable=True):
            found = visit(replace(CASE, mode="compile"), Cpu())

        assert found.status == "error"
        assert "compile" in found.message

    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_cases_of_one_class_and_many_shapes_each_keep_graphs_of_their_own(
        self, graphs: Graphs, phase: str
    ) -> None:
        # More than dynamo makes of one piece of code before it falls back to eager.
        shapes = [(1 + number % 3, 3, 4, 1 + number) for number in range(12)]
        cases = [
            replace(
                CASE, mode="compile", phase=phase, activation="relu",
                batch=shape[0], channels=shape[1], height=shape[2], width=shape[3],
            )
            for shape in shapes
        ]  # fmt: skip
        bench = Bench(Cpu(), Kept(0))

        first = [bench.visit(case, seconds=0).status for case in cases]

        assert first == ["ok"] * len(cases)
        # Either side of each has one, and it is of that shape alone.
        assert graphs.shapes == [shape for shape in shapes for _ in range(2)]
        for number, case in enumerate(cases):
            called = graphs.calls.copy()

            assert bench.visit(case, seconds=0).status == "ok"

            own_graphs = {2 * number, 2 * number + 1}
            more = {i for i, calls in enumerate(graphs.calls) if calls > called[i]}
            assert more == own_graphs
        assert len(graphs.shapes) == 2 * len(cases)

    def test_a_compiled_case_keeps_its_graph_while_others_are_visited(self, graphs: Graphs) -> None:
        bench = Bench(Cpu(), Kept(0))
        case = replace(CASE, mode="compile", activation="prelu")
        others = [replace(case, batch=batch) for batch in (1, 3, 4)]
        others += [replace(case, activation="silu"), replace(case, mode="eager")]
        bench.visit(case)

        for other in others:
            assert bench.visit(other).status == "ok"
            made = len(graphs.shapes)
            found = bench.visit(case)
            assert found.status == "ok"
            assert len(graphs.shapes) == made

        # Of itself and of all but the eager one.
        assert made == 2 * len(others)

    def test_it_is_called_on_the_input_of_the_eager_case(self, graphs: Graphs) -> None:
        with recorder_takes_1_ms() as bench:
            bench.visit(RECORDED, seconds=1)
            bench.visit(replace(RECORDED, mode="compile", activation="relu", baseline="relu"))

        assert graphs.places
        assert graphs.places <= places()


class CountsItsPython(nn.Module):
    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            CountsItsPython.runs += 1
        return x.relu()
