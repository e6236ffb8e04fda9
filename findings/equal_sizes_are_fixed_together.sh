#!/usr/bin/env bash
# torch 2.14.1: under torch.compile(dynamic=True) a size is fixed that only happened to equal a fixed one.
#
# dynamic=True is to keep all sizes variable but 0 and 1. Sizes that are equal in the first call get
# one symbol ("duck shaping"); when the code then has to fix one of them, here because three slices
# are added one by one to a row of as many numbers, all that were equal are fixed with it: also a
# batch that no line of the function looks at. The same function is compiled once for batches of 3,
# 5 and 8 where the first call has 5, and twice where it has 3. No message says so; a benchmark that
# compiles where it times sees seconds at one shape and none at another. With
# torch.fx.experimental._config.use_duck_shape = False each size has a symbol of its own.
#
# Seen: graphs 1 if the first batch is 5, 2 if it is 3, 1 if it is 3 and use_duck_shape is off.
# Exit code 0 while that is so, 1 when it has changed.
# dynact compiles so: dynact/activations/fused/graph.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/equal.py" <<'PYTHON'
import sys

import torch
from torch.fx.experimental import _config


def graphs(batches, duck_shape=True):
    count = 0

    def backend(graph, _inputs):
        nonlocal count
        count += 1
        return graph.forward

    def mixed(x, weights):
        return sum(weights[k] * x[:, k] for k in range(weights.shape[0]))

    torch._dynamo.reset()
    with _config.patch(use_duck_shape=duck_shape):
        compiled = torch.compile(mixed, fullgraph=True, dynamic=True, backend=backend)
        for batch in batches:
            compiled(torch.randn(batch, 7, 11), torch.randn(3))
    return count


found = graphs((5, 3, 8)), graphs((3, 5, 8)), graphs((3, 5, 8), duck_shape=False)
print(f"torch {torch.__version__}: graphs if the first batch is 5: {found[0]}, 3: {found[1]}, 3 without duck shapes: {found[2]}")
sys.exit(found != (1, 2, 1))
PYTHON
"$folder/venv/bin/python" "$folder/equal.py"
