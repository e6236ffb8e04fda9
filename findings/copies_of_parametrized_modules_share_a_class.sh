#!/usr/bin/env bash
# torch 2.14.1: taking a parametrisation off a deepcopy breaks the module that was copied.
#
# torch.nn.utils.parametrize gives a module a class of its own, in which the weight is a property.
# copy.deepcopy gives the copy the same class, not one of its own. remove_parametrizations, called
# on the copy, deletes the property from that class, and so from the original, whose parametrisation
# is still there: its forward has no weight any more. Whoever copies a network (an average of
# weights, a teacher) and bakes spectral or weight norm into one of the two loses the other.
#
# Seen: both are of one class; after the removal from the copy the copy runs, and the original
# raises AttributeError: 'ParametrizedLinear' object has no attribute 'weight'.
# Exit code 0 while that is so, 1 when it has changed.
# dynact gives each copy a class of its own: dynact/networks/passes.py, copied().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/copies.py" <<'PYTHON'
import copy
import sys

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

original = parametrizations.spectral_norm(nn.Linear(2, 2))
copied = copy.deepcopy(original)
one_class = type(copied) is type(original)
parametrize.remove_parametrizations(copied, "weight")


def runs(module):
    try:
        module(torch.ones(1, 2))
    except AttributeError as error:
        return str(error)
    return "runs"


found = one_class, runs(copied), runs(original)
print(
    f"torch {torch.__version__}: one class {found[0]}; after the removal from the copy, "
    f"the copy: {found[1]}; the original: {found[2]}"
)
expected = True, "runs", "'ParametrizedLinear' object has no attribute 'weight'"
sys.exit(found != expected)
PYTHON
"$folder/venv/bin/python" "$folder/copies.py"
