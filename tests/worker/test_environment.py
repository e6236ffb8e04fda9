"""What is published of a machine, and what is not."""

import getpass
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from dynact.schema.redact import without_paths
from dynact.schema.run_folder import RunFolder, load_environment
from dynact.worker.device import open_device
from dynact.worker.environment import describe_environment


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the environment.json of a run whose command and variables name folders."""
    home = "/home/Ada_Lovelace"
    monkeypatch.setenv("LD_PRELOAD", f"{home}/lib/libjemalloc.so")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    monkeypatch.setenv("MALLOC_OWNER", "Grace_Hopper")
    monkeypatch.setenv("TOKEN", "Grace_Hopper")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,1")
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    command = ["pytest", f"{home}/dynact/benches", f"--rootdir={Path.cwd()}/x", f"-c{home}/p.ini"]
    environment = {
        "started": "2026-03-01T10:00:00",
        "command": [without_paths(word) for word in command],
        **describe_environment(open_device("cpu")),
    }
    run = RunFolder(tmp_path / "run", resume=False, environment=environment)
    stored = load_environment(run.folder)
    run.close()
    return stored


def strings_of(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [s for key, value in tree.items() for s in (key, *strings_of(value))]
    if isinstance(tree, list):
        return [s for value in tree for s in strings_of(value)]
    return [tree] if isinstance(tree, str) else []


def test_names_no_folder_host_or_user(stored: dict[str, Any]) -> None:
    strings = strings_of(stored)
    assert strings
    text = json.dumps(stored)
    assert "Ada" not in text
    # Of the variables there are, only those of the allocator are told.
    assert "Grace" not in text
    assert str(Path.home()) + os.sep not in text
    for string in strings:
        assert not any(word.startswith(("/", "~")) for word in string.split())
        words = string.replace("=", " ").split()
        # As words: "root" is also a part of other words.
        assert socket.gethostname() not in words
        assert getpass.getuser() not in words
    assert stored["command"] == ["pytest", "benches", "--rootdir=x", "-cp.ini"]


def test_says_what_a_measurement_depends_on(stored: dict[str, Any]) -> None:
    assert stored["versions"]["torch"] == torch.__version__
    assert stored["threads"] == torch.get_num_threads()
    assert stored["host"]["cores"] == os.cpu_count()
    assert stored["device"]["type"] == "cpu"
    assert stored["clock"] == {"name": "wall", "cache": "warm", "min_block_ns": 100_000}
    assert stored["allocator"]["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    assert stored["allocator"]["LD_PRELOAD"] == "libjemalloc.so"
    assert "MALLOC_MMAP_MAX_" not in stored["allocator"]
    assert stored["variables"]["CUDA_LAUNCH_BLOCKING"] == "1"
    # Which GPU of all there are is nobody's business.
    assert stored["variables"]["CUDA_VISIBLE_DEVICES"] == "GPU-…,1"


def test_is_the_same_twice() -> None:
    first, second = (describe_environment(open_device("cpu")) for _ in range(2))
    # Else no run could be resumed.
    assert first == second
    assert json.loads(json.dumps(first)) == first
