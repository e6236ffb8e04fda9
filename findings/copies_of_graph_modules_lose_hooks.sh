#!/usr/bin/env bash
# torch 2.14.1: copy.deepcopy of a torch.fx.GraphModule drops its forward hooks without a word.
#
# A copy of any other module has the hooks of the original. GraphModule has a __deepcopy__ of its
# own that carries over a list of attributes, in which hooks of state_dict are, but not those of
# forward and backward. Networks by torchvision's create_feature_extractor, quantised ones and
# exported ones are GraphModules: whoever watches or changes such a network by hooks, and then
# copies it (an average of weights, a worker of one's own, a swap of layers), goes on without them.
#
# Seen: hooks run 1 time in the copy of a Sequential, 0 times in that of its GraphModule; those on a
# child of it run.
# Exit code 0 while that is so, 1 when it has changed.
# dynact changes the graph of such modules instead: dynact/networks/placing.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/copies.py" <<'PYTHON'
import copy
import sys

import torch
from torch import fx, nn

runs = 0


def count(module, args, output):
    global runs
    runs += 1


def runs_in_copy(module, hooked):
    global runs
    hooked.register_forward_hook(count)
    copied = copy.deepcopy(module)
    runs = 0
    copied(torch.ones(1, 2))
    return runs


def network():
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU())


plain, whole, by_child = network(), fx.symbolic_trace(network()), fx.symbolic_trace(network())
found = (
    runs_in_copy(plain, plain),
    runs_in_copy(whole, whole),
    runs_in_copy(by_child, by_child.get_submodule("1")),
)
print(
    f"torch {torch.__version__}: hooks run in a copy of a Sequential {found[0]}, "
    f"of a GraphModule {found[1]}, of a child of a GraphModule {found[2]}"
)
sys.exit(found != (1, 0, 1))
PYTHON
"$folder/venv/bin/python" "$folder/copies.py"
