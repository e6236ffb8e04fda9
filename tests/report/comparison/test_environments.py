"""What differs between two environments, and when times may be compared."""

import copy
from typing import Any

import pytest

from dynact.report.comparison.environments import environment_differences, times_refused


def changed(environment: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    other = copy.deepcopy(environment)
    *parts, last = path.split(".")
    here = other
    for part in parts:
        here = here.setdefault(part, {})
    here[last] = value
    return other


def test_equal_environments_differ_in_nothing(environment: dict[str, Any]) -> None:
    assert environment_differences(environment, copy.deepcopy(environment)) == {}


@pytest.mark.parametrize(
    ("path", "value", "pair"),
    [
        ("versions.torch", "2.15.0", ("2.14.1", "2.15.0")),
        ("threads", 2, ("1", "2")),
        # A run that does not say was warm.
        ("clock.cache", "cold", ("warm", "cold")),
        ("device.name", "H200", ("Some CPU @ 2.00GHz", "H200")),
        ("device.driver", "550.1", ("–", "550.1")),
        ("settings.max_seconds", 9.0, ("1.0", "9.0")),
        ("git.commit", "fedc", ("0123456789abcdef", "fedc")),
        ("allocator.LD_PRELOAD", "x", ("–", "x")),
        ("extra", ["a", "b"], ("–", "a b")),
    ],
)
def test_each_difference_is_named_with_both_values(
    environment: dict[str, Any], path: str, value: object, pair: tuple[str, str]
) -> None:
    other = changed(environment, path, value)
    assert environment_differences(environment, other) == {path: pair}
    assert environment_differences(other, environment) == {path: pair[::-1]}


def test_when_and_by_which_command_is_no_difference(environment: dict[str, Any]) -> None:
    other = changed(environment, "started", "2027-01-01") | {"command": ["pytest", "--resume"]}
    assert environment_differences(environment, other) == {}


def test_what_matters_most_comes_first(environment: dict[str, Any]) -> None:
    other = changed(changed(environment, "git.commit", "f"), "versions.python", "3.12")
    other = changed(changed(other, "versions.torch", "2.15"), "threads", 4)
    assert list(environment_differences(environment, other)) == [
        "threads", "versions.torch", "versions.python", "git.commit",
    ]  # fmt: skip


def test_times_are_compared_on_one_device_and_cpu_alone(environment: dict[str, Any]) -> None:
    assert times_refused(environment, changed(environment, "versions.torch", "2.15.0")) == ""
    refused = times_refused(environment, changed(environment, "device.name", "H200"))
    assert refused == "another device, 'Some CPU @ 2.00GHz' against 'H200'"
    refused = times_refused(environment, changed(environment, "host.cpu", "EPYC"))
    assert refused == "another CPU model, 'Some CPU @ 2.00GHz' against 'EPYC'"
    warm, cold = (changed(environment, "clock.cache", state) for state in ("warm", "cold"))
    assert times_refused(environment, cold) == "another state of the caches, 'warm' against 'cold'"
    assert times_refused(environment, warm) == ""
    event, device = (changed(environment, "clock.name", name) for name in ("event", "device"))
    assert times_refused(event, device) == "another clock, 'event' against 'device'"
