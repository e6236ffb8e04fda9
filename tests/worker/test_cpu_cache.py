"""Last-level caches of hosts whose sysfs is made up."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dynact.worker.cpu_cache import last_level_bytes

KIB = 1024
# Of a cache: level, type, size, processors that share it.
Cache = tuple[int, str, str, str]


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")


def host(folder: Path, caches: Mapping[int, list[Cache]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the sysfs of a host whose processors have these caches, all of them ours to use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(caches), raising=False)
    for cpu, listed in caches.items():
        for number, (level, kind, size, shared) in enumerate(listed):
            index = folder / f"cpu{cpu}" / "cache" / f"index{number}"
            index.mkdir(parents=True)
            for name, told in (
                ("level", level),
                ("type", kind),
                ("size", size),
                ("shared_cpu_list", shared),
            ):
                if told:
                    (index / name).write_text(f"{told}\n")
    return folder


def core(cpu: int, *last: Cache) -> list[Cache]:
    return [
        (1, "Data", "32K", f"{cpu}"),
        (1, "Instruction", "64K", f"{cpu}"),
        (2, "Unified", "1024K", f"{cpu}"),
        *last,
    ]


@pytest.mark.parametrize("threads", [1, 2, 64])
def test_one_for_all_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    caches = {cpu: core(cpu, (3, "Unified", "32768K", "0-3")) for cpu in range(4)}

    found = last_level_bytes(threads, host(tmp_path, caches, monkeypatch))

    assert found == 32_768 * KIB


@pytest.mark.parametrize(("threads", "count"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_of_several_as_many_count_as_there_are_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, count: int
) -> None:
    groups = {cpu: f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}" for cpu in range(8)}
    caches = {cpu: core(cpu, (3, "Unified", "16384K", shared)) for cpu, shared in groups.items()}

    found = last_level_bytes(threads, host(tmp_path, caches, monkeypatch))

    assert found == count * 16_384 * KIB


def test_the_largest_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {0: "4096K", 1: "12288K"}
    caches = {cpu: core(cpu, (3, "Unified", size, f"{cpu}")) for cpu, size in sizes.items()}

    assert last_level_bytes(1, host(tmp_path, caches, monkeypatch)) == 12_288 * KIB


def test_where_the_second_level_is_the_last_it_is_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert last_level_bytes(1, host(tmp_path, {0: core(0)}, monkeypatch)) == 1024 * KIB


@pytest.mark.parametrize("caches", [{0: []}, {0: [(3, "Unified", "", "0")]}])
def test_what_the_system_does_not_tell_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caches: dict[int, list[Cache]]
) -> None:
    assert last_level_bytes(1, host(tmp_path, caches, monkeypatch)) is None


def test_other_systems_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = host(tmp_path, {0: core(0)}, monkeypatch)
    monkeypatch.setattr(sys, "platform", "darwin")

    assert last_level_bytes(1, folder) is None
