"""The bytes of each operator against those of the whole step, and against closed forms."""

import pytest

from dynact import activations
from dynact.schema.cases import PHASES, Case
from dynact.worker.device import Cpu
from dynact.worker.profile import OperatorTraffic, traffic_of_operators
from tests.sweeping import case_of
from tests.worker.profile.profiling import counted, tables

EVERY_CASE = [
    case_of(name, phase=phase, channels=8, height=6, width=6)
    for name in activations.names()
    for phase in PHASES
]


@pytest.mark.parametrize("case", EVERY_CASE, ids=lambda case: case.id)
def test_what_was_counted_is_what_was_profiled_in_the_same_order(case: Case) -> None:
    of_the_step = counted(case)

    traffic = traffic_of_operators(case, Cpu())
    profiled = tables(case, steps=1)

    assert profiled.operators == len(traffic) == of_the_step["operator_calls"]
    for name, operator in zip(profiled.timeline["kernel"], traffic, strict=True):
        assert operator.by(name) is not None, (name, operator.name)
    known = profiled.kernels[profiled.kernels["bytes"].notna()]
    assert known["calls"].sum() == profiled.operators
    assert known["bytes"].sum() == of_the_step["traffic_eager_bytes"]


def test_a_scatter_in_place_moves_indices_values_and_as_many_elements() -> None:
    case = case_of("dyrelu_b", phase="training", channels=8, height=6, width=6)

    kernels = tables(case).kernels

    [scattered_bytes] = kernels.loc[kernels["kernel"] == "aten::scatter_", "bytes"]
    elements = case.input_bytes // 4
    assert scattered_bytes == elements * (8 + 4 + 4)


def test_bytes_are_of_the_operator_that_was_counted_or_of_its_form_in_place() -> None:
    add = OperatorTraffic("aten::add", 12)
    zeros = OperatorTraffic("aten::new_zeros", 4)

    assert (add.by("aten::add"), add.by("aten::add_"), add.by("aten::mul")) == (12, 12, None)
    assert (zeros.by("aten::zeros"), zeros.by("aten::ones")) == (4, None)
