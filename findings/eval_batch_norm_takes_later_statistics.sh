#!/usr/bin/env bash
# torch 2.14.1 on a CPU: the gradient of BatchNorm in eval mode is that of the statistics at backward.
#
# In eval mode y = (x - mean) / sqrt(variance + eps), so the gradient is known at the forward pass. The
# CPU's backward pass reads the running statistics anew all the same. If a training batch goes through
# the layer in between (a layer shared by two passes, one of them with its BatchNorm frozen), the
# gradient is scaled by what was remembered since, and nothing is raised: autograd's check for tensors
# that were modified in place does not cover these two buffers. Written out in elementwise operators,
# which keep what they need, the same layer has the right gradient.
#
# Seen: after a batch of ten times the deviation BatchNorm2d's gradient is 0.32 of the right one, that
# of the written form is unchanged. Exit code 0 while that is so, 1 when it has changed.
# dynact's fused FReLU takes a copy: dynact/activations/fused/funnel.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/later.py" <<'PYTHON'
import sys

import torch
from torch import nn

torch.manual_seed(0)


def ratio(evaluate):
    layer = nn.BatchNorm2d(3).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    before = torch.autograd.grad(evaluate(layer.eval(), x), x, upstream)[0]
    y = evaluate(layer.eval(), x)
    layer.train()(10 * torch.randn(2, 3, 4, 4, dtype=torch.float64))
    after = torch.autograd.grad(y, x, upstream)[0]
    return (after.norm() / before.norm()).item()


def written_out(layer, x):
    mean, variance = (v.view(1, -1, 1, 1) for v in (layer.running_mean, layer.running_var))
    return (x - mean) / torch.sqrt(variance + layer.eps)


found = ratio(lambda layer, x: layer(x)), ratio(written_out)
print(f"torch {torch.__version__}: gradient after another batch over that before: BatchNorm2d {found[0]:.2f}, written out {found[1]:.2f}")
sys.exit(not (found[0] < 0.5 and found[1] == 1))
PYTHON
"$folder/venv/bin/python" "$folder/later.py"
