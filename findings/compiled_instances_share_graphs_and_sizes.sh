#!/usr/bin/env bash
# torch 2.14.1: what torch.compile makes of a module depends on other instances of its class.
#
# Module.compile() looks like a property of that instance. Dynamo keeps what it compiled with the
# code object of forward, which all instances share: a second nn.ReLU that meets the first one's
# shape compiles nothing (a check that "a graph was captured" sees none), and a third that meets
# another shape for the first time in its life is compiled for sizes that vary, because to Dynamo
# the size has changed. Whoever benchmarks one compiled layer after the other in one process so
# measures static code for the first shape and dynamic code for all others.
#
# Seen: graphs captured 1, 0, 1; sizes of the inputs [2, 8, 4, 4], none, [2, s…, 4, 4]. A forward with
# a code object of its own and dynamic=False: 1, 1, 1 and numbers alone. Exit code 0 while that is so,
# 1 when it has changed.
# dynact gives each layer a code object of its own: dynact/worker/compiled.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/instances.py" <<'PYTHON'
import sys

import torch
from torch import nn

SMALL, LARGE = (2, 8, 4, 4), (2, 16, 4, 4)
seen = []


def backend(graph, _inputs):
    (x,) = (node for node in graph.graph.nodes if node.op == "placeholder" and node.type is not torch.SymInt)
    seen.append([str(size) for size in x.meta["example_value"].shape])
    return graph.forward


def first_sizes(compiled):
    found = []
    for shape in (SMALL, SMALL, LARGE):
        seen.clear()
        compiled(nn.ReLU())(torch.ones(shape))
        found.append(seen[0] if seen else None)
    return found


def as_methods_are(layer):
    layer.compile(backend=backend)
    return layer


def with_code_of_its_own(layer):
    def forward(x):
        return layer(x)

    forward.__code__ = forward.__code__.replace()
    return torch.compile(forward, backend=backend, dynamic=False)


shared = first_sizes(as_methods_are)
torch.compiler.reset()
own = first_sizes(with_code_of_its_own)
print(torch.__version__, shared, own, sep="\n")
numbers = [list(map(str, shape)) for shape in (SMALL, SMALL, LARGE)]
is_so = shared[:2] == [numbers[0], None] and shared[2] and not shared[2][1].isdigit() and own == numbers
sys.exit(0 if is_so else 1)
PYTHON
"$folder/venv/bin/python" "$folder/instances.py"
