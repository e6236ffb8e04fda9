"""What is drawn agrees with the tables."""

import numpy as np
import pytest

from dynact.report.data.profile import Profile
from dynact.report.figures.step_memory import step_memory


def test_memory_is_drawn_over_the_step_with_what_is_held(profile: Profile) -> None:
    figure = step_memory(profile, "")

    relu, dyrelu = figure.axes
    assert (relu.get_title(), dyrelu.get_title()) == ("ReLU", "DY-ReLU-B")
    assert relu.get_ylim() == dyrelu.get_ylim()
    for axes, peak, held in ((relu, 2.0, 1.0), (dyrelu, 8.0, 3.0)):
        curve, dashed = axes.lines
        assert np.max(curve.get_ydata()) == pytest.approx(peak)  # type: ignore[arg-type]
        assert list(dashed.get_ydata()) == pytest.approx([held, held])  # type: ignore[arg-type]
