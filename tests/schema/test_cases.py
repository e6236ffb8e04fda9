"""Cases of layers, of sites and of networks: their ids, their bounds, and how they travel."""

from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.cases import (
    CASE_FIELDS,
    CASE_TYPES,
    NETWORK_FIELDS,
    AnyCase,
    Case,
    KnownPair,
    NetworkCase,
    SiteCase,
    case_of_record,
    case_record,
    target_case,
)
from dynact.schema.placement import PLACEMENTS
from tests.sweeping import CASES, NETWORK_CASES, SITE_CASES, case_of, network_case_of, site_of

NETWORK = network_case_of("frelu", network="resnet18", phase="training", image_size=64)


class TestCase:
    @pytest.mark.parametrize(
        ("field", "value", "near"),
        [
            ("phase", "trainning", "training"),
            ("mode", "compiled", "compile"),
            ("dtype", "float23", "float32"),
            ("memory_format", "channel_last", "channels_last"),
        ],
    )
    def test_an_unknown_value_is_named_with_near_ones(
        self, field: str, value: str, near: str
    ) -> None:
        with pytest.raises(
            ValueError, match=f"^unknown {field} '{value}'; did you mean .*{near}"
        ) as caught:
            case_of(**{field: value})

        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("size", ["batch", "channels", "height", "width"])
    @pytest.mark.parametrize("value", [0, -1])
    def test_sizes_are_positive(self, size: str, value: int) -> None:
        with pytest.raises(ValueError, match=f"^{size} must be at least 1, got {value}$"):
            case_of(**{size: value})

    @given(CASES, st.data())
    def test_ids_are_equal_only_for_equal_cases(self, case: Case, data: st.DataObject) -> None:
        other = data.draw(CASES)
        # One that shares most fields is the likeliest to be mixed up.
        taken = data.draw(st.sets(st.sampled_from([field.name for field in fields(Case)])))
        mixed = replace(case, **{name: getattr(other, name) for name in taken})

        assert (case.id == mixed.id) == (case == mixed)
        assert (case.id == other.id) == (case == other)

    @given(CASES)
    def test_an_id_is_one_readable_word_with_the_activation_first(self, case: Case) -> None:
        assert case.id.isprintable()
        assert " " not in case.id
        assert case.id.startswith(f"{case.activation}-{case.phase}-")
        assert f"-{case.batch}x{case.channels}x{case.height}x{case.width}-{case.dtype}-" in case.id

    def test_ids_as_people_will_type_them(self) -> None:
        unusual = case_of("m:F", mode="compile", memory_format="channels_last", baseline="silu")

        assert case_of("frelu").id == "frelu-inference-2x8x7x7-float32-cpu"
        assert unusual.id == "m:F-inference-2x8x7x7-float32-cpu-compile-channels_last-vs_silu"

    @pytest.mark.parametrize(
        ("dtype", "size"), [("float16", 2), ("bfloat16", 2), ("float32", 4), ("float64", 8)]
    )
    def test_input_bytes(self, dtype: str, size: int) -> None:
        case = case_of(dtype=dtype, batch=2, channels=3, height=5, width=7)

        assert case.input_bytes == 210 * size


class TestSiteCase:
    def test_it_is_called_as_the_layer_it_measures_and_is_none_of_the_sweeps(self) -> None:
        site, layer = site_of("frelu"), case_of("frelu")

        assert site.id == layer.id
        assert site.input_bytes == layer.input_bytes
        assert site != layer
        assert site.table != layer.table


class TestNetworkCase:
    def test_an_id_says_what_was_measured(self) -> None:
        assert NETWORK.id == "resnet18-frelu-training-2x3x64x64-float32-cpu"
        assert replace(NETWORK, placement="paper").id == f"{NETWORK.id}-paper"
        own = replace(NETWORK, network="a:B(c=1)", image_size=0, sample="1x8x9", loss="a:l")
        assert own.id == "a:B(c=1)-frelu-training-2x1x8x9-float32-cpu-loss_a:l"
        assert replace(NETWORK, replaced="relu+silu").id == f"{NETWORK.id}-for_relu+silu"
        sampled = replace(NETWORK, image_size=0, sample="3x64x64")
        assert sampled.id == f"{NETWORK.id}-sampled"

    @given(NETWORK_CASES, st.data())
    def test_ids_are_equal_only_for_equal_cases(
        self, case: NetworkCase, data: st.DataObject
    ) -> None:
        other = data.draw(NETWORK_CASES)
        taken = data.draw(st.sets(st.sampled_from(NETWORK_FIELDS)))
        # Either says what a sample is.
        taken |= {"image_size", "sample"} if taken & {"image_size", "sample"} else set()
        mixed = replace(case, **{name: getattr(other, name) for name in taken})

        assert (case.id == mixed.id) == (case == mixed)
        assert (case.id == other.id) == (case == other)

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("placement", "papre", "unknown placement 'papre'; did you mean paper?"),
            ("placement", "sites:3+2", "placement is written sites:2-3, got sites:3+2"),
            ("phase", "test", "unknown phase 'test'"),
            ("dtype", "float23", "unknown dtype 'float23'; did you mean"),
            ("batch", 0, "batch must be at least 1, got 0"),
            ("image_size", -1, "image_size must be at least 1, got -1"),
            ("sample", "3x8x9", "image_size is 0 where sample says it, got 64"),
        ],
    )
    def test_a_value_that_cannot_be(self, field: str, value: object, message: str) -> None:
        changes: dict[str, Any] = {field: value}

        with pytest.raises(ValueError, match=r"\A.*\Z") as raised:
            replace(NETWORK, **changes)

        assert message in str(raised.value)

    @pytest.mark.parametrize("placement", PLACEMENTS)
    def test_each_placement_is_a_case(self, placement: str) -> None:
        assert replace(NETWORK, placement=placement).placement == placement


class TestRecord:
    @given(st.one_of(CASES, SITE_CASES, NETWORK_CASES))
    def test_a_case_is_made_of_its_record_again(self, case: AnyCase) -> None:
        record = case_record(case)

        assert case_of_record(record) == case
        assert type(case_of_record(record)) is type(case)
        # What it was made of is left as it was.
        assert record == case_record(case)

    @pytest.mark.parametrize("case", [case_of(), site_of(), network_case_of()])
    def test_a_record_is_the_table_and_the_cases_own_values(self, case: AnyCase) -> None:
        assert case_record(case) == {"table": case.table} | asdict(case)

    def test_each_kind_goes_to_a_file_of_its_own_networks_last(self) -> None:
        # In the order of reporting: networks after what explains them.
        assert list(CASE_TYPES.items()) == [
            ("known_rows.jsonl", KnownPair),
            ("rows.jsonl", Case),
            ("site_rows.jsonl", SiteCase),
            ("network_rows.jsonl", NetworkCase),
        ]

    def test_fields_are_in_the_order_of_the_cases(self) -> None:
        assert tuple(asdict(case_of())) == CASE_FIELDS
        assert tuple(asdict(network_case_of())) == NETWORK_FIELDS


class TestKnownPair:
    PAIR = KnownPair(**asdict(case_of("relu", height=40)), more_rows=4)

    def test_the_target_s_input_is_so_many_rows_higher(self) -> None:
        target = target_case(self.PAIR)

        assert (target.height, target.width, self.PAIR.height) == (44, 7, 40)
        assert self.PAIR.more == pytest.approx(0.1)
        # What is called on it is no other than what is called on the baseline's.
        assert replace(target, height=40) == replace(self.PAIR, more_rows=0)

    def test_of_any_other_case_it_is_the_case_itself(self) -> None:
        for case in (case_of(), site_of(), replace(self.PAIR, more_rows=0)):
            assert target_case(case) == case

    def test_fewer_rows_are_refused(self) -> None:
        with pytest.raises(ValueError, match="more_rows must be at least 0, got -1"):
            replace(self.PAIR, more_rows=-1)

    def test_its_id_tells_how_many(self) -> None:
        assert self.PAIR.id.endswith("-more_4")
        assert replace(self.PAIR, more_rows=0).id != self.PAIR.id
