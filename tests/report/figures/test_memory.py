import pytest
from matplotlib.container import BarContainer

from dynact.report.data.settings_groups import SettingsGroup, settings_groups
from dynact.report.figures.memory import memory
from tests.report.ways_sample import together, written

PARTS = ["parameters", "output", "kept for backward, beyond input and output", "temporary"]


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def bars_of(axes):
    """The stacked widths by part, one a line."""
    containers = [c for c in axes.containers if isinstance(c, BarContainer)]
    return {c.get_label(): [bar.get_width() for bar in c] for c in containers}


def names_of(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_bars_are_the_parts_over_the_outputs_bytes_at_the_largest_input(make_rows):
    rows = make_rows(("prelu", "frelu", "dyrelu_b"), (32, 128), (7, 28))
    size = 8 * 128 * 28 * 28 * 4
    rows = rows.assign(saved_input_bytes=0, saved_output_bytes=0, saved_for_backward_bytes=0)
    largest = (rows["channels"] == 128) & (rows["height"] == 28)
    training = rows["phase"] == "training"
    rows["peak_bytes"] = size * 5
    rows.loc[largest, "parameters"] = size / 4 / 2  # half the output's bytes
    rows.loc[largest & training, "saved_for_backward_bytes"] = 3 * size
    rows.loc[largest & training, "saved_input_bytes"] = size
    axes = panels(memory(SettingsGroup(rows)))
    assert list(axes) == ["inference", "training"]
    for phase, widths in (("inference", [0.5, 1, 0, 4]), ("training", [0.5, 1, 2, 2])):
        bars = bars_of(axes[phase])
        assert list(bars) == PARTS
        for part, width in zip(PARTS, widths, strict=True):
            assert bars[part] == pytest.approx([width] * 3)
    title = " ".join(memory(SettingsGroup(rows)).texts[0].get_text().split())
    assert "128 channels, 28²" in title
    assert "output of 3.2 MB" in title


def test_bytes_follow_the_dtype(make_rows):
    rows = make_rows(("frelu",), (32,), (7,), ("inference",), dtypes=("bfloat16",))
    rows["parameters"] = 8 * 32 * 7 * 7
    bars = bars_of(panels(memory(SettingsGroup(rows)))["inference"])
    assert bars["parameters"] == pytest.approx([1.0])
    assert bars["output"] == pytest.approx([1.0])


def test_an_output_that_is_the_input_takes_nothing_and_no_part_is_negative(make_rows):
    rows = make_rows(("identity", "frelu"), (32,), (7,), ("training",))
    rows["peak_bytes"] = 0
    for widths in bars_of(panels(memory(SettingsGroup(rows)))["training"]).values():
        assert min(widths) >= 0
    assert bars_of(panels(memory(SettingsGroup(rows)))["training"])["output"] == [0, 0]


def test_one_that_writes_in_place_has_no_output_of_its_own(make_rows):
    rows = make_rows(("relu_inplace", "frelu"), (32,), (7,), ("training",))
    size = 8 * 32 * 7 * 7 * 4
    rows = rows.assign(peak_bytes=size, saved_for_backward_bytes=0, parameters=0)
    figure = memory(SettingsGroup(rows))
    bars = bars_of(panels(figure)["training"])
    of = names_of(figure).index
    assert [bars[part][of("ReLU in place")] for part in ("output", "temporary")] == [0, 1]
    assert [bars[part][of("FReLU")] for part in ("output", "temporary")] == [1, 0]


def test_text_has_the_sum_and_what_it_does_to_the_batch(make_rows):
    rows = make_rows(("prelu", "frelu", "dyrelu_b"), (32,), (7,), ("training",))
    size = 8 * 32 * 7 * 7 * 4
    rows["parameters"] = 0
    rows["peak_bytes"] = [2 * size, 6.5 * size, 8 * size]
    rows["saved_for_backward_bytes"] = [0.5 * size, size, 3 * size]
    figure = memory(SettingsGroup(rows))
    texts = [t.get_text() for t in panels(figure)["training"].texts]
    assert texts == [
        "ReLU: 2.0×",
        "2.0×; keeps 0.5× ReLU's: fits 2.0× more samples",
        "6.5×; keeps 1.0× ReLU's: fits as many samples",
        "8.0×; keeps 3.0× ReLU's: fits 3.0× fewer samples",
    ]
    assert names_of(figure) == ["PReLU", "FReLU", "DY-ReLU-B"]
    notes = " ".join(figure.texts[1].get_text().split())
    assert "fewer samples fit, taken alone: in a network," in notes
    assert "is not kept twice" in notes


@pytest.mark.parametrize(("phase", "said"), [("inference", False), ("training", True)])
def test_only_training_explains_what_keeping_does_to_the_batch(make_rows, phase, said):
    figure = memory(SettingsGroup(make_rows(phases=(phase,))))
    assert ("Fewer samples" in " ".join(t.get_text() for t in figure.texts)) == said
    texts = [t.get_text() for t in panels(figure)[phase].texts]
    assert any("samples" in text for text in texts) == said


def test_nearly_as_much_fits_as_many(make_rows):
    rows = make_rows(("prelu",), (32,), (7,), ("training",))
    for factor, text in ((1.04, "as many"), (0.96, "as many"), (0.9, "1.1× more")):
        rows["saved_for_backward_bytes"] = factor * rows["baseline_saved_for_backward_bytes"]
        assert (
            f"fits {text} samples"
            in panels(memory(SettingsGroup(rows)))["training"].texts[-1].get_text()
        )


def test_legend_has_only_parts_that_occur(make_rows):
    def legend(rows):
        (found,) = [
            axes.get_legend() for axes in memory(SettingsGroup(rows)).axes if axes.get_legend()
        ]
        return [text.get_text() for text in found.get_texts()]

    rows = make_rows(("prelu", "frelu"), (32,), (7,), ("training",))
    assert legend(rows) == PARTS
    assert legend(rows.assign(parameters=0, saved_for_backward_bytes=0)) == ["output", "temporary"]


def test_a_compiled_slice_says_what_was_counted(make_rows):
    rows = make_rows()
    for mode, said in (("eager", False), ("compile", True)):
        notes = memory(SettingsGroup(rows.assign(mode=mode))).texts[1].get_text()
        assert ("Counted on the plain formulation, not the compiled one." in notes) == said


def test_the_baselines_peak_is_a_line(make_rows):
    axes = panels(memory(SettingsGroup(make_rows())))
    for phase, peak in (("inference", 1.0), ("training", 2.0)):
        (line,) = [line for line in axes[phase].lines if line.get_label() == "baseline"]
        assert list(line.get_xdata()) == pytest.approx([peak, peak])


@pytest.mark.parametrize("peak", [0, None])
def test_a_baseline_that_allocates_nothing_has_no_line(make_rows, peak):
    rows = make_rows()
    assert (
        "Dashed: ReLU's peak, without parameters."
        in memory(SettingsGroup(rows)).texts[1].get_text()
    )
    figure = memory(SettingsGroup(rows.assign(baseline_peak_bytes=peak)))
    assert not any(axes.lines for axes in panels(figure).values())
    assert "Dashed" not in figure.texts[1].get_text()


def test_a_line_without_a_bar_says_why(make_rows, fail):
    rows = make_rows(("prelu", "frelu", "dyrelu_b", "se"), (32, 128), (7,))
    largest = rows[rows["channels"] == 128]
    of = {a: largest.index[largest["activation"] == a] for a in ("frelu", "dyrelu_b", "se")}
    rows = fail(rows, of["frelu"], "oom", "")
    rows.loc[of["dyrelu_b"], "peak_bytes"] = None
    figure = memory(SettingsGroup(rows.drop(index=of["se"])))
    names = names_of(figure)
    assert names[0] == "PReLU"
    assert set(names) == {"PReLU", "FReLU", "DY-ReLU-B", "SE"}
    for axes in panels(figure).values():
        texts = {t.xy[1]: t.get_text() for t in axes.texts}
        assert texts[names.index("FReLU")] == "failed: oom"
        assert texts[names.index("DY-ReLU-B")] == "not counted"
        assert texts[names.index("SE")] == "not measured"


def test_implementations_have_bars_of_their_own():
    size = 8 * 32 * 7 * 7 * 4
    reference, fused = (
        written(impl, (9.0,), phases=("training",)).assign(
            peak_bytes=peak * size, saved_for_backward_bytes=kept * size, parameters=0
        )
        for impl, peak, kept in (("reference", 8, 3), ("fused", 3, 1))
    )
    (group,) = settings_groups(together(reference, fused))
    figure = memory(group)
    assert names_of(figure) == ["DY-ReLU-B fused", "DY-ReLU-B reference"]
    assert [t.get_text() for t in panels(figure)["training"].texts[1:]] == [
        "3.0×; keeps 1.0× ReLU's: fits as many samples",
        "8.0×; keeps 3.0× ReLU's: fits 3.0× fewer samples",
    ]
