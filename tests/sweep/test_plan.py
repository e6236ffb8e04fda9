"""What a session plans: which cases, and about how long they take."""

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from dynact import activations
from dynact.schema.cases import AnyCase, Case, KnownPair, SiteCase
from dynact.schema.settings import Settings
from dynact.sweep.networks import Shape
from dynact.sweep.plan import Plan, left_out, own_layers, plan
from tests.sweep.bench import INFO
from tests.sweeping import case_of, network_case_of

A_NETWORK = network_case_of("prelu", network="resnet18", phase="training", image_size=224)
# The bounds of what a case takes beside its timing, in seconds. Compiling two layers, forward and
# backward, takes the best of machines a few, and a slow one a minute.
COMPILING_S = (5, 60)
MAKING_LAYERS_S = (0.01, 0.5)
MAKING_NETWORKS_S = (1, 20)
# Of which any device has enough for these cases.
LARGE = replace(INFO, free_bytes=2**40, has_graphs=True)
BOTH = ("eager", "compile")


def planned(max_seconds: float, *modes: str) -> Plan:
    """Plan one activation at a thousand sizes in these modes."""
    axes = {
        "activations": ("prelu",),
        "phases": ("inference",),
        "modes": modes,
        "batches": (1,),
        "channels": tuple(range(1, 1001)),
        "resolutions": ((7, 7),),
    }
    return plan(
        "smoke",
        axes,
        LARGE,
        baseline="relu",
        settings=Settings(max_seconds=max_seconds),
    )


def smoke(
    axes: dict[str, tuple[object, ...]] | None = None,
    memory_bytes: int = 2**40,
    own: tuple[str, ...] = (),
    shapes: dict[Shape, int] | None = None,
) -> Plan:
    info = replace(INFO, free_bytes=memory_bytes)
    return plan(
        "smoke", axes or {}, info, own_layers=own, shapes=shapes, baseline="relu",
        settings=Settings(max_seconds=1),
    )  # fmt: skip


class TestPlannedSeconds:
    @pytest.mark.parametrize("max_seconds", [0.02, 1, 10])
    @pytest.mark.parametrize(
        ("case", "bounds_s"),
        [
            (case_of(), MAKING_LAYERS_S),
            (case_of(phase="training"), MAKING_LAYERS_S),
            (case_of(mode="compile"), COMPILING_S),
            (case_of(mode="compile", phase="training"), COMPILING_S),
            (A_NETWORK, MAKING_NETWORKS_S),
        ],
        ids=lambda value: getattr(value, "id", ""),
    )
    def test_a_case_takes_its_timing_and_what_comes_before(
        self, case: AnyCase, bounds_s: tuple[float, float], max_seconds: float
    ) -> None:
        seconds = planned(max_seconds, "eager").seconds([case])

        least, most = bounds_s
        assert max_seconds + least <= seconds <= max_seconds + most

    def test_cases_take_their_sum(self) -> None:
        cases: list[AnyCase] = [case_of(), case_of(mode="compile"), A_NETWORK]
        sweep = planned(1, "eager")

        assert sweep.seconds(cases * 3) == pytest.approx(
            3 * sum(sweep.seconds([case]) for case in cases)
        )
        assert sweep.seconds([]) == 0

    @pytest.mark.parametrize(("table", "share"), [(Case, 1), (SiteCase, 0.3), (KnownPair, 3)])
    def test_a_site_is_timed_for_less_and_a_known_pair_for_more(
        self, table: type[Case], share: float
    ) -> None:
        case = table(**asdict(case_of()))
        one, two = (planned(seconds, "eager").seconds([case]) for seconds in (1, 2))

        assert two - one == pytest.approx(share)


class TestBudget:
    @pytest.mark.parametrize("max_seconds", [0.02, 1, 10])
    @pytest.mark.parametrize("modes", [("eager",), ("compile",), BOTH], ids=" and ".join)
    def test_what_there_is_time_for_is_foreseen(
        self, modes: tuple[str, ...], max_seconds: float
    ) -> None:
        sweep = planned(max_seconds, *modes)

        found = sweep.foreseen(600, sweep.cases)

        took = sweep.seconds(found)
        assert took <= 600
        if len(found) < 1000 * len(modes):
            one_size_more = [case_of(mode=mode) for mode in modes]
            assert took + sweep.seconds(one_size_more) > 600
        assert {case.mode for case in found} == set(modes)
        assert sweep.foreseen(600, found[:1]) == found[:1]

    def test_steps_are_sizes_and_all_cases(self) -> None:
        found = smoke()

        assert sorted(case.id for step in found.steps for case in step) == sorted(
            case.id for case in found.cases
        )
        for step in found.steps:
            assert len({(c.batch, c.channels, c.height, c.width) for c in step}) == 1
        # Two channels and two resolutions.
        assert len(found.steps) == found.ends == 4

    def test_graphs_are_for_devices_that_have_them(self) -> None:
        assert len(planned(1, "eager", "graph").cases) == 2000

        with pytest.raises(ValueError, match=r"^--modes graph: torch captures no graphs on cpu; "):
            smoke({"modes": ("graph",)})

    def test_it_goes_first_to_the_ends_and_to_what_has_no_sizes(self) -> None:
        # Of a thousand channels the ends and one or two between, each in both modes.
        channels = planned(1, *BOTH)
        others: list[AnyCase] = [A_NETWORK, KnownPair(**asdict(case_of()))]

        found = channels.first([*channels.cases, *others])

        of_layers = found[:-2]
        assert found[-2:] == others
        assert set(of_layers) >= {case for case in channels.cases if case.channels in (1, 1000)}
        assert 4 <= len(of_layers) <= 8
        assert channels.first(of_layers[:1]) == of_layers[:1]


class TestLeftOut:
    @pytest.mark.parametrize(
        ("measured", "said"),
        [
            (lambda _case: True, ""),
            (lambda case: case.channels == 16, "channels 32"),
            (lambda case: case.height == 7, "resolutions 14"),
            (lambda case: case.channels == 16 and case.height == 7, "channels 32; resolutions 14"),
            (lambda case: case.channels == 16 or case.height == 7, "6 cases of other sizes"),
            (lambda _case: False, "batches 2"),
        ],
    )
    def test_it_is_named_by_the_values_that_no_case_has(
        self, measured: Callable[[Case], bool], said: str
    ) -> None:
        cases = smoke().cases

        assert left_out(cases, filter(measured, cases)) == said

    def test_a_size_that_is_no_square_is_named_whole(self) -> None:
        cases = [case_of(height=7, width=height) for height in (7, 28)]

        assert left_out(cases, cases[:1]) == "resolutions 7x28"


class TestCases:
    def test_the_users_own_axes_take_the_place_of_the_presets(self) -> None:
        found = smoke({"activations": ("silu", "mish"), "channels": (5,), "dtypes": ("float16",)})

        assert {case.activation for case in found.cases} == {"silu", "mish"}
        assert {(case.channels, case.dtype) for case in found.cases} == {(5, "float16")}
        # What was not named stays the preset's.
        assert {(case.height, case.width) for case in found.cases} == {(14, 14), (7, 7)}
        assert {case.device for case in found.cases} == {"cpu"}

    def test_a_preset_of_all_activations_has_the_registrys(self) -> None:
        found = plan("standard", {}, LARGE, baseline="relu", settings=Settings())

        assert {case.activation for case in found.cases} == set(activations.names())

    def test_ones_own_layer_is_beside_the_others_at_each_size(self) -> None:
        found = smoke(own=("mine:Layer",))

        by_name = {
            name: {(case.phase, case.channels, case.height) for case in found.cases
                   if case.activation == name}
            for name in ("mine:Layer", "frelu")
        }  # fmt: skip
        assert by_name["mine:Layer"] == by_name["frelu"]

    def test_each_own_layer_is_tried_at_its_smallest_case(self) -> None:
        found = smoke(own=("mine:Layer", "mine:Other"))

        tried = own_layers(found.cases)
        assert [(case.activation, case.channels, case.height) for case in tried] == [
            ("mine:Layer", 16, 7), ("mine:Other", 16, 7),
        ]  # fmt: skip
        assert own_layers(smoke().cases) == []


class TestMemory:
    def test_cases_that_cannot_fit_are_left_out_and_counted(self) -> None:
        # A tensor of (2, 16, 14, 14) takes 25 kB, and several have to fit.
        found = smoke(memory_bytes=16 * 2 * 16 * 14 * 14 * 4)

        everything = smoke()
        assert found.too_large == len(everything.cases) - len(found.cases) > 0
        assert everything.too_large == 0
        assert {(case.channels, case.height) for case in everything.cases} - {
            (case.channels, case.height) for case in found.cases
        } == {(32, 14)}

    def test_where_none_fits_it_is_one_line(self) -> None:
        with pytest.raises(
            ValueError,
            match=r"^none of 12 cases fits into the 1\.0 GiB that are free on cpu; name smaller",
        ):
            smoke({"channels": (99999999999,)}, memory_bytes=2**30)


class TestShapes:
    def test_they_take_the_place_of_all_channels_and_resolutions(self) -> None:
        shapes = {(6, 28, 28): 1, (16, 10, 5): 7}

        found = smoke({"activations": ("prelu",), "phases": ("inference",)}, shapes=shapes)

        assert [(case.channels, case.height, case.width) for case in found.cases] == list(shapes)
