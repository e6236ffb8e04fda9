"""Steps read from traces made by hand: what is whose, by time, thread and launch."""

from dynact.worker.profile.events import Operator
from dynact.worker.profile.steps import Step
from tests.worker.profile.profiling import event, steps_in

FIRST = event("ProfilerStep#3", "user_annotation", 0, 50)
SECOND = event("ProfilerStep#4", "user_annotation", 50, 50)


def launched(step: Step) -> list[tuple[str, str | None]]:
    return [(one.work.name, one.operator and one.operator.name) for one in step.launched]


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

    [step] = steps_in(events)

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
    ]

    first, second = steps_in(events)

    assert launched(first) == [("silu_kernel", "aten::silu")]
    assert launched(second) == []


def test_a_step_has_its_own_layer_and_memory_alone() -> None:
    events = [
        FIRST,
        SECOND,
        event("nn.Module: SiLU_0", "python_function", 5, 15),
        event("nn.Module: SiLU_0", "python_function", 55, 10),
        event("[memory]", "cpu_instant_event", 6, 0, **{"Device Type": 1, "Bytes": 4}),
        event("[memory]", "cpu_instant_event", 56, 0, **{"Device Type": 1, "Bytes": 8}),
    ]

    first, second = steps_in(events)

    assert (first.layer_ns, second.layer_ns) == ((5_000, 20_000), (55_000, 65_000))
    assert [one.bytes for one in first.allocations] == [4]
    assert [one.bytes for one in second.allocations] == [8]


def test_shapes_are_of_the_tensors_alone() -> None:
    dims = {"Input Dims": [[8, 64, 28, 28], [], [[8, 64], [3]]]}
    events = [FIRST, event("aten::cat", "cpu_op", 1, 1, **dims), event("add", "cpu_op", 3, 1)]

    [step] = steps_in(events)

    assert [root.shapes for root in step.roots] == ["8x64x28x28 8x64 3", ""]
