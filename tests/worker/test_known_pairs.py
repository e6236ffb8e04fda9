"""The gate's verdict on comparisons made up for the purpose, and on devices in virtual time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dynact.sweep.progress import gate_lines
from dynact.timing import Comparison
from dynact.worker import known_pairs as gate
from dynact.worker.device import Cpu
from tests.fake_device import Kernels, VirtualDevice

pytestmark = pytest.mark.usefixtures("one_thread")

GOOD = Comparison(
    overhead=1.001,
    overhead_lo=0.999,
    overhead_hi=1.003,
    pairs=40,
    target_ns=5e4,
    baseline_ns=5e4,
    converged=True,
    speed_drift=1.0,
    confidence=0.999,
    calling_s=0.0,
    target_samples_ns=(5e4, 5.1e4, 4.9e4),
    baseline_samples_ns=(5e4, 5e4, 5e4),
)
MORE = replace(GOOD, overhead=1.018, overhead_lo=1.012, overhead_hi=1.024)


class Judge:
    """Stands in for the comparison: it notes what it is asked and answers what it was told."""

    def __init__(self, with_itself: Comparison, with_more: Comparison) -> None:
        self.answers = [with_itself, with_more]
        self.asked: list[dict[str, Any]] = []

    def __call__(self, target: Any, baseline: Any, **settings: Any) -> Comparison:
        assert torch.is_inference_mode_enabled()
        target()
        baseline()
        self.asked.append(settings)
        return self.answers[len(self.asked) - 1]


def verdict_on(
    monkeypatch: pytest.MonkeyPatch, with_itself: Comparison = GOOD, with_more: Comparison = MORE
) -> dict[str, Any]:
    monkeypatch.setattr(gate, "compare", Judge(with_itself, with_more))
    return gate.compare_known_pairs(Cpu()).figures


def test_good_comparisons_make_it_trustworthy(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = verdict_on(monkeypatch, replace(GOOD, calling_s=0.25), replace(MORE, calling_s=0.5))

    assert verdict["trustworthy"] is True
    assert verdict["message"] == ""
    assert verdict["timing_s"] == 0.75


@pytest.mark.parametrize("low_and_high", [(1.0001, 1.004), (0.996, 0.9999)])
def test_an_interval_that_excludes_one_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, low_and_high: tuple[float, float]
) -> None:
    low, high = low_and_high
    off = replace(GOOD, overhead=(low + high) / 2, overhead_lo=low, overhead_hi=high)

    verdict = verdict_on(monkeypatch, with_itself=off)

    assert verdict["trustworthy"] is False
    assert verdict["message"] == f"ReLU against itself excludes 1: {off}"


@pytest.mark.parametrize("low_and_high", [(1.0, 1.004), (0.996, 1.0)])
def test_an_interval_that_ends_at_one_includes_it(
    monkeypatch: pytest.MonkeyPatch, low_and_high: tuple[float, float]
) -> None:
    low, high = low_and_high
    touching = replace(GOOD, overhead=(low + high) / 2, overhead_lo=low, overhead_hi=high)

    assert verdict_on(monkeypatch, with_itself=touching)["trustworthy"] is True


@pytest.mark.parametrize("overhead", [1.0051, 0.9949, 1.3])
def test_a_wide_interval_does_not_excuse_a_ratio_off_by_more_than_the_tolerance(
    monkeypatch: pytest.MonkeyPatch, overhead: float
) -> None:
    vague = replace(GOOD, overhead=overhead, overhead_lo=0.5, overhead_hi=1.5)

    verdict = verdict_on(monkeypatch, with_itself=vague)

    assert verdict["trustworthy"] is False
    assert verdict["message"] == f"ReLU against itself is off by more than 0.5%: {vague}"


@pytest.mark.parametrize("overhead", [0.9951, 1.0049])
def test_a_ratio_within_the_tolerance_is_none(
    monkeypatch: pytest.MonkeyPatch, overhead: float
) -> None:
    near = replace(GOOD, overhead=overhead, overhead_lo=0.9, overhead_hi=1.1)

    assert verdict_on(monkeypatch, with_itself=near)["trustworthy"] is True


@pytest.mark.parametrize(
    "low_and_high", [(0.99, 1.024), (1.0, 1.024), (0.976, 0.988)], ids=["wide", "touching", "less"]
)
def test_more_elements_that_do_not_show_are_a_fault(
    monkeypatch: pytest.MonkeyPatch, low_and_high: tuple[float, float]
) -> None:
    low, high = low_and_high
    blind = replace(MORE, overhead=(low + high) / 2, overhead_lo=low, overhead_hi=high)

    verdict = verdict_on(monkeypatch, with_more=blind)

    assert verdict["trustworthy"] is False
    assert verdict["message"] == f"ReLU on more elements is not seen to take longer: {blind}"


@pytest.mark.parametrize("overhead", [1.0002, 1.5])
def test_more_elements_need_only_be_seen(monkeypatch: pytest.MonkeyPatch, overhead: float) -> None:
    seen = replace(MORE, overhead=overhead, overhead_lo=1.0001, overhead_hi=2.0)

    assert verdict_on(monkeypatch, with_more=seen)["trustworthy"] is True


def test_every_fault_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    off = replace(GOOD, overhead=1.2, overhead_lo=1.1, overhead_hi=1.3)
    blind = replace(MORE, overhead_lo=0.9)

    message = verdict_on(monkeypatch, off, blind)["message"]

    faults = message.split("; ")
    assert [fault.split(":")[0] for fault in faults] == [
        "ReLU against itself excludes 1",
        "ReLU against itself is off by more than 0.5%",
        "ReLU on more elements is not seen to take longer",
    ]


def test_figures_and_samples_are_those_of_the_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "compare", Judge(GOOD, MORE))

    answer = gate.compare_known_pairs(Cpu())

    verdict, samples_ns = answer.figures, answer.samples_ns
    assert (verdict["self_overhead"], verdict["self_overhead_lo"], verdict["self_overhead_hi"]) == (
        1.001,
        0.999,
        1.003,
    )
    assert (verdict["more_overhead"], verdict["more_overhead_lo"], verdict["more_overhead_hi"]) == (
        1.018,
        1.012,
        1.024,
    )
    # One column more on 56.
    assert verdict["more_elements"] == pytest.approx(57 / 56)
    assert samples_ns == (5e4, 5.1e4, 4.9e4)
    assert 0 <= verdict["timing_s"] <= verdict["case_s"]


def test_a_device_too_small_for_it_is_not_trustworthy_but_no_obstacle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(*_: object, **__: object) -> Comparison:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 196.00 MiB")

    monkeypatch.setattr(gate, "compare", no_room)

    answer = gate.compare_known_pairs(Cpu())

    verdict, samples_ns = answer.figures, answer.samples_ns

    assert verdict["trustworthy"] is False
    assert "could not run: CUDA out of memory" in verdict["message"]
    assert verdict["self_overhead"] is None
    ((line, trustworthy),) = gate_lines([verdict])
    assert not trustworthy
    assert "could not run" in line
    assert samples_ns == ()


def test_asks_for_more_than_a_usual_case(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(GOOD, MORE)
    monkeypatch.setattr(gate, "compare", judge)
    device = Cpu()

    gate.compare_known_pairs(device)

    assert len(judge.asked) == 2
    for settings in judge.asked:
        assert settings["clock"] is device.clock
        # As fine as the tolerance, or the gate could not tell; and rarely a false alarm.
        assert settings["precision"] <= gate.TOLERANCE
        assert settings["confidence"] >= 0.999


def verdict_in_virtual_time(
    torch_device: str, relu_ns: Callable[[int], float]
) -> tuple[dict[str, Any], tuple[float, ...]]:
    """Run the gate where ReLU takes so long for a number of elements."""
    device = VirtualDevice(torch_device)

    def kernel_ns(name: str, y: Tensor) -> float:
        assert y.device.type == torch_device
        return relu_ns(y.numel()) if name == "relu" else 0.0

    with Kernels(device.accelerator, kernel_ns):
        answer = gate.compare_known_pairs(device)
    return answer.figures, answer.samples_ns


# In the caches of a CPU; on any other device, far beyond them.
ELEMENTS = {"cpu": 32 * 56 * 56, "meta": 64 * 256 * 56 * 56}


@pytest.mark.parametrize("torch_device", ["cpu", "meta"])
def test_a_device_that_takes_its_time_by_the_element_is_trustworthy(torch_device: str) -> None:
    verdict, samples_ns = verdict_in_virtual_time(torch_device, lambda elements: elements)

    assert verdict["message"] == ""
    assert verdict["trustworthy"] is True
    # One column more on 56 takes by as much longer as it has more elements, and not less.
    for figure in ("more_elements", "more_overhead", "more_overhead_lo", "more_overhead_hi"):
        assert verdict[figure] == pytest.approx(57 / 56, rel=1e-4)
    for figure in ("self_overhead", "self_overhead_lo", "self_overhead_hi"):
        assert verdict[figure] == pytest.approx(1, rel=1e-4)
    assert samples_ns == pytest.approx([ELEMENTS[torch_device]] * len(samples_ns), rel=1e-4)
    assert verdict["timing_s"] > sum(samples_ns) / 1e9


@pytest.mark.parametrize("torch_device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("relu_ns", "more_overhead"),
    [(lambda _elements: 1e5, 1), (lambda elements: 1e12 / elements, 56 / 57)],
    ids=["always the same", "less for more"],
)
def test_a_device_on_which_more_elements_do_not_take_longer_is_not(
    torch_device: str, relu_ns: Callable[[int], float], more_overhead: float
) -> None:
    verdict, _ = verdict_in_virtual_time(torch_device, relu_ns)

    assert verdict["trustworthy"] is False
    assert verdict["message"].startswith("ReLU on more elements is not seen to take longer: ")
    assert verdict["more_overhead"] == pytest.approx(more_overhead, rel=1e-4)
    assert verdict["self_overhead"] == pytest.approx(1, rel=1e-4)
