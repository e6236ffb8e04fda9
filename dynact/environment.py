"""Under what conditions a run measured: fit to be published with it."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dynact.device import Device, cpu_model
from dynact.redact import without_paths

ALLOCATOR_VARIABLES = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
)
PACKAGES = ("torch", "numpy", "pytest", "pytest-benchmark")


def describe_environment(device: Device) -> dict[str, Any]:
    """Return all that a measurement depends on and that names neither machine nor user."""
    return {
        "device": {
            "type": str(device.torch_device),
            "name": device.name,
            "memory_bytes": device.memory_bytes,
            "runtime": torch.version.cuda or torch.version.hip or torch.version.xpu,
            "driver": _driver(),
        },
        "host": {
            "cpu": cpu_model(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "clock": {
            "name": device.clock.name,
            "cache": device.clock.cache,
            "min_block_ns": device.clock.min_block_ns,
        },
        "threads": torch.get_num_threads(),
        "allocator": {
            name: without_paths(os.environ[name])
            for name in ALLOCATOR_VARIABLES
            if name in os.environ
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "git": _git(),
    }


def _driver() -> str | None:
    nvidia = Path("/proc/driver/nvidia/version")
    if sys.platform != "linux" or not nvidia.exists():
        return None
    return nvidia.read_text(encoding="utf-8").splitlines()[0].split(":", 1)[-1].strip()


def _git() -> dict[str, Any] | None:
    def git(*arguments: str) -> str | None:
        try:
            return subprocess.run(
                ("git", *arguments),
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    # Only what is measured counts: a note beside it does not make another environment.
    changed = git("status", "--porcelain", "--", ".")
    return {"commit": commit, "modified": bool(changed)} if commit else None
