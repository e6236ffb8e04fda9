#!/usr/bin/env bash
# torch 2.14.1: torch.compile(dynamic=True) does not make the sizes of parameters variable.
#
# dynamic=True is to compile a function once for all sizes. Of a function that takes weights as
# arguments this holds only while they are plain tensors: where an argument is an nn.Parameter, its
# sizes are constants all the same (torch._dynamo.config.force_parameter_static_shapes), and so is
# whatever size of the input they are combined with. A function that is called for layers of many
# widths is compiled anew for each, until the limit of 8 (recompile_limit) raises or falls back to
# eager code. The same tensors after .detach() are served by one graph.
#
# Seen: graphs for three widths 3 with parameters, 1 with the same ones detached. Exit code 0 while
# that is so, 1 when it has changed.
# dynact detaches them before its graphs: dynact/activations/fused/graph.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/widths.py" <<'PYTHON'
import sys

import torch
from torch import nn


def graphs(kind):
    count = 0

    def backend(graph, _inputs):
        nonlocal count
        count += 1
        return graph.forward

    def scaled(x, weight):
        return x * weight.reshape(1, -1, 1, 1)

    torch._dynamo.reset()
    compiled = torch.compile(scaled, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for width in (16, 24, 40):
            compiled(torch.randn(2, width, 7, 9), kind(nn.Parameter(torch.randn(width))))
    return count


found = graphs(lambda weight: weight), graphs(lambda weight: weight.detach())
print(f"torch {torch.__version__}: graphs for three widths: {found[0]} with parameters, {found[1]} with the same detached")
sys.exit(found != (3, 1))
PYTHON
"$folder/venv/bin/python" "$folder/widths.py"
