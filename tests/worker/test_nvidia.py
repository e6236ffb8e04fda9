"""What a device says of its condition, with a library that is made up."""

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from dynact.schema.visits import Visit
from dynact.worker.nvidia import SLOWDOWNS, condition_of, set_up_of

# As nvml.h numbers them.
BITS = {
    "nvmlClocksEventReasonGpuIdle": 0x1,
    "nvmlClocksEventReasonSwPowerCap": 0x4,
    "nvmlClocksEventReasonHwSlowdown": 0x8,
    "nvmlClocksEventReasonSwThermalSlowdown": 0x20,
    "nvmlClocksEventReasonHwThermalSlowdown": 0x40,
    "nvmlClocksEventReasonHwPowerBrakeSlowdown": 0x80,
}
CUDA = torch.device("cuda", 0)


class Nvml(ModuleType):
    """A made-up library of a device, with what it says and what it does not."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    def __init__(
        self,
        working: Mapping[int, int | None] = MappingProxyType({os.getpid(): 2**30}),
        reasons: int = 0,
        silent: tuple[str, ...] = (),
    ) -> None:
        super().__init__("pynvml")
        self.__dict__.update(BITS)
        self._silent = silent
        self._says: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlDeviceGetHandleByUUID": "handle",
            "nvmlDeviceGetComputeRunningProcesses": [
                SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in working.items()
            ],
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetEccMode": [1, 1],
            "nvmlDeviceGetMigMode": [0, 0],
            "nvmlDeviceGetEnforcedPowerLimit": 650_000,
            "nvmlDeviceGetCurrentClocksEventReasons": reasons,
        }
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def answer(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            if name in self._silent:
                raise self.NVMLError("Not Supported")
            return self._says[name]

        return answer


@pytest.fixture(autouse=True)
def a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(uuid="1234-56")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)


def condition(monkeypatch: pytest.MonkeyPatch, nvml: Nvml) -> dict[str, Any]:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return condition_of(CUDA)()


def test_a_device_of_one_s_own_is_undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(reasons=BITS["nvmlClocksEventReasonGpuIdle"])

    found = condition(monkeypatch, nvml)

    assert found == {
        "foreign_processes": 0, "foreign_memory_bytes": 0, "clock_mhz": 1980, "temperature_c": 61,
        "slowdowns": [],
    }  # fmt: skip
    assert ("nvmlDeviceGetHandleByUUID", "GPU-1234-56") in nvml.asked
    assert ("nvmlDeviceGetClockInfo", "handle", 1) in nvml.asked
    assert not visit(found).disturbed


def visit(found: dict[str, Any]) -> Visit:
    return Visit("rows.jsonl", "a", 1, "ok", "", 0.07, session="s", elapsed_s=1.0, **found)


OWN, CONTAINERS = os.getpid(), 7


@pytest.mark.parametrize(
    ("working", "processes", "memory_bytes"),
    [
        ({OWN: 500, 1: 30, 2: 400}, 2, 430),
        ({1: 30, OWN: None}, 1, 30),
        # A driver that does not say how much.
        ({OWN: None, 1: None}, 1, None),
        # By the numbers outside of a container it is not known which this one is.
        ({CONTAINERS: 500, 1: 30}, 1, None),
    ],
)
def test_processes_of_others_disturb(
    monkeypatch: pytest.MonkeyPatch,
    working: dict[int, int | None],
    processes: int,
    memory_bytes: int | None,
) -> None:
    found = visit(condition(monkeypatch, Nvml(working)))

    assert found.foreign_processes == processes
    assert found.foreign_memory_bytes == memory_bytes
    assert found.disturbed


def test_one_process_is_this_one_whatever_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    found = visit(condition(monkeypatch, Nvml({CONTAINERS: 500})))
    assert (found.foreign_processes, found.foreign_memory_bytes) == (0, 0)
    assert not found.disturbed


def test_nothing_is_known_of_others_where_not_even_this_one_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = visit(condition(monkeypatch, Nvml({})))
    assert (found.foreign_processes, found.foreign_memory_bytes) == (None, None)
    assert not found.disturbed


@pytest.mark.parametrize(("said", "name"), SLOWDOWNS.items())
def test_what_slows_the_clock_disturbs(
    monkeypatch: pytest.MonkeyPatch, said: str, name: str
) -> None:
    found = condition(monkeypatch, Nvml(reasons=BITS[name] | 0x4))

    assert found["slowdowns"] == [said]
    assert visit(found).disturbed


def test_a_power_limit_is_recorded_by_the_clock_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = condition(monkeypatch, Nvml(reasons=BITS["nvmlClocksEventReasonSwPowerCap"]))

    assert found["slowdowns"] == []
    assert not visit(found).disturbed


def test_what_it_does_not_say_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetCurrentClocksEventReasons")

    found = condition(monkeypatch, Nvml(silent=silent))

    assert found == {"clock_mhz": 1980, "temperature_c": 61}
    assert not visit(found).disturbed


@pytest.mark.parametrize(
    ("silent", "said"),
    [
        ((), {"ecc": True, "mig": False, "power_limit_w": 650}),
        (("nvmlDeviceGetEccMode", "nvmlDeviceGetMigMode"), {"power_limit_w": 650}),
        (("nvmlDeviceGetHandleByUUID",), {}),
    ],
)
def test_how_a_device_is_set_up_is_told_as_far_as_it_says(
    monkeypatch: pytest.MonkeyPatch, silent: tuple[str, ...], said: dict[str, Any]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(silent=silent))
    assert set_up_of(CUDA) == said


def test_without_a_driver_or_on_others_devices_it_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert condition(monkeypatch, Nvml(silent=("nvmlInit",))) == {}
    assert condition_of(torch.device("xpu"))() == set_up_of(torch.device("xpu")) == {}
    monkeypatch.setattr(torch.version, "hip", "6.3")
    assert condition_of(CUDA)() == {}


def test_without_the_library_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert condition_of(CUDA)() == {}
