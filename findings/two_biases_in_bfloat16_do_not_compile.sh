#!/usr/bin/env bash
# torch 2.14.1 on a CPU: a step whose gradients hold one bfloat16 sum twice does not compile in channels_last.
#
# A layer that adds two biases, as two parallel branches with BatchNorm do, has the same gradient for
# both: one sum over batch and map. In channels_last the C++ that torch.compile's default backend
# generates for it stores the sum's bfloat16 value in two buffers, and declares the variable that
# holds the value twice: the compiler stops at "conflicting declaration" (g++), and the call raises
# InductorError. The same step in float32, or in contiguous memory, compiles. That a layer trains
# compiled in one dtype and memory format says nothing about the others.
#
# Seen: float32 contiguous, float32 channels_last and bfloat16 contiguous compile, bfloat16
# channels_last raises. Exit code 0 while that is so, 1 when it has changed. It needs a C++ compiler.
# dynact adds such shifts before it adds them to the map: dynact/activations/fused/funnel.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/biases.py" <<'PYTHON'
import sys

import torch
from torch._inductor.exc import InductorError


def step(x, gradient, first, second):
    def branches(first, second):
        return torch.relu(x + first.reshape(1, -1, 1, 1) + second.reshape(1, -1, 1, 1))

    return torch.func.vjp(branches, first, second)[1](gradient)


def outcome(dtype, layout):
    torch.manual_seed(0)
    x, gradient = (torch.randn(3, 6, 5, 8, dtype=dtype).to(memory_format=layout) for _ in range(2))
    biases = torch.randn(2, 6, dtype=dtype)
    torch._dynamo.reset()
    try:
        found = torch.compile(step, fullgraph=True)(x, gradient, *biases)
    except InductorError as error:
        if "conflicting declaration" not in str(error) and "redefinition" not in str(error):
            raise
        return "does not compile"
    for ours, theirs in zip(found, step(x, gradient, *biases)):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)
    return "compiles"


found = [
    outcome(dtype, layout)
    for dtype in (torch.float32, torch.bfloat16)
    for layout in (torch.contiguous_format, torch.channels_last)
]
print(f"torch {torch.__version__}: float32 contiguous, channels_last, bfloat16 contiguous, channels_last:", ", ".join(found))
sys.exit(found != ["compiles", "compiles", "compiles", "does not compile"])
PYTHON
TORCHINDUCTOR_CACHE_DIR="$folder/cache" "$folder/venv/bin/python" "$folder/biases.py"
