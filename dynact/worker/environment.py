"""Under what conditions a run measured: fit to be published with it."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from dynact.schema.redact import without_paths
from dynact.worker.device import Device, cpu_model

ALLOCATOR_VARIABLES = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
)
PACKAGE = Path(__file__).parents[1]
PACKAGES = ("numpy", "pytest", "pytest-benchmark", "scikit-learn", "torchvision")


def describe_environment(device: Device) -> dict[str, Any]:
    """Return all that a measurement depends on and that names neither machine nor user."""
    return {
        "device": {
            "type": str(device.torch_device),
            "name": device.name,
            # Rounded: a kernel update moves it by some kB, and a run could not be resumed.
            "memory_gib": round(device.memory_bytes / 2**30),
            **device.describe(),
        },
        "host": {
            "cpu": cpu_model(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "max_mhz": getattr(psutil.cpu_freq(), "max", None) or None,
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
            "torch": str(torch.__version__),
            **{package: version(package) for package in PACKAGES},
        },
        "git": _git(),
    }


def _git() -> dict[str, Any] | None:
    def git(*arguments: str) -> str | None:
        try:
            return subprocess.run(
                ("git", *arguments),
                cwd=PACKAGE,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = git("rev-parse", "HEAD")
    # Only what is measured counts: a note beside it does not make another environment.
    changed = git("status", "--porcelain", "--", ".")
    return {"commit": commit, "modified": bool(changed)} if commit else None
