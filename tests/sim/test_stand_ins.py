"""A default user's commands on devices that say less of themselves, by stand-ins.

The simulated accelerator with no function in its module that torch's module of the other device
has not, and without what that device lacks besides.
"""

import json
import shutil
from collections.abc import Callable

import pandas as pd
import pytest

import dynact
from tests.sim.conftest import Environment
from tests.sim.test_sweep import BRIEF, DEVICES
from tests.sweeping import ROOT, House, finish

STAND_INS = {
    # Without the memory's size, a name, properties and statistics, and unseen by the profiler.
    "mps": "kernels doubles statistics",
    # Its driver may hand the profiler no kernels.
    "xpu": "kernels",
    # Without the memory's size and a name.
    "mtia": "",
}


@pytest.fixture(params=STAND_INS)
def like(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def house(
    like: str, tmp_path_factory: pytest.TempPathFactory, with_sim: Callable[..., Environment]
) -> House:
    house = House(tmp_path_factory.mktemp("house") / "dynact")
    shutil.copytree(ROOT / "scripts", house.folder / "scripts")
    house.environment = with_sim(vars(DEVICES["sim:0"]))
    house.environment |= {"SIM_LIKE": like, "SIM_LACKS": STAND_INS[like]}
    return house


@pytest.mark.slow
def test_what_a_user_runs_by_default(house: House, like: str) -> None:
    # One that is compared with its reference, in float64 where there is one.
    of_layers = ("--activations", "dyrelu_a", "--impls", "reference,lines", "--channels", "8")
    swept = house.sweep(
        *BRIEF, *of_layers, "--resolutions", "7", "--networks", "lenet", "--run", "night"
    )
    assert swept.returncode == 0, swept.said
    run = house.reports / "night"
    rows = dynact.load(run)
    assert set(rows["status"]) == {"ok"}, rows["message"].unique()
    assert set(rows["impl"]) == {"reference", "lines"}
    assert set(rows["clock"]) == {"event"}
    assert set(rows["device"]) == {"sim"}
    statistics = "statistics" not in STAND_INS[like]
    assert set(rows["peak_source"]) == {"allocator" if statistics else "tracker"}
    networks = (run / "network_rows.jsonl").read_text().splitlines()
    assert {json.loads(line)["status"] for line in networks} == {"ok"}

    traced = finish(house.start_command(("python", "scripts/profile_traces.py", "--steps", "2")))
    assert "Traceback" not in traced.said
    if "kernels" in STAND_INS[like]:
        assert traced.returncode == 1
        failed = pd.read_csv(run / "traces" / "failed.csv")
        assert len(failed) > 0
        assert all("the trace holds nothing of what the device did" in m for m in failed["message"])
    else:
        assert traced.returncode == 0, traced.said

    drawn = finish(house.start_command(("python", "scripts/plot_overhead.py")))
    assert drawn.returncode == 0, drawn.said
    assert (run / "index.html").exists()
