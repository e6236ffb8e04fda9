#!/usr/bin/env bash
# torch 2.14.1: torch.compile does not show torch.relu_ and its like to a TorchFunctionMode.
#
# In eager mode a TorchFunctionMode is shown every call of torch's API, and may answer it. Under
# torch.compile(fullgraph=True) it is shown torch.relu, Tensor.relu, Tensor.relu_ and
# functional.relu(x, inplace=True) as well, but of the functions that write into their argument
# (torch.relu_, torch.selu_, functional.elu_, functional.leaky_relu_) it learns nothing: they run as
# if there were no mode. No warning, no graph break; so what counts, traces or replaces functions by
# a mode is right in eager mode and wrong in silence once the network is compiled.
#
# Seen: eager mode shows all eight, the compiled function the first four.
# Exit code 0 while that is so, 1 when it has changed.
# dynact leaves such calls as they are and names them: dynact/networks/known.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/modes.py" <<'PYTHON'
import sys

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

CALLS = {
    "torch.relu": torch.relu,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "functional.relu(inplace=True)": lambda x: functional.relu(x, inplace=True),
    "torch.relu_": torch.relu_,
    "torch.selu_": torch.selu_,
    "functional.elu_": functional.elu_,
    "functional.leaky_relu_": functional.leaky_relu_,
}

ACTIVATIONS = (
    torch.relu, torch.Tensor.relu, torch.Tensor.relu_, functional.relu,
    torch.relu_, torch.selu_, functional.elu_, functional.leaky_relu_,
)


class Negate(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in ACTIVATIONS:
            return -args[0]
        return func(*args, **(kwargs or {}))


def shown(call, compiled):
    def run(x):
        with Negate():
            return call(x + 0)

    torch._dynamo.reset()
    x = torch.tensor([1.0, 2.0])
    y = (torch.compile(run, backend="eager", fullgraph=True) if compiled else run)(x)
    return torch.equal(y, -x)


eager = [name for name, call in CALLS.items() if shown(call, compiled=False)]
compiled = [name for name, call in CALLS.items() if shown(call, compiled=True)]
print(f"torch {torch.__version__}: eager mode shows {len(eager)}, compiled: {', '.join(compiled)}")
sys.exit(not (eager == list(CALLS) and compiled == list(CALLS)[:4]))
PYTHON
"$folder/venv/bin/python" "$folder/modes.py"
