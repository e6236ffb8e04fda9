"""The lines that a sweep ends with, against what follows from its rows by hand."""

import math
import re
from typing import Any

import pytest

from dynact.schema.rows import NetworkRow, Row
from dynact.sweep.answer import MOST_LINES, answer_of_layers, answer_of_networks
from tests.sweeping import case_of, network_case_of, ok_row

KEPT = {"saved_for_backward_bytes": 3_000_000, "baseline_saved_for_backward_bytes": 1_000_000}


def training(activation: str, overhead: float, time_ns: float = 2e6, **changes: Any) -> Row:
    figures = {"time_ns": time_ns, "baseline_time_ns": 1e6, **KEPT} | {
        name: changes.pop(name) for name in [*changes] if name in Row.__dataclass_fields__
    }
    return ok_row(case_of(activation, phase="training", **changes), overhead, **figures)


def line_of(name: str, lines: list[str]) -> list[str]:
    """Return the cells of the line that begins with a name."""
    (line,) = [line for line in lines if re.match(rf"{re.escape(name)}(  |$)", line)]
    return re.split(r" {2,}", line)


class TestLayers:
    def test_a_line_has_the_mean_over_shapes_and_the_time_at_the_largest(self) -> None:
        lines = answer_of_layers(
            [
                training("frelu", 2.0, time_ns=5e6, channels=8),
                training("frelu", 8.0, time_ns=7e6, channels=16),
                ok_row(case_of("frelu", channels=8), 3.0),
                ok_row(case_of("frelu", channels=16), 12.0, time_ns=4e5, baseline_time_ns=2e5),
            ]
        )

        assert lines[0] == (
            "layers, batch 2, float32: mean of 2 shapes; time, and memory kept for backward, at "
            "16x7x7"
        )
        assert lines[1].split() == ["inference", "training", "kept"]
        assert line_of("relu (baseline)", lines) == ["relu (baseline)", "200 µs", "1 ms", "1.0 MB"]
        # √(2 · 8) and √(3 · 12). Of two intervals of ±1 %, the mean's is ±1 % / √2.
        name, inference, _, ratio, time, kept = line_of("frelu", lines)
        assert (name, inference, time, kept) == ("frelu", "6.00×", "7 ms", "3.0×")
        low, high = 4 * math.exp(-0.01 / math.sqrt(2)), 4 * math.exp(0.01 / math.sqrt(2))
        assert ratio == f"4.00× ({low:.2f}–{high:.2f})"

    def test_a_shape_counts_as_often_as_networks_have_it(self) -> None:
        lines = answer_of_layers(
            [
                training("frelu", 2.0, channels=8, occurrences=3),
                training("frelu", 32.0, channels=16, occurrences=1),
            ]
        )

        # (2³ · 32)^¼
        assert line_of("frelu", lines)[1].startswith("4.00× ")

    def test_the_cheapest_in_training_comes_first_and_implementations_are_named(self) -> None:
        rows = [
            training("dyrelu_b", 9.0),
            training("dyrelu_b", 4.0, impl="fused"),
            training("prelu", 1.5),
            ok_row(case_of("prelu"), 50.0),
        ]

        names = [re.split(r" {2,}", line)[0] for line in answer_of_layers(rows)[2:]]

        assert names == ["relu (baseline)", "prelu", "dyrelu_b fused", "dyrelu_b"]

    def test_of_one_phase_there_is_no_column_of_the_other(self) -> None:
        lines = answer_of_layers([ok_row(case_of("frelu"), 2.0)])

        assert lines[0] == "layers, batch 2, float32: at 8x7x7"
        assert lines[1].split() == ["inference"]
        assert line_of("frelu", lines) == ["frelu", "2.00× (1.98–2.02)", "2 µs"]

    def test_what_was_not_measured_at_all_shapes_says_at_how_many(self) -> None:
        lines = answer_of_layers(
            [
                training("prelu", 2.0, channels=8),
                training("prelu", 2.0, channels=16),
                training("frelu", 3.0, channels=8),
                Row(case_of("frelu", phase="training", channels=16), "oom", "why"),
            ]
        )

        # And has no time at the largest.
        assert line_of("frelu", lines)[2:] == ["–", "–", "1 of 2 shapes"]
        assert line_of("prelu", lines)[-1] == "3.0×"

    def test_of_several_settings_it_is_of_the_main_one_and_names_the_others(self) -> None:
        usual = [training("prelu", 2.0, channels=channels) for channels in (8, 16)]
        beside = [
            training("prelu", 9.0, batch=32), training("prelu", 9.0, mode="compile"),
            training("prelu", 9.0, dtype="bfloat16", batch=32),
        ]  # fmt: skip

        lines = answer_of_layers([*beside, *usual])

        assert line_of("prelu", lines)[1].startswith("2.00× ")
        assert lines[-1].startswith("also measured, and on the page: ")
        assert set(lines[-1].partition(": ")[2].split(", ")) == {"batch 32", "compile", "bfloat16"}

    def test_of_many_the_cheapest_and_the_dearest_are_shown_and_the_rest_is_counted(self) -> None:
        rows = [training(f"a{i:02}", 1.0 + i) for i in range(MOST_LINES + 20)]

        _, _, _, *lines, more = answer_of_layers(rows)

        shown = [line.split()[0] for line in lines]
        assert len(shown) == MOST_LINES - 1
        assert shown[:6] == [f"a{i:02}" for i in range(6)]
        assert shown[-5:] == [f"a{i:02}" for i in range(MOST_LINES + 15, MOST_LINES + 20)]
        assert more == ("… and 21 more between cheapest and dearest: on the page and in rows.jsonl")
        # One more would take the line that says so.
        assert len(answer_of_layers(rows[:MOST_LINES])) == 3 + MOST_LINES

    def test_where_nothing_was_measured_there_is_nothing_to_say(self) -> None:
        assert answer_of_layers([Row(case_of("frelu"), "oom", "why")]) == []
        assert answer_of_networks([]) == []

    def test_what_keeps_nothing_keeps_no_multiple(self) -> None:
        def kept(saved: int | None, baseline: int | None) -> str:
            figures = {
                "saved_for_backward_bytes": saved, "baseline_saved_for_backward_bytes": baseline
            }  # fmt: skip
            return line_of("frelu", answer_of_layers([training("frelu", 2.0, **figures)]))[3]

        assert kept(0, 1_000) == "0"
        assert kept(2_000, 0) == "2.0 kB"
        assert kept(None, None) == "–"

    def test_a_usual_answer_fits_80_columns(self) -> None:
        rows = [
            row
            for name in ("dyrelu_a", "dyrelu_b", "meta_acon_c")
            for row in (
                ok_row(case_of(name), 95.4, time_ns=9.56e6),
                training(name, 1.234, time_ns=19.6e6, overhead_lo=1.230, overhead_hi=1.238),
            )
        ]

        assert max(map(len, answer_of_layers(rows)[1:])) <= 80


class TestNetworks:
    @staticmethod
    def row(activation: str, overhead: float, **changes: Any) -> NetworkRow:
        layer = ok_row(case_of(), overhead, time_ns=overhead * 1e7, baseline_time_ns=1e7)
        figures = {
            name: figure
            for name, figure in vars(layer).items()
            if name in NetworkRow.__dataclass_fields__ and name != "case"
        }
        return NetworkRow(network_case_of(activation, **changes), **figures | KEPT)

    def test_each_has_a_line_below_the_network_as_it_is(self) -> None:
        lines = answer_of_networks(
            [
                self.row("frelu", 1.6, phase="training"),
                self.row("prelu", 1.2, phase="training", placement="paper"),
                self.row("frelu", 1.4),
                self.row("frelu", 2.5, network="resnet18", phase="training"),
            ]
        )

        assert lines[0] == "networks, batch 2, 3x32x32, float32"
        cells = [re.split(r" {2,}", line.strip()) for line in lines[2:]]
        assert cells == [
            ["lenet, as it is", "10 ms", "10 ms", "1.0 MB"],
            ["prelu, paper", "–", "–", "1.20× (1.19–1.21)", "12 ms", "3.0×"],
            ["frelu", "1.40×", "14 ms", "1.60× (1.58–1.62)", "16 ms", "3.0×"],
            ["resnet18, as it is", "–", "10 ms", "1.0 MB"],
            ["frelu", "–", "–", "2.50× (2.48–2.52)", "25 ms", "3.0×"],
        ]

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"batch": 8}, "batch 8"),
            ({"image_size": 64}, "3x64x64"),
            ({"dtype": "bfloat16"}, "bfloat16"),
            ({"loss": "mine:loss"}, "loss mine:loss"),
            ({"replaced": "silu"}, "for silu"),
        ],
    )
    def test_what_sets_two_apart_stands_with_the_network(
        self, changes: dict[str, Any], word: str
    ) -> None:
        lines = answer_of_networks([self.row("frelu", 1.5), self.row("frelu", 3.0, **changes)])

        changed = next(i for i, line in enumerate(lines) if line.startswith(f"lenet, {word}, as"))
        assert "3.00×" in lines[changed + 1]
        assert word not in lines[0]
