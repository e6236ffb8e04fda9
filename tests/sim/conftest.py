"""The simulated accelerator, compiled, and the environment of processes that have it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sim.backend import build

# How torch's own autoload finds a device: an entry point of a distribution on the path.
ENTRY_POINT = "[torch.backends]\nsim = sim_backend:load\n"

Environment = dict[str, str]


@pytest.fixture(scope="session")
def with_sim(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Environment]:
    """Return what makes the environment of a process whose torch has the device.

    Its arguments are what the cost models of sim:0, sim:1 have other than default.
    """
    if missing := build.missing_tools():
        reason = f"the simulated accelerator is to be compiled, and there is no {missing[0]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        compiled = build.library()
    except subprocess.CalledProcessError as error:
        pytest.fail(error.output)
    site = tmp_path_factory.mktemp("site")
    shutil.copy(Path(build.__file__).with_name("sim_backend.py"), site)
    distribution = site / "sim_backend-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: sim_backend\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text(ENTRY_POINT)

    def environment(*models: dict[str, Any]) -> Environment:
        return {
            "PYTHONPATH": str(site),
            "SIM_LIBRARY": str(compiled),
            "SIM_MODELS": json.dumps(models),
        }

    return environment
