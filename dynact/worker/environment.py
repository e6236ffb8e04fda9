"""Under what conditions a run measured: fit to be published with it."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from dynact.schema.redact import without_paths
from dynact.worker.device import Device, cpu_model

# Of those that change how fast or with what torch computes.
VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_VISIBLE_DEVICES",
    "GOMP_CPU_AFFINITY",
    "HIP_LAUNCH_BLOCKING",
    "HIP_VISIBLE_DEVICES",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "ONEDNN_MAX_CPU_ISA",
    "PYTORCH_MPS_HIGH_WATERMARK_RATIO",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_CUDNN_V8_API_DISABLED",
)
ALLOCATOR_VARIABLES = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
)
# As CUDA_VISIBLE_DEVICES may name a GPU: no two have the same, wherever they are.
_UUID = re.compile(r"\b((?:GPU|MIG)-)[0-9a-f]+(?:-[0-9a-f]+)*", re.IGNORECASE)
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
            "cache_bytes": device.cache_bytes(),
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
        "allocator": _set(ALLOCATOR_VARIABLES),
        "variables": _set(VARIABLES),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            **{package: version(package) for package in PACKAGES},
        },
        "git": _git(),
    }


def _set(variables: Iterable[str]) -> dict[str, str]:
    """Return which of some variables are set, and to what, but for numbers of single devices."""
    return {
        name: _UUID.sub(r"\1…", without_paths(os.environ[name]))
        for name in variables
        if name in os.environ
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
