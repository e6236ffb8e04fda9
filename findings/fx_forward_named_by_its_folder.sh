#!/usr/bin/env bash
# torch 2.14.1: a module that torch.fx has traced puts the absolute path of the traced source into
# profiler traces, inside a name that looks like generated code.
#
# With with_stack=True the profiler names each Python function FILE(LINE): FUNCTION, so that whoever
# publishes a trace strips the folders of what stands before "(LINE)". The forward of a GraphModule
# is compiled from text, and its file reads "<eval_with_key>.N from FILE:LINE in FUNCTION": the
# folder stands behind a name that is no path and begins with no slash. What only looks at the start
# of a name publishes it; any network with such a block (torchvision's detectors and feature
# extractors, quantised models) has these events.
#
# Seen: "<eval_with_key>.0 from /…/profiled.py:12 in forward(4): forward". Exit code 0 while that is
# so, 1 when it has changed.
# dynact strips them: dynact/schema/redact.py, without_folders.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy

cat > "$folder/profiled.py" <<'PYTHON'
import json
import sys
import tempfile
from pathlib import Path

import torch
from torch import fx, nn
from torch.profiler import ProfilerActivity, profile


class Doubles(nn.Module):
    def forward(self, x):
        return 2 * x


traced = fx.symbolic_trace(Doubles())
with profile(activities=[ProfilerActivity.CPU], with_stack=True) as profiler:
    traced(torch.ones(3))
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "trace.json"
    profiler.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
names = sorted({e["name"] for e in events if "<eval_with_key>" in str(e.get("name"))})
print(torch.__version__, *names, sep="\n")
held = [name for name in names if not name.startswith("/") and " from /" in name]
sys.exit(0 if held else 1)
PYTHON
KINETO_LOG_LEVEL=99 "$folder/venv/bin/python" "$folder/profiled.py"
