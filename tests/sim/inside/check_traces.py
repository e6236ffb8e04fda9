"""The profiler's traces of the device: every kernel, as long as the cost model says."""

from dataclasses import replace

import pytest
from sim_backend import configure

from dynact.schema.cases import PHASES
from dynact.schema.profile import NO_OPERATOR
from dynact.worker.device import open_device
from dynact.worker.profile import profile_case
from tests.sim.oracle import KERNELS, Oracle
from tests.sweeping import case_of

ORACLE = Oracle(launch_ns=10.0, latency_ns=2e3, bytes_per_ns=1.0, flops_per_ns=100.0)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", ["prelu", "frelu"])
def test_a_step_is_all_of_its_kernels(name: str, phase: str) -> None:
    configure(0, **vars(ORACLE))
    case = case_of(name, phase=phase, device="sim:0", channels=16, height=14, width=14)
    found = profile_case(case, open_device("sim:0"), 3)
    tables = found.tables
    assert found.on_accelerator
    assert tables.coverage == 1
    assert tables.step_ns == pytest.approx(found.untraced_ns, rel=1e-3)
    assert tables.kernels["time_ns"].sum() == tables.step_ns
    if (name, phase) in KERNELS:
        assert tables.step_ns == pytest.approx(ORACLE.call_ns(name, case), rel=1e-3)
        assert len(tables.kernels) == len(KERNELS[name, phase])
    assert "allocates nothing" not in found.memory_page


@pytest.mark.parametrize("phase", PHASES)
def test_a_graph_s_step_is_the_same_kernels_of_no_operator(phase: str) -> None:
    configure(0, **vars(ORACLE))
    case = case_of("prelu", phase=phase, device="sim:0", channels=16, height=14, width=14)
    device = open_device("sim:0")
    eager, graph = (
        profile_case(replace(case, mode=mode), device, 3).tables for mode in ("eager", "graph")
    )
    assert graph.coverage == 1
    # Each kernel's time is a whole number of ns.
    assert graph.step_ns == pytest.approx(ORACLE.device_ns("prelu", case), rel=1e-3)
    assert set(graph.kernels["operator"]) == {NO_OPERATOR}
    assert sorted(graph.kernels["kernel"]) == sorted(eager.kernels["kernel"])
