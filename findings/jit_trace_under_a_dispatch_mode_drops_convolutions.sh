#!/usr/bin/env bash
# torch 2.14.1: torch.jit.trace while FLOPs are counted gives a module without its convolutions.
#
# While a TorchDispatchMode is active, as torch.utils.flop_counter.FlopCounterMode is, the tracer
# loses sight of what a convolution returns, and keeps the value for the example as a constant. The
# traced module is valid, runs, and returns what it should for the example alone: with check_trace,
# which calls it on the example again, nothing is said. Linear and batch_norm stay. Tools that count
# by a trace (fvcore) and by a mode must not do both at once.
#
# Seen: without the mode the graph has _convolution and sigmoid, and is right for another input;
# under FlopCounterMode it has sigmoid alone, raises and warns nothing, and is wrong.
# Exit code 0 while that is so, 1 when it has changed.
# dynact looks for hidden work in a pass of its own: dynact/cost/hidden.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/traces.py" <<'PYTHON'
import contextlib
import sys
import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Sigmoid()).eval()
example = torch.ones(1, 2, 5, 5)
other = 2 * example


def traced(mode):
    with torch.no_grad(), mode, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trace = torch.jit.trace(network, example)
    with torch.no_grad():
        right = torch.equal(trace(other), network(other))
    kinds = [node.kind() for node in trace.inlined_graph.nodes()]
    operators = [kind for kind in kinds if kind.startswith("aten::")]
    warned = [w for w in said if not issubclass(w.category, (FutureWarning, DeprecationWarning))]
    return operators, right, len(warned)


alone = traced(contextlib.nullcontext())
under = traced(FlopCounterMode(display=False))
for name, (operators, right, warned) in (("without a mode", alone), ("under it", under)):
    print(
        f"torch {torch.__version__}, {name}: {operators}, "
        f"right for another input {right}, warnings {warned}"
    )
convolution = "aten::_convolution"
sigmoid = "aten::sigmoid"
expected = ([convolution, sigmoid], True, 0), ([sigmoid], False, 0)
sys.exit((alone, under) != expected)
PYTHON
"$folder/venv/bin/python" "$folder/traces.py"
