"""A trace holds the steps that were asked for, and nothing that names a machine's folders."""

import gzip
import json

from dynact.worker.device import Cpu
from dynact.worker.profile import ready_step, record
from dynact.worker.profile.record import publishable
from tests.sweeping import case_of


def test_a_trace_holds_the_steps_it_was_asked_for() -> None:
    with ready_step(case_of("relu"), Cpu()) as step:
        packed = record(step, Cpu(), 3).file

    trace = json.loads(gzip.decompress(packed))
    names = [event["name"] for event in trace["traceEvents"]]
    assert sum(name.startswith("ProfilerStep#") for name in set(names)) == 3
    assert names.count("aten::relu") == 3
    assert not {"host_name", "traceName"} & trace.keys()


def test_folders_go_and_names_of_operators_and_kernels_stay() -> None:
    # As a path would begin.
    kernel = "/* generated */ void f<a/b>"
    trace = {
        "traceEvents": [
            {"cat": "kernel", "name": kernel, "args": {"source": "/home/ada/k.cu"}},
            {"cat": "python_function", "name": "/home/ada/layer.py(7): forward"},
        ],
        "frames": [{"filename": "/home/ada/site/torch/nn.py", "line": 3}],
        "schemaVersion": 1,
    }

    published = publishable(trace)

    assert published == {
        "traceEvents": [
            {"cat": "kernel", "name": kernel, "args": {"source": "k.cu"}},
            {"cat": "python_function", "name": "layer.py(7): forward"},
        ],
        "frames": [{"filename": "nn.py", "line": 3}],
        "schemaVersion": 1,
    }
