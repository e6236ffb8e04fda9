#!/usr/bin/env bash
# torch 2.14.1: torch.accelerator.Graph captures nothing on CUDA, the device it is most wanted for.
#
# The class is documented for accelerators in general, and its pages show how to capture and replay
# on one; but which devices have it is looked up in a registry (ATen/core/GraphImplInterface.h) as
# the class is made, and CUDA's library enters nothing there: of the headers that torch installs only
# XPU's derives from its interface. On a CUDA build the constructor raises, before anything asks for
# a GPU. torch.cuda.CUDAGraph is what captures there, and has all methods needed
# (capture_begin, capture_end, replay, reset), but is no context manager.
#
# Seen, with and without a GPU, as a library enters what it has while it is loaded:
# "RuntimeError: Graph is not supported on device type: cuda"; libtorch_cuda.so does not know the
# registry's name, libtorch_cpu.so, which owns it, does.
# Exit code 0 while that is so, 1 when it has changed.
# dynact takes CUDA's own there: dynact/worker/device.py, Accelerator.new_graph.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# From PyPI, where torch for Linux is the CUDA build.
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/graph.py" <<'PYTHON'
import sys
from mmap import ACCESS_READ, mmap
from pathlib import Path

import torch

if torch.version.cuda is None:
    sys.exit(f"torch {torch.__version__} is no CUDA build: nothing is shown")


def knows_registry(library):
    with (Path(torch.__file__).parent / "lib" / library).open("rb") as file:
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return content.find(b"GraphImplRegistry") >= 0


known = [name for name in ("libtorch_cpu.so", "libtorch_cuda.so") if knows_registry(name)]
try:
    torch.accelerator.Graph()
    said = "made"
except RuntimeError as error:
    said = str(error)
print(
    f"torch {torch.__version__}, device {torch.accelerator.current_accelerator()}: {said}; "
    f"the registry is known to {', '.join(known)}"
)
sys.exit(not (said == "Graph is not supported on device type: cuda" and known == ["libtorch_cpu.so"]))
PYTHON
"$folder/venv/bin/python" "$folder/graph.py"
