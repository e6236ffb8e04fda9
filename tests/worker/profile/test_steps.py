"""Steps read from traces made by hand: what is whose, by time, thread and launch."""

from dynact.worker.profile.steps import Operator, shapes_of, steps_of
from tests.worker.profile.profiling import event

FIRST = event("ProfilerStep#3", "user_annotation", 0, 50)
SECOND = event("ProfilerStep#4", "user_annotation", 50, 50)


def tree(operator: Operator) -> dict[str, object]:
    return {operator.name: [tree(child) for child in operator.children]}


def test_operators_are_trees_by_time_on_each_thread() -> None:
    events = [
        FIRST,
        event("outer", "cpu_op", 10, 10.5),
        event("inner", "cpu_op", 11, 4),
        event("innermost", "cpu_op", 12, 1),
        event("beside", "cpu_op", 12, 2, tid=2),
        event("next", "cpu_op", 15, 2),
        event("later", "cpu_op", 30, 1),
    ]

    [step] = steps_of({"traceEvents": events})

    assert [tree(root) for root in step.roots] == [
        {"outer": [{"inner": [{"innermost": []}]}, {"next": []}]}, {"beside": []}, {"later": []},
    ]  # fmt: skip
    outer = step.roots[0]
    assert (outer.start_ns, outer.end_ns, outer.self_ns) == (10_000, 20_500, 4_500)
    assert [operator.name for operator in outer.walk()] == ["outer", "inner", "innermost", "next"]


def test_what_a_device_does_belongs_to_the_step_that_launched_it() -> None:
    events = [
        FIRST,
        SECOND,
        event("aten::silu", "cpu_op", 40, 5, **{"External id": 7}),
        event("launch", "cuda_runtime", 41, 1, **{"External id": 7, "correlation": 1}),
        event("silu_kernel", "kernel", 90, 20, tid=9, correlation=1),
        event("stray_kernel", "kernel", 60, 5, tid=9, correlation=2),
    ]

    first, second = steps_of({"traceEvents": events})

    assert [(kernel["name"], launcher) for kernel, launcher in first.launched] == [
        ("silu_kernel", 7)
    ]
    assert second.launched == ()


def test_a_step_has_its_own_layer_and_memory_alone() -> None:
    events = [
        FIRST,
        SECOND,
        event("nn.Module: SiLU_0", "python_function", 5, 15),
        event("nn.Module: SiLU_0", "python_function", 55, 10),
        event("[memory]", "cpu_instant_event", 6, 0, Bytes=4),
        event("[memory]", "cpu_instant_event", 56, 0, Bytes=8),
    ]

    first, second = steps_of({"traceEvents": events})

    assert (first.layer_ns, second.layer_ns) == ((5_000, 20_000), (55_000, 65_000))
    assert [e["args"]["Bytes"] for e in first.memory] == [4]
    assert [e["args"]["Bytes"] for e in second.memory] == [8]


def test_shapes_are_of_the_tensors_alone() -> None:
    dims = [[8, 64, 28, 28], [], [[8, 64], [3]]]
    operator = Operator("aten::cat", 0, 1, {"Input Dims": dims})

    assert shapes_of(operator) == "8x64x28x28 8x64 3"
    assert shapes_of(Operator("aten::add", 0, 1, {})) == ""
